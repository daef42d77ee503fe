"""Changes of colour and sharpness by a given amount, one for each image; nothing here is random.

The semantics are those of torchvision's ``transforms.v2.functional`` on uint8 tensors: float32 results are clipped to
0..255 and truncated. Images are uint8 (batch, height, width, channels) with 1 or 3 channels.

Functions that map each value of a channel independently (brightness, contrast, posterize, ...) take arrays (batch, ...,
channels) of any rank. From `levels`, the 256 possible values, they make a table, by which `apply_tables` maps an image.
So one gather applies any of them, and another one to each image.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int, Int32, Real, Shaped, UInt8

from jaxcnn.augment.arrays import Levels, PerImage, Pixels, Tables
from jaxcnn.augment.rows import gather_by_rows
from jaxcnn.config import ConfigError


def spread(parameter: Shaped[Array, " batch"], images: Shaped[Array, "batch ..."]) -> Shaped[Array, "batch ..."]:
    """Returns (batch,) as (batch, 1, ..., 1), of the rank of ``images``."""
    return parameter.reshape(-1, *(1 for _ in images.shape[1:]))


def _to_uint8(values: jax.Array) -> jax.Array:
    return jnp.clip(values, 0, 255).astype(jnp.uint8)


def blend(images: Levels, other: Real[Array, "..."], ratio: PerImage) -> Levels:
    """Returns ``images * ratio + other * (1 - ratio)``, clipped and truncated to uint8.

    It is computed as an added difference, which changes nothing where the two are equal. Where the exact result is a
    whole number, torchvision's rounding error and this one can fall on different sides; then they are one level apart.

    Args:
        images: (batch, ..., channels), uint8.
        other: numbers that broadcast against them.
        ratio: (batch,): 1 leaves the images alone; above 1 they move away from the other.
    """
    values = images.astype(jnp.float32)
    return _to_uint8(values + (other.astype(jnp.float32) - values) * spread(1 - ratio, images))


def grey(images: Levels) -> Int32[Array, "batch *axes 1"]:
    """Returns the luma, ``floor(0.2989 R + 0.587 G + 0.114 B)``, as int32 (batch, ..., 1); grey images as they are.

    The floor is exact. torchvision's, of a float32 sum, is one lower on three of the 2**24 colours.
    """
    if images.shape[-1] == 1:
        return images.astype(jnp.int32)
    weighed = images.astype(jnp.int32) * jnp.array([2989, 5870, 1140]).reshape((1,) * (images.ndim - 1) + (3,))
    return jax.lax.div(jnp.sum(weighed, axis=-1, keepdims=True), 10000)


def mean_grey(images: Pixels) -> Float32[Array, " batch"]:
    """Returns the mean luma of each image (batch, height, width, channels), float32 (batch,)."""
    total, pixels = jnp.sum(grey(images), axis=(1, 2, 3)), images.shape[1] * images.shape[2]
    # A whole mean must come out whole, but XLA divides by a constant by multiplying by its rounded inverse.
    return total // pixels + (total % pixels) / pixels


def adjust_brightness(images: Levels, factor: PerImage) -> Levels:
    """Scales by a factor: 0 is black, 1 the image itself."""
    return _to_uint8(images.astype(jnp.float32) * spread(factor, images))


def adjust_contrast(images: Pixels, factor: PerImage) -> Pixels:
    """Moves away from the image's mean luma by a factor: 0 is even grey, 1 the image itself."""
    return blend(images, spread(mean_grey(images), images), factor)


def adjust_saturation(images: Pixels, factor: PerImage) -> Pixels:
    """Moves away from the luma by a factor: 0 is grey, 1 the image itself; one channel stays as it is."""
    return images if images.shape[-1] == 1 else blend(images, grey(images), factor)


