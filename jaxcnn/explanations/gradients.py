"""What an answer rests on, by gradients: Grad-CAM and integrated gradients."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.explanations.image import Blank, blank, check_differentiable, checked_label, logits_of, map_layer
from jaxcnn.features.layers import changeable
from jaxcnn.trained import Trained
from jaxcnn.types import Variables

IMAGES_AT_ONCE = 8
"""The number of images that the network takes together."""
TOLERANCE, MOST_POINTS = 0.02, 512
"""The gap of integrated gradients that is allowed, as a share of what they sum to, and the points that may be taken for
it, where nothing else is asked for."""
_PIECES = 4
"""The pieces of the line between two images to begin with."""


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
        UserError: there is no such class or layer, the layer puts out no map, or the network is a program.
    """
    check_differentiable(network)
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
    """The logit for the image less that for the image without anything on it: what the attributions sum to, but for the
    error of the integral."""
    points: int
    """The points between the two images at which the gradient was taken."""

    @property
    def gap(self) -> float:
        """The sum of the attributions less the difference of the logits."""
        return float(self.attributions.sum(dtype=np.float64)) - self.difference


@own_settings()
def integrated_gradients(
    network: Trained,
    pixels: np.ndarray,
    label: int,
    *,
    tolerance: float = TOLERANCE,
    most_points: int = MOST_POINTS,
    baseline: Blank = "black",
) -> IntegratedGradients:
    """Returns the integrated gradients (Sundararajan et al. 2017) of a class's logit.

    The gradient is integrated along the straight line from an image without anything on it to the image. By the
    completeness of the method, the attributions sum to the difference of the two logits. This holds for each piece of
    the line too, so it tells how wrong the integral over a piece is. Each piece is integrated by Gauss and Legendre's
    rule with `IMAGES_AT_ONCE` points. The line begins as four pieces, and the piece with the largest error is halved
    until the sum is right.

    Args:
        network: the network.
        pixels: the image, uint8 (height, width, channels), as `seen_pixels` returns it.
        label: the number of the class.
        tolerance: the gap that is allowed, as a share of the difference of the logits.
        most_points: the points after which the gap stays as it is.
        baseline: the image without anything on it.

    Raises:
        UserError: there is no such class, the tolerance is not above 0, or the network is a program.
    """
    check_differentiable(network)
    label = checked_label(network, label)
    if not tolerance > 0:
        raise UserError(f"a tolerance of {tolerance} is never reached: give a share above 0, such as {TOLERANCE}")
    start = np.broadcast_to(blank(network, baseline), pixels.shape)
    path = pixels - start
    logits = logits_of(network)

    def on_path(shares: jax.Array) -> jax.Array:
        return start[None] + shares[:, None, None, None] * path[None]

    @jax.jit
    def integral(variables: Variables, shares: jax.Array, weights: jax.Array, label: int) -> jax.Array:
        def total(images: jax.Array) -> jax.Array:
            return logits(variables, images)[:, label].sum()

        return jnp.einsum("nhwc,n->hwc", jax.grad(total)(on_path(shares)), weights)

    @jax.jit
    def logit(variables: Variables, share: jax.Array, label: int) -> jax.Array:
        return logits(variables, on_path(share[None]))[0, label]

    def logit_at(share: float) -> float:
        return float(logit(network.variables, np.float32(share), label))

    def piece(left: _End, right: _End) -> _Piece:
        length = right.share - left.share
        shares = (left.share + length * (nodes + 1) / 2).astype(np.float32)
        found = integral(network.variables, shares, (weights * length / 2).astype(np.float32), label)
        attributions = path * np.asarray(found, np.float64)
        return _Piece(left, right, attributions, attributions.sum() - (right.logit - left.logit))

    nodes, weights = np.polynomial.legendre.leggauss(IMAGES_AT_ONCE)
    ends = [_End(share, logit_at(share)) for share in np.linspace(0, 1, _PIECES + 1).tolist()]
    pieces = [piece(left, right) for left, right in itertools.pairwise(ends)]
    difference = ends[-1].logit - ends[0].logit
    while (
        abs(sum(each.gap for each in pieces)) > tolerance * abs(difference)
        and (len(pieces) + 1) * IMAGES_AT_ONCE <= most_points
    ):
        worst = pieces.pop(max(range(len(pieces)), key=lambda index: abs(pieces[index].gap)))
        share = (worst.left.share + worst.right.share) / 2
        middle = _End(share, logit_at(share))
        pieces += [piece(worst.left, middle), piece(middle, worst.right)]
    attributions = np.sum([each.attributions for each in pieces], axis=0).astype(np.float32)
    return IntegratedGradients(attributions, difference, len(pieces) * IMAGES_AT_ONCE)


class _End(NamedTuple):
    """A place on the line between two images."""

    share: float
    logit: float


class _Piece(NamedTuple):
    """A piece of the line between two images."""

    left: _End
    right: _End
    attributions: np.ndarray
    gap: float
