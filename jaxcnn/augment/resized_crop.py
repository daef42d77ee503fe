"""Scales random boxes of images to one size, and draws their area and aspect ratio."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, Key, UInt8

from jaxcnn.augment.arrays import Keys, Pixels
from jaxcnn.config.options import Interpolation

TRIES = 10
"""The number of draws for a box that fits; it is torchvision's."""


def draw_sides(
    key: Key[Array, ""], area: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Int32[Array, " tries"], Int32[Array, " tries"]]:
    """Draws the sides of `TRIES` boxes: the share of an area uniformly, the ratio of the sides log-uniformly.

    Args:
        key: a typed PRNG key.
        area: the area of the image, in pixels.
        scale: the smallest and the largest share of the area.
        ratio: the smallest and the largest ratio of the second side to the first.

    Returns:
        The sides in whole pixels, int32 (TRIES,) each, whether or not they fit into anything.
    """
    area_key, ratio_key = jax.random.split(key)
    areas = area * jax.random.uniform(area_key, (TRIES,), minval=scale[0], maxval=scale[1])
    logarithms = jax.random.uniform(ratio_key, (TRIES,), minval=math.log(ratio[0]), maxval=math.log(ratio[1]))
    ratios = jnp.exp(logarithms)
    first, second = (jnp.round(jnp.sqrt(each)).astype(jnp.int32) for each in (areas / ratios, areas * ratios))
    return first, second


def place_box(
    key: Key[Array, ""], lengths: tuple[int, int], sides: tuple[Int32[Array, ""], Int32[Array, ""]]
) -> tuple[Int32[Array, ""], Int32[Array, ""]]:
    """Draws where a box of these sides begins inside an image of these lengths: a number for each side."""
    keys = jax.random.split(key)
    pairs = zip(keys, lengths, sides, strict=True)
    first, second = (jax.random.randint(key, (), 0, length - side + 1) for key, length, side in pairs)
    return first, second


def _kernel(distance: jax.Array, interpolation: Literal["bilinear", "bicubic", "lanczos"]) -> jax.Array:
    """Evaluates Pillow's filters (``src/libImaging/Resample.c``): bilinear, Keys's cubic (a = -1/2), or Lanczos-3."""
    distance = jnp.abs(distance)
    match interpolation:
        case "bilinear":
            return jnp.maximum(1 - distance, 0)
        case "bicubic":
            near = (1.5 * distance - 2.5) * distance**2 + 1
            far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
            return jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0))
        case "lanczos":
            return jnp.where(distance < 3, jnp.sinc(distance) * jnp.sinc(distance / 3), 0)


def _weights(start: jax.Array, side: jax.Array, length: int, size: int, interpolation: Interpolation) -> jax.Array:
    """Returns the weights (size, length) of an axis's pixels in those of the result; each row sums to 1."""
    twice = 2 * jnp.arange(size)[:, None] + 1
    pixel = (jnp.arange(length) - start)[None]
    if interpolation == "nearest":
        return (pixel == twice * side // (2 * size)).astype(jnp.float32)
    inside = (pixel >= 0) & (pixel < side)
    stretch = side.astype(jnp.float32) / size
    center = twice * (stretch / 2)
    weights = _kernel((pixel + 0.5 - center) / jnp.maximum(stretch, 1), interpolation)
    weights = jnp.where(inside, weights, 0.0)
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def resized_crop(
    images: UInt8[Array, "batch old_height old_width channels"],
    top: Int32[Array, " batch"],
    left: Int32[Array, " batch"],
    height: Int32[Array, " batch"],
    width: Int32[Array, " batch"],
    *,
    size: int,
    interpolation: Interpolation,
) -> UInt8[Array, "batch {size} {size} channels"]:
    """Scales a box of each image to a square, antialiased when it shrinks, as Pillow does.

    Like Pillow and PyTorch, it scales along the rows first, and rounds after each direction, half up. Each direction is
    a product with a matrix of weights, which suits boxes of any size and any device.

    Args:
        images: (batch, old height, old width, channels), uint8.
        top: (batch,), int32: the top of the box, in pixels; the box lies inside the image.
        left: (batch,), int32: the left of the box, in pixels.
        height: (batch,), int32: the height of the box, in pixels.
        width: (batch,), int32: the width of the box, in pixels.
        size: the length of the result's sides, in pixels.
        interpolation: the filter.

    Returns:
        uint8 (batch, size, size, channels).
    """

    def weigh(starts, sides, length):
        return jax.vmap(lambda start, side: _weights(start, side, length, size, interpolation))(starts, sides)

    def product(subscripts, weights, levels):
        found = jnp.einsum(subscripts, weights, levels.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
        return jnp.clip(jnp.floor(found + 0.5), 0, 255).astype(jnp.uint8)

    across = product("bow,bhwc->bohc", weigh(left, width, images.shape[2]), images)
    return product("bph,bohc->bpoc", weigh(top, height, images.shape[1]), across)


def random_resized_crop(
    keys: Keys,
    images: Pixels,
    *,
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    interpolation: Interpolation,
) -> UInt8[Array, "batch {size} {size} channels"]:
    """Draws a box of each image, and scales it to a square: GoogLeNet's training crops (arXiv:1409.4842, section 6).

    Its options are `jaxcnn.config.RandomResizedCrop`, which are also those of the crop of that kind on the host.

    It follows ``RandomResizedCrop`` in torchvision's ``transforms/v2/_geometry.py``: of ten draws, the first that fits
    is taken; if there is none, the largest centred box whose aspect ratio is allowed.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        size: the length of the result's sides, in pixels.
        scale: the smallest and the largest share of the image's area.
        ratio: the smallest and the largest width over height; drawn log-uniformly.
        interpolation: as `resized_crop`'s.

    Returns:
        uint8 (batch, size, size, channels).
    """
    _, height, width, _ = images.shape
    last_height = min(height, max(1, round(width / ratio[0])))
    last_width = min(width, max(1, round(height * ratio[1])))

    def draw(key):
        side_key, corner_key = jax.random.split(key)
        heights, widths = draw_sides(side_key, height * width, scale, ratio)
        fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
        first, found = jnp.argmax(fits), jnp.any(fits)
        box_height = jnp.where(found, heights[first], last_height)
        box_width = jnp.where(found, widths[first], last_width)
        top, left = place_box(corner_key, (height, width), (box_height, box_width))
        top = jnp.where(found, top, (height - last_height) // 2)
        left = jnp.where(found, left, (width - last_width) // 2)
        return top, left, box_height, box_width

    return resized_crop(images, *jax.vmap(draw)(keys), size=size, interpolation=interpolation)