def adjust_hue(images: Pixels, shift: PerImage) -> Pixels:
    """Turns the hue by a share of the circle, from -0.5 to 0.5; one channel stays as it is."""
    if images.shape[-1] == 1:
        return images
    colours = images.astype(jnp.float32) * jnp.float32(1 / 255)
    red, green, blue = (colours[..., channel] for channel in range(3))
    high, low = jnp.max(colours, axis=-1), jnp.min(colours, axis=-1)
    span = high - low
    divisor = jnp.where(span == 0, 1.0, span)
    # In sixths of the circle from red; the second colour's share is added where it follows, else subtracted.
    angle = jnp.where(
        high == red,
        (green - blue) / divisor,
        jnp.where(high == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    angle = jnp.where(span == 0, 0.0, angle) + 6 * spread(shift, angle)

    def channel(start):
        sixths = start + angle
        sixths = sixths - 6 * jnp.floor(sixths / 6)
        return high - span * jnp.clip(jnp.minimum(sixths, 4 - sixths), 0, 1)

    turned = jnp.stack([channel(5), channel(3), channel(1)], axis=-1)
    return _to_uint8(turned * 255.999)  # as torchvision converts [0, 1] to uint8


def to_grayscale(images: Pixels) -> Pixels:
    """Returns the luma in every channel."""
    return jnp.broadcast_to(grey(images), images.shape).astype(jnp.uint8)


def invert(images: Levels) -> Levels:
    """Returns the negative, ``255 - images``."""
    return 255 - images


def posterize(images: Levels, bits: Int[Array, " batch"]) -> Levels:
    """Keeps the highest ``bits``, integers 0..8, of each value and clears the others."""
    mask = (255 << (8 - bits)) & 255
    return images & spread(mask, images).astype(jnp.uint8)


def solarize(images: Levels, threshold: PerImage) -> Levels:
    """Inverts values that are not below the threshold."""
    return jnp.where(images.astype(jnp.float32) >= spread(threshold, images), invert(images), images)


def solarize_add(images: Levels, amount: PerImage) -> Levels:
    """Adds integers 0..127 to values below 128 (AutoAugment's operation of that name)."""
    return jnp.where(images < 128, images + spread(amount, images).astype(jnp.uint8), images)


def stretch(images: Levels, low: Real[Array, "batch channels"], high: Real[Array, "batch channels"]) -> Levels:
    """Maps [low, high] to [0, 255], both (batch, channels); where the two are equal, nothing changes."""
    shape = (low.shape[0], *(1,) * (images.ndim - 2), low.shape[1])
    low, high = (each.astype(jnp.float32).reshape(shape) for each in (low, high))
    flat = low == high
    scale = jnp.where(flat, 1.0, (high - low) * jnp.float32(1 / 255))
    return _to_uint8((images.astype(jnp.float32) - jnp.where(flat, 0.0, low)) / scale)


def extremes(images: Pixels) -> tuple[UInt8[Array, "batch channels"], UInt8[Array, "batch channels"]]:
    """Returns the smallest and the largest value of each channel, uint8 (batch, channels)."""
    return jnp.min(images, axis=(1, 2)), jnp.max(images, axis=(1, 2))


def autocontrast(images: Pixels) -> Pixels:
    """Stretches each channel to 0..255."""
    return stretch(images, *extremes(images))


def levels(images: Levels) -> Tables:
    """Returns the table that changes nothing, uint8 (batch, 256, channels), from which other tables are made."""
    batch, channels = images.shape[0], images.shape[-1]
    return jnp.broadcast_to(jnp.arange(256, dtype=jnp.uint8).reshape(1, -1, 1), (batch, 256, channels))


def apply_tables(images: Pixels, tables: Tables) -> Pixels:
    """Maps each channel of each image by its own table, uint8 (batch, 256, channels)."""
    batch, _, _, channels = images.shape
    own = 256 * channels * jnp.arange(batch).reshape(-1, 1, 1, 1) + jnp.arange(channels).reshape(1, 1, 1, -1)

    def look_up(images):
        return tables.reshape(-1).at[own + channels * images.astype(jnp.int32)].get(mode="promise_in_bounds")

    return gather_by_rows(look_up, images)


def histograms(images: Pixels) -> Int32[Array, "batch 256 channels"]:
    """Counts each value in each channel: int32 (batch, 256, channels)."""
    return jax.lax.platform_dependent(images, tpu=histograms_by_products, default=_histograms_by_scatter)


def _histograms_by_scatter(images: jax.Array) -> jax.Array:
    """Counts by one addition for each value, which takes a seventh of the products' time on two cores."""
    *_, channels = images.shape

    def count(image):
        bins = image.reshape(-1, channels).astype(jnp.int32) * channels + jnp.arange(channels)[None]
        counts = jnp.zeros(256 * channels, jnp.int32).at[bins.reshape(-1)].add(1, mode="promise_in_bounds")
        return counts.reshape(256, channels)

    return jax.vmap(count)(images)


def histograms_by_products(images: jax.Array) -> jax.Array:
    """Counts by products of the one-hots of the upper and the lower four bits, for a TPU, which scatters one by one."""
    batch, height, width, channels = images.shape
    # It goes piece by piece, because the one-hots of a whole image are 128 times as large as the image.
    size = min(2048, height * width)
    pieces = -(-height * width // size)
    pixels = jnp.moveaxis(images, 3, 1).reshape(batch, channels, height * width).astype(jnp.int16)
    filled = jnp.pad(pixels, ((0, 0), (0, 0), (0, pieces * size - height * width)), constant_values=-1)  # no one-hot

    def count(piece):
        upper, lower = (jax.nn.one_hot(half, 16, axis=2) for half in (piece >> 4, piece & 15))
        return jnp.einsum("bcup,bclp->bulc", upper, lower, precision="highest").astype(jnp.int32)

    counts = jax.lax.map(count, jnp.moveaxis(filled.reshape(batch, channels, pieces, size), 2, 0))
    return jnp.sum(counts, axis=0).reshape(batch, 256, channels)


def equalizing_tables(images: Pixels) -> Tables:
    """Returns the tables that make each channel's histogram even, in Pillow's integer arithmetic."""
    counts = histograms(images)
    cumulated = jnp.cumsum(counts, axis=1)
    largest = jnp.max(images, axis=(1, 2), keepdims=True)[:, 0].astype(jnp.int32)
    most = jnp.take_along_axis(counts, largest, axis=1)
    step = (images.shape[1] * images.shape[2] - most) // 255
    even = jnp.clip((cumulated - counts + step // 2) // jnp.maximum(step, 1), 0, 255).astype(jnp.uint8)
    return jnp.where(step == 0, levels(images), even)


def equalize(images: Pixels) -> Pixels:
    """Makes each channel's histogram even."""
    return apply_tables(images, equalizing_tables(images))


def smooth(images: Pixels) -> Int32[Array, "batch height width channels"]:
    """Returns Pillow's 3x3 smoothing (5 in the middle, 1 around, over 13), rounded, int32; the border as it is."""
    images = images.astype(jnp.int32)
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = images.shape[1:3]
    rows = padded[:, :height] + padded[:, 1 : height + 1] + padded[:, 2:]
    total = rows[:, :, :width] + rows[:, :, 1 : width + 1] + rows[:, :, 2:] + 4 * images
    row, column = jnp.arange(height).reshape(1, -1, 1, 1), jnp.arange(width).reshape(1, 1, -1, 1)
    inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return jnp.where(inside, jax.lax.div(2 * total + 13, 26), images)


def adjust_sharpness(images: Pixels, factor: PerImage) -> Pixels:
    """Moves away from the smoothed image by a factor: 0 is smooth, 1 the image itself, 2 sharper."""
    return blend(images, smooth(images), factor)


def gaussian_blur(images: Pixels, sigma: PerImage, *, kernel_size: int) -> Pixels:
    """Convolves with a Gaussian, reflecting the image at its border, and rounds.

    Args:
        images: (batch, height, width, channels), uint8.
        sigma: (batch,), standard deviation in pixels.
        kernel_size: height and width of the kernel, odd.

    Raises:
        ConfigError: the kernel is too large for the images to be reflected.
    """
    reach = kernel_size // 2
    if reach >= min(images.shape[1:3]):
        raise ConfigError(
            f"a Gaussian's kernel_size must be at most {2 * min(images.shape[1:3]) - 1} for images of "
            f"{images.shape[1]}x{images.shape[2]} pixels, not {kernel_size}"
        )
    offset = jnp.arange(-reach, reach + 1, dtype=jnp.float32)
    weights = jax.nn.softmax(-0.5 * (offset[None] / sigma[:, None]) ** 2, axis=-1)
    blurred = images.astype(jnp.float32)
    for axis in (1, 2):
        length = images.shape[axis]
        padding = [(0, 0)] * 4
        padding[axis] = (reach, reach)
        padded = jnp.pad(blurred, padding, mode="reflect")
        blurred = sum(
            jax.lax.slice_in_dim(padded, shift, shift + length, axis=axis) * spread(weights[:, shift], padded)
            for shift in range(kernel_size)
        )
    return _to_uint8(jnp.round(blurred))
