"""The lowering ``rows``: a few rows of one image at a time, in loops, so that what is multiplied stays in the cache.

Channels that are no neighbours in memory make thin matrices, and on a CPU XLA reduces what is not a matrix product
slowly: it first copies the pixels that a tap sees, once for each tap. Here whole rows are multiplied number by number
and added up, which compilers make vectors of. Where a group has several channels, a row is also shifted by each number
of channels that may lie between an input and an output of one group; what belongs to two groups counts as zero, or is
left out of the sum.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxcnn.ops.conv_shape import ConvShape, Images, Kernel, Outputs
from jaxcnn.ops.precision import wide
from jaxcnn.ops.sharding import vary_alike
from jaxcnn.ops.window import tap

MOST_GROUP_CHANNELS = 16
"""The most channels that a group may have: above it, shifting by channels takes more than it gains."""
_MOST_ROWS = 14
"""The most rows of an output that are summed at once."""
_MOST_ROWS_OF_GRADIENT = 8
"""The most rows that are summed before the sum is added to the gradient."""


def has_rows(shape: ConvShape) -> bool:
    """Returns whether a convolution can be lowered so: as many features as channels, and few of them in a group."""
    return shape.kernel[3] == shape.images[3] and shape.kernel[2] <= MOST_GROUP_CHANNELS


def rows_outputs(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Returns the convolution, (batch, out_height, out_width, features), by rows of the kernel and of the outputs."""
    batch, (height, width), features = shape.images[0], shape.size, shape.kernel[3]
    blocks, count = _blocks(height, _MOST_ROWS)
    padded = _padded(images, shape, blocks * count)
    weights = _by_shift(kernel)  # (kernel_height, kernel_width, shifts, features)
    down, right = tap(0, count, shape.strides[0]), tap(0, width, shape.strides[1])
    window = (1, down.stop, right.stop, features)

    def block(index, outputs):
        image, top = index // blocks, index % blocks * count

        def kernel_row(i, total):
            above = top * shape.strides[0] + i * shape.dilation[0]
            products = [
                wide(lax.dynamic_slice(padded, (image, above, j * shape.dilation[1], shift), window)[0, down, right])
                * wide(lax.dynamic_slice(weights, (i, j, shift, 0), (1, 1, 1, features))[0])
                for j in range(shape.kernel[1])
                for shift in range(weights.shape[2])
            ]
            return total + _sum(products)

        zeros = _zeros((count, width, features), padded)
        total = lax.fori_loop(0, shape.kernel[0], kernel_row, zeros).astype(outputs.dtype)
        return lax.dynamic_update_slice(outputs, total[None], (image, top, 0, 0))

    outputs = _zeros((batch, blocks * count, width, features), padded).astype(images.dtype)
    return lax.fori_loop(0, batch * blocks, block, outputs)[:, :height]


def rows_weight_gradient(cotangent: Outputs, images: Images, shape: ConvShape) -> Kernel:
    """Returns the gradient with respect to the kernel, of the kernel's shape, by rows of the outputs."""
    batch, (height, width), (*taps, _, features) = shape.images[0], shape.size, shape.kernel
    blocks, count = _blocks(height, _MOST_ROWS_OF_GRADIENT)
    padded = _padded(images, shape, blocks * count)
    cotangent = jnp.pad(cotangent, ((0, 0), (0, blocks * count - height), (0, 0), (0, 0)))
    shifts = _shifts(shape.kernel[2])
    right = tap(0, width, shape.strides[1])
    window = (1, 1, right.stop, features)
    rows, columns, channels = (
        jnp.asarray(each.ravel())
        for each in np.indices((*taps, len(shifts))) * np.reshape((*shape.dilation, 1), (3, 1, 1, 1))
    )

    def block(index, total):
        image, top = index // blocks, index % blocks * count

        def product(row):
            def shifted(i, j, shift):
                return lax.dynamic_slice(padded, (image, row * shape.strides[0] + i, j, shift), window)[0, 0, right]

            pixels = jax.vmap(shifted)(rows, columns, channels)
            return wide(pixels) * wide(lax.dynamic_slice(cotangent, (image, row, 0, 0), (1, 1, width, features))[0])

        return total + _sum([product(top + row) for row in range(count)])

    total = lax.fori_loop(0, batch * blocks, block, _zeros((len(rows), width, features), padded))
    sums = jnp.sum(total, axis=1).reshape(*taps, len(shifts), features)
    return _from_shift(sums, shape.kernel[2]).astype(images.dtype)


def _blocks(height: int, most: int) -> tuple[int, int]:
    """Returns a number of blocks, as small and as equal as can be, and the rows of each."""
    blocks = -(-height // most)
    return blocks, -(-height // blocks)


def _padded(images: Images, shape: ConvShape, height: int) -> Float[Array, "batch rows columns room"]:
    """Returns images with their padding, with what more rows of outputs see, and with room for shifts by channels."""
    (top, bottom), sides = shape.padding
    below = bottom + (height - shape.size[0]) * shape.strides[0]
    room = shape.kernel[2] - 1
    return lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), (top, below, 0), (*sides, 0), (room, room, 0)))


def _shifts(group_channels: int) -> range:
    """Returns the numbers of channels by which an input may lie above the output of its group that it counts for."""
    return range(1 - group_channels, group_channels)


def _by_shift(kernel: Kernel) -> Float[Array, "kernel_height kernel_width shifts features"]:
    """Returns a kernel by the shift from the output's channel to the input's; zero where that is in another group."""
    group_channels, features = kernel.shape[2:]
    inputs = np.arange(features) % group_channels + np.array(_shifts(group_channels))[:, None]
    within = ((inputs >= 0) & (inputs < group_channels))[None, None]
    found = kernel[:, :, np.clip(inputs, 0, group_channels - 1), np.arange(features)]
    return jnp.where(within, found, jnp.zeros((), kernel.dtype))


def _from_shift(
    by_shift: Float[Array, "kernel_height kernel_width shifts features"], group_channels: int
) -> Float[Array, "kernel_height kernel_width group_channels features"]:
    """Returns a kernel that was given by shifts, without what lies between two groups."""
    features = by_shift.shape[3]
    shifts = np.arange(group_channels)[:, None] - np.arange(features) % group_channels + group_channels - 1
    return by_shift[:, :, shifts, np.arange(features)]


def _zeros(shape: tuple[int, ...], like: jax.Array) -> jax.Array:
    """Returns zeros to sum up in, which differ between devices as an array does (see `vary_alike`)."""
    return vary_alike(jnp.zeros(shape, jnp.promote_types(like.dtype, jnp.float32)), like)[0]


def _sum(terms: list[jax.Array]) -> jax.Array:
    """Returns the sum of terms, of neighbours first, so that the additions do not wait for one another."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) & ~1 :]
    return terms[0]
