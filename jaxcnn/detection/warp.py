"""R-CNN's warp: each box of an image, with some of what surrounds it, becomes an image of one size, on the device.

A box is scaled to a square whatever its shape, by bilinear interpolation between the pixels' middles, without
antialiasing: a box that is much larger than the square is sampled, and not averaged. So did the authors
(arXiv:1311.2524, Appendix A, and ``rcnn_im_crop.m`` of their code, which turns antialiasing off). Three things differ
from their code: boxes are not rounded to whole pixels; no box is mirrored; and each pixel of the result is judged by
itself whether it lies in the picture, where theirs rounds the part of a box that does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.rows import gather_by_rows
from jaxcnn.config import Normalization
from jaxcnn.errors import UserError

CONTEXT = 16
"""The pixels of context around a warped box, at a size of 227 pixels, in the paper's networks."""


class Canvases(NamedTuple):
    """Images of any sizes as arrays of one shape, which go to a device once: `canvases` makes them."""

    pixels: np.ndarray | jax.Array
    """uint32 (images, height, width): each pixel's channels are the bytes of a number; images lie at the top left."""
    extents: np.ndarray | jax.Array
    """int32 (images, 2): the height and the width of each image."""


def canvases(images: Sequence[np.ndarray], shape: tuple[int, int] | None = None) -> Canvases:
    """Returns images as arrays of one shape, on the host.

    A pixel takes four bytes, because a device then gathers its channels at once.

    Args:
        images: uint8 (height, width, channels) each, of up to 4 channels.
        shape: the height and the width of the canvases; by default those of the tallest and of the widest image.
    """
    extents = np.array([image.shape[:2] for image in images], np.int32).reshape(-1, 2)
    height, width = shape or extents.max(0, initial=1)
    channels = np.zeros((len(images), height, width, 4), np.uint8)
    for canvas, image in zip(channels, images, strict=True):
        canvas[: image.shape[0], : image.shape[1], : image.shape[2]] = image
    return Canvases(channels.view("<u4")[..., 0], extents)


def outside(normalization: Normalization, channels: int) -> tuple[float, ...]:
    """Returns the levels, one for each channel, that normalization maps to 0: what lies beyond a picture has them."""
    mean = normalization.mean if len(normalization.mean) == channels else normalization.mean * channels
    return tuple(255 * level for level in mean)


def check_context(size: int, context: int) -> None:
    """Refuses a context that leaves no room for the box.

    Raises:
        UserError: it leaves none. The message names the largest that does.
    """
    if not 0 <= 2 * context < size:
        raise UserError(
            f"a context of {context} pixels on either side leaves nothing of a region of {size} pixels for its box: "
            f"give one from 0 to {(size - 1) // 2}"
        )


def warped(
    pictures: Canvases,
    which: jax.Array,
    boxes: jax.Array,
    *,
    size: int,
    context: int,
    fill: Sequence[float],
) -> jax.Array:
    """Returns boxes of images, each warped to a square; a pure function, to be called in a jitted one.

    The middle of each pixel of the square is a point of the picture. Inside the picture the level there is interpolated
    between the middles of the four nearest pixels, or of those of them that exist; outside it is ``fill``. A box
    without width or height is a line or a point, whose levels are spread over the square. A box that is all outside is
    all ``fill``.

    Args:
        pictures: the images.
        which: int32 (boxes,): the index of each box's image.
        boxes: float32 (boxes, 4): left, top, right and bottom, in pixels; they need not lie inside the image.
        size: the height and the width of the results, in pixels.
        context: the number of pixels of the result between its border and the box: as many pixels of the picture are
            seen around the box as are warped to these. See `check_context`.
        fill: the level beyond the picture, for each channel; see `outside`.

    Returns:
        float32 (boxes, size, size, channels): levels from 0 to 255, not rounded, in as many channels as ``fill`` has.
    """
    inner = size - 2 * context
    # Of the middles of the result's pixels: where they are in the box, from 0 to 1 and beyond.
    shares = (jnp.arange(size, dtype=jnp.float32) + 0.5 - context) / inner
    lengths = pictures.extents[which].astype(jnp.float32)  # (boxes, 2): height, width
    points = [
        boxes[:, start, None] + (boxes[:, start + 2, None] - boxes[:, start, None]) * shares[None, :]
        for start in (1, 0)
    ]
    (y, x), limits = points, (lengths[:, :1], lengths[:, 1:])
    inside = [(point >= 0) & (point < limit) for point, limit in zip(points, limits, strict=True)]

    def neighbours(point: jax.Array, limit: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns two pixels along an axis for each point, both (boxes, size), and the weight of the second."""
        middle = jnp.clip(point - 0.5, 0.0, limit - 1)
        first = jnp.floor(middle)
        second = jnp.minimum(first + 1, limit - 1)
        return first.astype(jnp.int32), second.astype(jnp.int32), middle - first

    (top, bottom, down), (left, right, across) = neighbours(y, limits[0]), neighbours(x, limits[1])
    height, width = pictures.pixels.shape[1:]
    packed = jnp.asarray(pictures.pixels).reshape(len(pictures.pixels), height * width)

    def take(row: jax.Array, column: jax.Array) -> jax.Array:
        """Returns the levels of pixels, float32 (boxes, size, size, channels)."""
        index = row[:, :, None] * width + column[:, None, :]
        found = gather_by_rows(lambda at: packed.at[which[:, None, None], at].get(mode="clip"), index)
        # Else XLA gathers for each channel anew, which takes a third longer on a CPU.
        found = jax.lax.optimization_barrier(found)
        levels = [(found >> (8 * channel)) & 0xFF for channel in range(len(fill))]
        return jnp.stack(levels, axis=-1).astype(jnp.float32)

    across, down = across[:, None, :, None], down[:, :, None, None]
    upper = take(top, left) * (1 - across) + take(top, right) * across
    lower = take(bottom, left) * (1 - across) + take(bottom, right) * across
    level = upper * (1 - down) + lower * down
    seen = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return jnp.where(seen, level, jnp.asarray(fill, jnp.float32).reshape(1, 1, 1, -1))
