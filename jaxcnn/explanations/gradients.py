"""What an answer rests on, by gradients: Grad-CAM and integrated gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.explanations.image import Blank, blank, checked_label, logits_of, map_layer
from jaxcnn.features.layers import changeable
from jaxcnn.trained import Trained
from jaxcnn.types import Variables

IMAGES_AT_ONCE = 8
"""The number of images that the network takes together."""
STEPS = 64
"""The points between the two images at which integrated gradients look, where nothing else is asked for."""


class GradCam(NamedTuple):
    """Where a layer sees what speaks for a class."""

    layer: str
    """The name of the layer."""
    map: np.ndarray
    """The map, float32 (height, width) of the layer's own size; nothing in it is below 0."""


@own_settings()
def grad_cam(network: Trained, pixels: np.ndarray, label: int, layer: str | None = None) -> GradCam:
    """Returns the gradient-weighted class activation map (Selvaraju et al. 2017, equations 1 and 2).

    Each channel of the layer's output is weighted by the mean, over all positions, of the gradient of the class's logit
    with respect to it. What is left of their sum above 0 is the map.

    Args:
        network: the network.
        pixels: the image, uint8 (height, width, channels), as `seen_pixels` returns it.
        label: the number of the class.
        layer: the name of the layer; by default the last that puts out a map of more than one pixel.

    Raises:
        UserError: there is no such class or layer, or the layer puts out no map.
    """
    chosen, label = map_layer(network, layer), checked_label(network, label)
    compute = changeable(network.model, network.normalization, chosen.name)

    def score(change: jax.Array, variables: Variables, images: jax.Array, label: int) -> tuple[jax.Array, jax.Array]:
        logits, activations = compute(variables, images, change)
        return logits[0, label], activations

    @jax.jit
    def cam(variables: Variables, images: jax.Array, label: int) -> jax.Array:
        change = jnp.zeros((1, *chosen.shape), jnp.float32)
        gradients, activations = jax.grad(score, has_aux=True)(change, variables, images, label)
        return jax.nn.relu((activations * gradients.mean((1, 2), keepdims=True)).sum(-1))[0]

    return GradCam(chosen.name, np.asarray(cam(network.variables, pixels[None], label)))


class IntegratedGradients(NamedTuple):
    """What each value of an image adds to the logit of a class."""

    attributions: np.ndarray
    """What is added, float32 (height, width, channels)."""
    difference: float
    """The logit for the image less that for the image without anything on it, which the attributions sum to but for
    the error of the sum over points."""

    @property
    def gap(self) -> float:
        """The sum of the attributions less the difference of the logits."""
        return float(self.attributions.sum(dtype=np.float64)) - self.difference


@own_settings()
def integrated_gradients(
    network: Trained, pixels: np.ndarray, label: int, *, steps: int = STEPS, baseline: Blank = "black"
) -> IntegratedGradients:
    """Returns the integrated gradients (Sundararajan et al. 2017) of a class's logit.

    The gradient is integrated along the straight line from an image without anything on it to the image, by Gauss and
    Legendre's rule, which needs fewer points than equal steps. By the completeness of the method the attributions sum
    to the difference of the two logits.

    Args:
        network: the network.
        pixels: the image, uint8 (height, width, channels), as `seen_pixels` returns it.
        label: the number of the class.
        steps: the number of points; the more, the smaller the gap.
        baseline: the image without anything on it.

    Raises:
        UserError: there is no such class, or there are no points.
    """
    label = checked_label(network, label)
    if steps < 1:
        raise UserError(f"integrated gradients cannot be summed over {steps} points: give at least 1")
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    start = np.broadcast_to(blank(network, baseline), pixels.shape)
    path = pixels - start
    logits = logits_of(network)

    @jax.jit
    def gradients(variables: Variables, shares: jax.Array, weights: jax.Array, label: int) -> jax.Array:
        def total(images: jax.Array) -> jax.Array:
            return logits(variables, images)[:, label].sum()

        images = start[None] + shares[:, None, None, None] * path[None]
        return jnp.einsum("nhwc,n->hwc", jax.grad(total)(images), weights)

    integral = np.zeros(pixels.shape, np.float64)
    padding = -steps % min(steps, IMAGES_AT_ONCE)
    shares = np.pad((nodes + 1) / 2, (0, padding)).astype(np.float32)
    weights = np.pad(weights / 2, (0, padding)).astype(np.float32)
    for first in range(0, len(shares), IMAGES_AT_ONCE):
        rows = slice(first, first + IMAGES_AT_ONCE)
        integral += np.asarray(gradients(network.variables, shares[rows], weights[rows], label), np.float64)
    ends = jax.jit(logits)(network.variables, np.stack([start, pixels.astype(np.float32)]))[:, label]
    return IntegratedGradients((path * integral).astype(np.float32), float(ends[1]) - float(ends[0]))
