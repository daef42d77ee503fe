"""Augmentations that hide a part of each normalized image, in which 0 is the mean colour.

The options stand above each function; their fields, apart from ``kind``, are its arguments.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxcnn.augment.arrays import Keys, Normalized
from jaxcnn.augment.resized_crop import draw_sides, place_box
from jaxcnn.config import Augmentation, option_group
from jaxcnn.config.options import FiniteFloat, Interval, PositiveInt, Probability, ShareInterval


@option_group
class RandomErasing(Augmentation):
    """Hides a box of random area, aspect ratio and position (arXiv:1708.04896), like torchvision's ``RandomErasing``.

    It comes after normalization, where 0 is the mean colour.
    """

    probability: Probability = 0.5
    scale: ShareInterval = (0.02, 0.33)
    """The smallest and the largest share of the image's area."""
    ratio: Interval = (0.3, 3.3)
    """The smallest and the largest height over width; drawn log-uniformly."""
    value: FiniteFloat | Literal["color", "pixels"] = 0.0
    """The value that is put there; or draws from a standard normal distribution, one for each channel (``color``) or
    one for each channel of each pixel (``pixels``)."""
    kind: Literal["random_erasing"] = "random_erasing"


def random_erasing(
    keys: Keys,
    images: Normalized,
    *,
    probability: float,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    value: float | Literal["color", "pixels"],
) -> Normalized:
    """Hides a box of each image with this probability (arXiv:1708.04896).

    It follows ``RandomErasing`` in torchvision's ``transforms/v2/_augment.py`` (and, with ``color``, timm's
    ``random_erasing.py``): of ten draws, the first that is smaller than the image in both directions is taken; if there
    is none, the image is left alone. The paper draws until a box fits, and draws pixels' levels evenly.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), float32, normalized.
        probability: the probability of hiding anything.
        scale: the smallest and the largest share of the image's area.
        ratio: the smallest and the largest height over width; drawn log-uniformly.
        value: what is put there; or ``color``, a draw from a standard normal distribution for each channel; or
            ``pixels``, one for each channel of each pixel.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, channels = images.shape

    def erase(key, image):
        whether_key, side_key, corner_key, value_key = jax.random.split(key, 4)
        widths, heights = draw_sides(side_key, height * width, scale, ratio)
        fits = (heights < height) & (widths < width)
        first = jnp.argmax(fits)
        sides = heights[first], widths[first]
        erased = jax.random.bernoulli(whether_key, probability) & jnp.any(fits)
        inside = jnp.ones((1, 1), bool)
        for axis, (start, side, length) in enumerate(
            zip(place_box(corner_key, (height, width), sides), sides, (height, width), strict=True)
        ):
            index = jnp.expand_dims(jnp.arange(length), 1 - axis)
            inside = inside & (index >= start) & (index < start + side)
        match value:
            case "color":
                filled = jax.random.normal(value_key, (1, 1, channels), image.dtype)
            case "pixels":
                filled = jax.random.normal(value_key, image.shape, image.dtype)
            case _:
                filled = jnp.array(value, image.dtype)
        return jnp.where((inside & erased)[..., None], filled, image)

    return jax.vmap(erase)(keys, images)


@option_group
class Cutout(Augmentation):
    """Hides squares whose middles lie anywhere and which are cut off at the border (arXiv:1708.04552).

    It comes after normalization.
    """

    length: PositiveInt = 16
    """The length of a side, in pixels."""
    holes: PositiveInt = 1
    """The number of squares in an image."""
    kind: Literal["cutout"] = "cutout"


def cutout(keys: Keys, images: Normalized, *, length: int, holes: int) -> Normalized:
    """Puts 0 into squares of each image (arXiv:1708.04552).

    It follows the authors' ``util/cutout.py``: the middle of each square is uniform over the image, and what extends
    beyond the border is cut off. No image is left alone.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), float32, normalized.
        length: the length of a square's side, in pixels.
        holes: the number of squares in an image.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, _ = images.shape

    def hidden(key):
        inside = []
        for axis_key, side in zip(jax.random.split(key), (height, width), strict=True):
            start = jax.random.randint(axis_key, (holes, 1), 0, side) - length // 2
            index = jnp.arange(side)[None]
            inside.append((index >= start) & (index < start + length))
        rows, columns = inside
        return jnp.any(rows[:, :, None] & columns[:, None, :], axis=0)

    return jnp.where(jax.vmap(hidden)(keys)[..., None], 0.0, images)
