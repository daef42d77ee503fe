"""Images sampled at other places: affine and perspective maps from each pixel of the result to its place in the source.

As torchvision's tensor kernels (``transforms/v2/functional/_geometry.py``), that is PyTorch's ``grid_sample`` with
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
"""The grey level where there was no image: one a channel, or one for all."""
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
    """Returns what `warp` takes, for: shear along x, along y, scale, rotate, all about the centre; then translate.

    As ``_get_inverse_affine_matrix`` in the file above. Every argument is (batch,) or one number for all.

    Args:
        angle: in degrees, clockwise (torchvision's ``rotate`` is counter-clockwise).
        translate_x: in pixels, to the right.
        translate_y: in pixels, downward.
        scale: of lengths; above 1 enlarges.
        shear_x: in degrees: x falls by ``tan(shear_x)`` times y.
        shear_y: in degrees: y falls by ``tan(shear_y)`` times x.
        center_x: of the rotation, scaling and shears, in pixels to the right of the image's middle.
        center_y: likewise, downward.

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
    """Returns what `warp` takes, for the perspective in which an image's corners go to other places.

    As ``_get_perspective_coeffs`` in torchvision's ``transforms/functional.py`` with the corners for start points. The
    points are the corner pixels' indices there, yet the map is applied to places half a pixel more than indices: so it
    is here.

    Args:
        endpoints: (batch, 4, 2): x and y, in pixels, to which the top left, top right, bottom right and bottom left
            corner pixel go.
        height: of the images, in pixels; at least 2.
        width: likewise.

    Returns:
        float32 (batch, 3, 3).
    """
    # The unit square to a quadrilateral (P. Heckbert, Fundamentals of Texture Mapping and Image Warping, 1989),
    # in units of the image, so that float32 is enough.
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
    # Rows of the inverse, up to a factor that a perspective does not feel.
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
    """Maps each image by a matrix of its own.

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
    places = [m[:, row, 0] * across + m[:, row, 1] * down + m[:, row, 2] for row in range(matrices.shape[1])]
    x, y = places if len(places) == 2 else (places[0] / places[2], places[1] / places[2])
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
    """Takes, for each pixel of the result, the source at one place.

    Args:
        images: (batch, height, width, channels), uint8, of at most 4 channels.
        x: (batch, new height, new width), float32: places in the source, in pixels, 0 the middle of the leftmost.
        y: likewise, 0 the middle of the topmost.
        interpolation: ``nearest`` rounds places half to even; ``bilinear`` weighs four pixels. Where only the share s
            of a place's weight is inside, torchvision's ``s * (sum of the inside pixels' weighted levels - fill) +
            fill`` is the result.
        fill: the grey level outside, one a channel or one for all.

    Returns:
        uint8 (batch, new height, new width, channels).

    Raises:
        ConfigError: fill has the levels of another number of channels.
    """
    height, width, channels = images.shape[1:]
    if len(fill) not in (1, channels):
        raise ConfigError(f"fill has {len(fill)} levels, and images have {channels} channels: give one each, or one")
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

    def neighbours(place, length):
        """Two pixels along an axis, each with its weight: 0 outside."""
        first = jnp.floor(place)
        pairs = ((first, first + 1 - place), (first + 1, place - first))
        return [(pixel, jnp.where((pixel >= 0) & (pixel < length), weight, 0.0)) for pixel, weight in pairs]

    columns, rows = neighbours(x, width), neighbours(y, height)
    level = sum(
        (row_weight * column_weight)[..., None] * take(column, row).astype(jnp.float32)
        for row, row_weight in rows
        for column, column_weight in columns
    )
    share = ((columns[0][1] + columns[1][1]) * (rows[0][1] + rows[1][1]))[..., None]
    return jnp.round((level - color) * share + color).astype(jnp.uint8)
