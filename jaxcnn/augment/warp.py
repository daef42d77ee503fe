"""Affine and perspective maps from each pixel of the result to a point of the source, at which the image is sampled.

They follow torchvision's tensor kernels (``transforms/v2/functional/_geometry.py``): PyTorch's ``grid_sample`` with
zeros outside, ``align_corners=False``, and the fill colour blended in where the source ends.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Real, UInt8

from jaxcnn.augment.arrays import Pixels
from jaxcnn.augment.rows import gather_by_rows
from jaxcnn.config import ConfigError
from jaxcnn.config.options import GreyLevel

Fill = tuple[GreyLevel, ...]
"""The grey level where there was no image, one for each channel or one for all."""
SampledAt = Literal["nearest", "bilinear"]
"""How an image is sampled between pixels."""


def inverse_affine(
    *,
    angle: Real[Array, "*#batch"] | float = 0.0,
    translate_x: Real[Array, "*#batch"] | float = 0.0,
    translate_y: Real[Array, "*#batch"] | float = 0.0,
    scale: Real[Array, "*#batch"] | float = 1.0,
    shear_x: Real[Array, "*#batch"] | float = 0.0,
    shear_y: Real[Array, "*#batch"] | float = 0.0,
    center_x: Real[Array, "*#batch"] | float = 0.0,
    center_y: Real[Array, "*#batch"] | float = 0.0,
) -> Float32[Array, "*batch 2 3"]:
    """Returns `warp`'s matrices that shear along x and y, scale and rotate about the centre, and then translate.

    It follows ``_get_inverse_affine_matrix`` in the file above. Every argument is (batch,) or one number for all
    images.

    Args:
        angle: the angle of rotation in degrees, clockwise (torchvision's ``rotate`` is counter-clockwise).
        translate_x: the translation to the right, in pixels.
        translate_y: the translation downward, in pixels.
        scale: the factor of lengths; above 1 it enlarges.
        shear_x: the shear along x in degrees: x falls by ``tan(shear_x)`` times y.
        shear_y: the shear along y in degrees: y falls by ``tan(shear_y)`` times x.
        center_x: the centre of rotation, scaling and shears, in pixels to the right of the image's middle.
        center_y: the centre of rotation, scaling and shears, in pixels below the image's middle.

    Returns:
        float32 (batch, 2, 3), or (2, 3) where every argument is a number.
    """
    angle, shear_x, shear_y = (jnp.deg2rad(jnp.asarray(each, jnp.float32)) for each in (angle, shear_x, shear_y))
    a = jnp.cos(angle - shear_y) / jnp.cos(shear_y)
    b = -(a * jnp.tan(shear_x) + jnp.sin(angle))
    c = jnp.sin(angle - shear_y) / jnp.cos(shear_y)
    d = jnp.cos(angle) - c * jnp.tan(shear_x)
    # The determinant of (a b; c d) is 1.
    rows = []
    for first, second, center in ((d / scale, -b / scale, center_x), (-c / scale, a / scale, center_y)):
        third = center - first * (center_x + translate_x) - second * (center_y + translate_y)
        rows.append((first, second, third))
    shape = jnp.broadcast_shapes(*(jnp.shape(each) for row in rows for each in row))
    return jnp.stack([jnp.stack([jnp.broadcast_to(each, shape) for each in row], -1) for row in rows], -2)


def inverse_perspective(endpoints: Real[Array, "batch 4 2"], height: int, width: int) -> Float32[Array, "batch 3 3"]:
    """Returns `warp`'s matrices for the perspective that moves an image's corners to other points.

    It follows ``_get_perspective_coeffs`` in torchvision's ``transforms/functional.py``, with the corners as start
    points. There the points are the indices of the corner pixels, yet the map is applied to coordinates half a pixel
    above the indices; the same is done here.

    Args:
        endpoints: (batch, 4, 2), the x and y, in pixels, to which the top left, top right, bottom right and bottom left
            corner pixels go.
        height: the height of the images, in pixels; at least 2.
        width: the width of the images, in pixels; at least 2.

    Returns:
        float32 (batch, 3, 3).
    """
    # This maps the unit square to a quadrilateral (P. Heckbert, Fundamentals of Texture Mapping and Image Warping,
    # 1989), in units of the image, so that float32 is enough.
    corners = jnp.asarray(endpoints, jnp.float32) / jnp.array([width - 1, height - 1], jnp.float32).reshape(1, 1, 2)
    p, q, r, s = (corners[:, index] for index in range(4))
    (qx, qy), (sx, sy), (x, y) = (each.T for each in (q - r, s - r, p - q + r - s))
    determinant = qx * sy - sx * qy
    g, h = (x * sy - sx * y) / determinant, (qx * y - x * qy) / determinant
    one = jnp.ones_like(g)
    forward = jnp.stack(
        [
            jnp.concatenate([q - p + g[:, None] * q, g[:, None]], axis=1),
            jnp.concatenate([s - p + h[:, None] * s, h[:, None]], axis=1),
            jnp.concatenate([p, one[:, None]], axis=1),
        ],
        axis=2,
    )
    # These are the rows of the inverse, up to a factor on which a perspective does not depend.
    columns = [forward[:, :, index] for index in range(3)]
    inverse = jnp.stack([jnp.cross(columns[index - 2], columns[index - 1]) for index in range(3)], axis=1)
    from_unit = jnp.array([[width - 1, 0, -width / 2], [0, height - 1, -height / 2], [0, 0, 1]], jnp.float32)
    to_unit = jnp.array(
        [[1 / (width - 1), 0, width / 2 / (width - 1)], [0, 1 / (height - 1), height / 2 / (height - 1)], [0, 0, 1]],
        jnp.float32,
    )
    return jnp.einsum("ij,bjk,kl->bil", from_unit, inverse, to_unit, precision=jax.lax.Precision.HIGHEST)


def warp(
    images: Pixels,
    matrices: Float32[Array, "batch rows 3"],
    *,
    interpolation: SampledAt,
    fill: Fill = (0,),
) -> Pixels:
    """Maps each image by its own matrix.

    Args:
        images: (batch, height, width, channels), uint8, of at most 4 channels.
        matrices: (batch, 2, 3), float32: from (x, y, 1), in pixels from the image's middle, in the result, to (x, y) in
            the source; see `inverse_affine`. Or (batch, 3, 3): to (x, y) times the third; see `inverse_perspective`.
        interpolation: see `sample`.
        fill: see `sample`.

    Returns:
        uint8 of the same shape.
    """
    height, width = images.shape[1:3]
    across = (jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2)[None, None, :]
    down = (jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2)[None, :, None]
    m = matrices[:, :, :, None, None]
    mapped = [m[:, row, 0] * across + m[:, row, 1] * down + m[:, row, 2] for row in range(matrices.shape[1])]
    x, y = mapped if len(mapped) == 2 else (mapped[0] / mapped[2], mapped[1] / mapped[2])
    x, y = x + (width - 1) / 2, y + (height - 1) / 2
    return sample(images, x, y, interpolation=interpolation, fill=fill)


def sample(
    images: Pixels,
    x: Float32[Array, "batch new_height new_width"],
    y: Float32[Array, "batch new_height new_width"],
    *,
    interpolation: SampledAt,
    fill: Fill = (0,),
) -> UInt8[Array, "batch new_height new_width channels"]:
    """Samples the source at one point for each pixel of the result.

    Args:
        images: (batch, height, width, channels), uint8, of at most 4 channels.
        x: (batch, new height, new width), float32: coordinates in the source, in pixels; 0 is the middle of the
            leftmost.
        y: (batch, new height, new width), float32: coordinates in the source, in pixels; 0 is the middle of the
            topmost.
        interpolation: ``nearest`` rounds coordinates half to even; ``bilinear`` weighs four pixels. Where only the
            share s of a point's weight is inside, the result is torchvision's ``s * (sum of the inside pixels' weighted
            levels
            - fill) + fill``.
        fill: the grey level outside, one for each channel or one for all.

    Returns:
        uint8 (batch, new height, new width, channels).

    Raises:
        ConfigError: ``fill`` has levels for another number of channels.
    """
    height, width, channels = images.shape[1:]
    if len(fill) not in (1, channels):
        raise ConfigError(
            f"fill has {len(fill)} levels, and images have {channels} channels: give one for each channel, or one"
        )
    color = jnp.broadcast_to(jnp.array(fill, jnp.float32), (channels,)).reshape(1, 1, 1, channels)
    # A pixel's channels are gathered at once, as one number.
    pixels = jnp.pad(images, ((0, 0), (0, 0), (0, 0), (0, 4 - channels)))
    packed = jax.lax.bitcast_convert_type(pixels, jnp.uint32).reshape(len(images), height * width)

    def gather(index):
        return jnp.take_along_axis(packed, index.reshape(len(images), -1), axis=1, mode="clip").reshape(index.shape)

    def take(column, row):
        column, row = (
            jnp.clip(each, 0, length - 1).astype(jnp.int32) for each, length in ((column, width), (row, height))
        )
        found = gather_by_rows(gather, row * width + column)
        return jax.lax.bitcast_convert_type(found, jnp.uint8)[..., :channels]

    if interpolation == "nearest":
        column, row = jnp.round(x), jnp.round(y)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        return jnp.where(inside[..., None], take(column, row), color.astype(jnp.uint8))

    def neighbours(coordinate, length):
        """Returns two pixels along an axis, each with its weight, which is 0 outside."""
        first = jnp.floor(coordinate)
        pairs = ((first, first + 1 - coordinate), (first + 1, coordinate - first))
        return [(pixel, jnp.where((pixel >= 0) & (pixel < length), weight, 0.0)) for pixel, weight in pairs]

    columns, rows = neighbours(x, width), neighbours(y, height)
    level = sum(
        (row_weight * column_weight)[..., None] * take(column, row).astype(jnp.float32)
        for row, row_weight in rows
        for column, column_weight in columns
    )
    share = ((columns[0][1] + columns[1][1]) * (rows[0][1] + rows[1][1]))[..., None]
    return jnp.round((level - color) * share + color).astype(jnp.uint8)
