"""What an answer rests on, by covering a part of the image after the other."""

from typing import NamedTuple

import jax
import numpy as np

from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.explanations.image import Blank, blank, checked_label, logits_of
from jaxcnn.trained import Trained
from jaxcnn.types import Variables

IMAGES_AT_ONCE = 16
"""The number of images that the network takes together."""
_PATCHES = 7
"""The patches beside each other, without overlap, that an image has by default."""


class Occlusion(NamedTuple):
    """How much less probable a class is where a part of the image is covered."""

    drop: np.ndarray
    """The probability without a patch less that with one, float32 (height, width): the mean of all patches that cover
    the pixel. It is below 0 where a patch makes the class more probable."""
    patch: int
    """The side of a patch, in pixels."""
    stride: int
    """The step from a patch to the next, in pixels; the last ones end at the border."""


@own_settings()
def occlusion(
    network: Trained,
    pixels: np.ndarray,
    label: int,
    *,
    patch: int | None = None,
    stride: int | None = None,
    fill: Blank = "mean",
) -> Occlusion:
    """Returns how the probability of a class falls when patches are covered (Zeiler and Fergus 2014).

    Args:
        network: the network.
        pixels: the image, uint8 (height, width, channels), as `seen_pixels` returns it.
        label: the number of the class.
        patch: the side of a patch; by default a seventh of the image.
        stride: the step from a patch to the next; by default half a patch.
        fill: what a patch shows.

    Raises:
        UserError: there is no such class, a patch is larger than the image, or patches would leave out pixels.
    """
    label, (height, width) = checked_label(network, label), pixels.shape[:2]
    patch = max(1, -(-min(height, width) // _PATCHES)) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if not 1 <= patch <= min(height, width):
        raise UserError(f"a patch of {patch} does not fit an image of {height}x{width}: give 1 to {min(height, width)}")
    if not 1 <= stride <= patch:
        raise UserError(f"a stride of {stride} leaves out pixels between patches of {patch}: give 1 to {patch}")
    logits, level = logits_of(network), blank(network, fill)

    @jax.jit
    def probabilities(variables: Variables, images: jax.Array, label: int) -> jax.Array:
        return jax.nn.softmax(logits(variables, images))[:, label]

    corners = [(top, left) for top in _starts(height, patch, stride) for left in _starts(width, patch, stride)]
    image = pixels.astype(np.float32)
    # The first image is whole. The last batch is filled up, so that one shape is compiled.
    found = []
    covered = [None, *corners]
    for first in range(0, len(covered), IMAGES_AT_ONCE):
        batch = np.repeat(image[None], IMAGES_AT_ONCE, 0)
        for each, corner in zip(batch, covered[first : first + IMAGES_AT_ONCE], strict=False):
            if corner is not None:
                each[corner[0] : corner[0] + patch, corner[1] : corner[1] + patch] = level
        found.append(np.asarray(probabilities(network.variables, batch, label)))
    whole, *rest = np.concatenate(found)[: len(covered)]
    total, times = np.zeros((2, height, width))
    for (top, left), probability in zip(corners, rest, strict=True):
        total[top : top + patch, left : left + patch] += float(whole) - float(probability)
        times[top : top + patch, left : left + patch] += 1
    return Occlusion((total / times).astype(np.float32), patch, stride)


def _starts(length: int, patch: int, stride: int) -> list[int]:
    return sorted({*range(0, length - patch, stride), length - patch})
