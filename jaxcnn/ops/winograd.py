"""The lowering ``winograd``: products of sums of pixels, of which a tile of outputs takes fewer than there are taps.

Two neighbouring outputs of three taps are sums of four products instead of six, F(2, 3): each product is one of a sum
of pixels with a sum of taps. In both directions, a tile of 2x2 outputs takes 16 instead of 36, which are the entries of
16 matrix products over all tiles (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv:1509.09308,
section 4.1; Winograd, Arithmetic Complexity of Computations, 1980). The sums are of two pixels or taps, and take
halves at most, so that rounding errors are no larger than those of the other lowerings.

A strided convolution is one of blocks of pixels at stride 1: AlexNet's 11x11 taps at a stride of 4 are, with a row and
a column of zeros, 3x3 taps over blocks of 4x4 pixels, whose numbers are channels.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxcnn.ops.conv_shape import ConvShape, Images, Kernel, Outputs, like, pad_for
from jaxcnn.ops.precision import wide
from jaxcnn.ops.symbolic import Length

TILE = 2
"""The rows and columns of outputs that are computed together."""


def has_tiles(shape: ConvShape) -> bool:
    """Returns whether a convolution can be lowered so: 3x3 blocks of taps without gaps, and no groups."""
    blocks = all(2 * stride < taps <= 3 * stride for taps, stride in zip(shape.kernel[:2], shape.strides, strict=True))
    return blocks and shape.dilation == (1, 1) and shape.groups == 1


def winograd_outputs(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Returns the convolution, (batch, out_height, out_width, features)."""
    if shape.strides != (1, 1):
        images, kernel, shape = _pixels_in_blocks(images, shape), _taps_in_blocks(kernel, shape), _of_blocks(shape)
    return _convolve(images, _by_points(kernel), shape.padding, shape.size).astype(images.dtype)


def winograd_input_gradient(cotangent: Outputs, kernel: Kernel, shape: ConvShape) -> Images:
    """Returns the gradient with respect to the images: a convolution of the cotangent with the turned kernel."""
    if shape.strides != (1, 1):
        blocks = winograd_input_gradient(cotangent, _taps_in_blocks(kernel, shape), _of_blocks(shape))
        of_pixels = functools.partial(_pixels_in_blocks, shape=shape)
        return jax.linear_transpose(of_pixels, like(cotangent, shape.images))(blocks)[0]
    (top, bottom), (left, right) = shape.padding
    # The products take the matrices turned. A turned kernel would be gathered anew for each of the sixteen.
    matrices = [each.swapaxes(1, 2) for each in _by_points(kernel[::-1, ::-1])]
    around = ((2 - top, 2 - bottom), (2 - left, 2 - right))
    return _convolve(cotangent, matrices, around, shape.images[1:3]).astype(cotangent.dtype)


def _of_blocks(shape: ConvShape) -> ConvShape:
    """Returns the shape of the convolution of blocks that a strided one is."""
    (batch, *_), (*_, channels, features), (height, width) = shape.images, shape.kernel, shape.size
    channels *= math.prod(shape.strides)
    return ConvShape((batch, height + 2, width + 2, channels), (3, 3, channels, features), dtype=shape.dtype)


def _pixels_in_blocks(images: Images, shape: ConvShape) -> Float[Array, "batch rows columns numbers"]:
    """Returns images whose pixels are blocks of pixels, and whose channels are the numbers of a block."""
    (down, right), (*_, channels, features) = shape.strides, shape.kernel
    whole = dataclasses.replace(shape, kernel=(3 * down, 3 * right, channels, features))
    (batch, *_, channels), (height, width) = shape.images, shape.size
    split = pad_for(images, whole, shape.size).reshape(batch, height + 2, down, width + 2, right, channels)
    return split.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height + 2, width + 2, -1)


def _taps_in_blocks(kernel: Kernel, shape: ConvShape) -> Float[Array, "3 3 numbers features"]:
    """Returns a kernel whose taps are blocks, in the order in which `_pixels_in_blocks` has their pixels."""
    (down, right), (rows, columns, channels, features) = shape.strides, shape.kernel
    padded = jnp.pad(kernel, ((0, 3 * down - rows), (0, 3 * right - columns), (0, 0), (0, 0)))
    split = padded.reshape(3, down, 3, right, channels, features)
    return split.transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, -1, features)


def _convolve(
    images: Images,
    matrices: Sequence[Float[Array, "points channels features"]],
    padding: Sequence[tuple[Length, Length]],
    size: Sequence[Length],
) -> Outputs:
    """Returns outputs of a size, of images with a padding; where it is negative, pixels are left out."""
    down, right = ((length + TILE - 1) // TILE for length in size)
    edges = [
        (before, after + TILE * tiles - length, 0)
        for (before, after), tiles, length in zip(padding, (down, right), size, strict=True)
    ]
    padded = lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    batch, channels = images.shape[0], images.shape[3]
    products = []
    for row, matrix in zip(_sums_of_pixels(wide(padded), 1, down), matrices, strict=True):
        pixels = jnp.stack(_sums_of_pixels(row, 2, right)).reshape(len(matrix), -1, channels)
        products.append(jnp.matmul(pixels, matrix).reshape(len(matrix), batch, down, right, -1))
    rows = [_neighbours(each, axis=2) for each in products]
    return _neighbours(rows, axis=1)[:, : size[0], : size[1]]


def _sums_of_pixels(images: jax.Array, axis: int, tiles: Length) -> list[jax.Array]:
    """Returns what the four products of each tile take of the pixels along one axis."""
    first, second, third, fourth = (
        lax.slice_in_dim(images, start, start + TILE * (tiles - 1) + 1, TILE, axis) for start in range(4)
    )
    return [first - third, second + third, third - second, second - fourth]


def _by_points(kernel: Kernel) -> list[Float[Array, "points channels features"]]:
    """Returns the matrices of the four products of each row of a tile, for each of its four rows."""
    return [jnp.stack(_sums_of_taps(row)) for row in _sums_of_taps(wide(kernel))]


def _sums_of_taps(taps: Float[Array, "3 ..."]) -> list[jax.Array]:
    """Returns what the four products of each tile take of three taps."""
    first, second, third = taps
    outer = first + third
    return [first, (outer + second) / 2, (outer - second) / 2, third]


def _neighbours(products: Sequence[jax.Array] | jax.Array, axis: int) -> jax.Array:
    """Returns the two neighbouring outputs of each tile along one axis, from its four products."""
    first, second, third, fourth = products
    pairs = jnp.stack([first + second + third, second - third - fourth], axis=axis + 1)
    before, (tiles, _), after = pairs.shape[:axis], pairs.shape[axis : axis + 2], pairs.shape[axis + 2 :]
    return pairs.reshape(*before, TILE * tiles, *after)
