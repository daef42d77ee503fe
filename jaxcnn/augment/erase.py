"""Augmentations that hide a part of each normalized image, in which 0 is the mean colour."""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxcnn.augment.resized_crop import draw_sides, place_box


def random_erasing(
    keys: jax.Array,
    images: jax.Array,
    *,
    probability: float,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    value: float | Literal["color", "pixels"],
) -> jax.Array:
    """Hides a box of each image with this probability (arXiv:1708.04896).

    As ``RandomErasing`` in torchvision's ``transforms/v2/_augment.py`` (and, with ``color``, timm's
    ``random_erasing.py``): ten draws, the first that is smaller than the image in both directions is taken; after them
    the image is left alone. The paper draws until one fits, and evenly of pixels' levels.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), float32, normalized.
        probability: of hiding anything.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest height over width; drawn log-uniformly.
        value: put there; or ``color``, a draw from a standard normal distribution a channel; or ``pixels``, one for
            each pixel's each channel.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, channels = images.shape

    def erase(key, image):
        whether_key, side_key, place_key, value_key = jax.random.split(key, 4)
        widths, heights = draw_sides(side_key, height * width, scale, ratio)
        fits = (heights < height) & (widths < width)
        first = jnp.argmax(fits)
        sides = heights[first], widths[first]
        erased = jax.random.bernoulli(whether_key, probability) & jnp.any(fits)
        inside = jnp.ones((1, 1), bool)
        for axis, (start, side, length) in enumerate(
            zip(place_box(place_key, (height, width), sides), sides, (height, width), strict=True)
        ):
            place = jnp.expand_dims(jnp.arange(length), 1 - axis)
            inside = inside & (place >= start) & (place < start + side)
        match value:
            case "color":
                filled = jax.random.normal(value_key, (1, 1, channels), image.dtype)
            case "pixels":
                filled = jax.random.normal(value_key, image.shape, image.dtype)
            case _:
                filled = jnp.array(value, image.dtype)
        return jnp.where((inside & erased)[..., None], filled, image)

    return jax.vmap(erase)(keys, images)


def cutout(keys: jax.Array, images: jax.Array, *, length: int, holes: int) -> jax.Array:
    """Puts 0 into squares of each image (arXiv:1708.04552).

    As the authors' ``util/cutout.py``: the middle of each is uniform over the image, and what sticks out is cut off.
    The image is never left alone.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), float32, normalized.
        length: of a square's side, in pixels.
        holes: squares an image.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, _ = images.shape

    def hidden(key):
        inside = []
        for axis_key, side in zip(jax.random.split(key), (height, width), strict=True):
            start = jax.random.randint(axis_key, (holes, 1), 0, side) - length // 2
            place = jnp.arange(side)[None]
            inside.append((place >= start) & (place < start + length))
        rows, columns = inside
        return jnp.any(rows[:, :, None] & columns[:, None, :], axis=0)

    return jnp.where(jax.vmap(hidden)(keys)[..., None], 0.0, images)
