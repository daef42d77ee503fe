"""The lowering ``direct``: each number of a pixel times the vector of what it counts for in the features of its group.

The features of a group lie beside one another, in the outputs as in the kernel, so that a compiler makes vectors of
them. No matrix has to be wide for that, as one of all channels of a group and all taps does, and no product is of two
groups. XLA writes each output once, as one sum over taps and channels.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.ops.backend import several_devices
from jaxcnn.ops.conv_shape import ConvShape, Images, Kernel, Outputs, pad, pad_for, taps_of
from jaxcnn.ops.fusion import computed_once
from jaxcnn.ops.loops import blocks, summed, zeros
from jaxcnn.ops.precision import wide
from jaxcnn.ops.window import tap

_MOST_TERMS = 72
"""The most products that an output is summed from at once: of more, LLVM makes slow code (or compiles for long)."""
_MOST_ROWS, _MOST_COLUMNS = 4, 4
"""The most rows and columns of which a product is summed at once for the gradient of the kernel, likewise."""


def direct_outputs(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Returns the convolution, (batch, out_height, out_width, features)."""
    (*_, channels, features), groups = shape.kernel, shape.groups
    # On several devices `computed_once` does nothing, and a loop over two parts takes its place.
    most = min(max(_MOST_TERMS // shape.taps, 1), max(channels // 2, 1) if several_devices() else channels)
    count = next(n for n in range(most, 0, -1) if channels % n == 0)
    padded = pad(images, shape)
    padded = padded.reshape(*padded.shape[:3], groups, channels)
    # What one group takes of the kernel lies together: at a stride of all features its lines would push one another
    # out of the cache.
    parts = kernel.reshape(shape.taps, channels // count, count, groups, features // groups).transpose(1, 3, 0, 2, 4)
    parts = computed_once(parts)

    def part(pixels: jax.Array, taps: jax.Array) -> jax.Array:
        return summed(
            [
                wide(pixels[:, rows, columns, :, channel : channel + 1]) * wide(taps[None, None, None, :, k, channel])
                for k, (rows, columns) in enumerate(taps_of(shape))
                for channel in range(count)
            ]
        )

    if count == channels:
        # What reads the sums must not compute them again, as the phases of a strided input gradient would be.
        return computed_once(part(padded, parts[0]).reshape(shape.outputs).astype(images.dtype))

    def add(i, total):
        pixels = lax.dynamic_slice_in_dim(padded, i * count, count, axis=4)
        return total + part(pixels, lax.dynamic_index_in_dim(parts, i, keepdims=False))

    total = zeros((*shape.outputs[:3], groups, features // groups), padded)
    return lax.fori_loop(0, len(parts), add, total).reshape(shape.outputs).astype(images.dtype)


def direct_weight_gradient(cotangent: Outputs, images: Images, shape: ConvShape) -> Kernel:
    """Returns the gradient with respect to the kernel, of the kernel's shape, by blocks of rows of the outputs."""
    (*taps, channels, features), groups = shape.kernel, shape.groups
    batch, (height, width), (down, right) = shape.images[0], shape.size, shape.strides
    (blocks_down, rows), (blocks_right, columns) = blocks(height, _MOST_ROWS), blocks(width, _MOST_COLUMNS)
    size = blocks_down * rows, blocks_right * columns
    padded = pad_for(images, shape, size)
    padded = padded.reshape(*padded.shape[:3], groups, channels)
    cotangent = jnp.pad(cotangent, ((0, 0), (0, size[0] - height), (0, size[1] - width), (0, 0)))
    cotangent = cotangent.reshape(*cotangent.shape[:3], groups, features // groups)
    seen = (rows - 1) * down + (taps[0] - 1) * shape.dilation[0] + 1

    def add(block, totals):
        pixels = lax.dynamic_slice_in_dim(padded, block * rows * down, seen, axis=1)
        here = lax.dynamic_slice_in_dim(cotangent, block * rows, rows, axis=1)
        return [total + product(pixels, here, *place) for place, total in zip(np.ndindex(*taps), totals, strict=True)]

    def product(pixels, here, i, j):
        """Returns the products that one tap sees, summed over rows and over neighbouring columns."""
        above, before = i * shape.dilation[0], j * shape.dilation[1]
        seen = pixels[:, tap(above, rows, down), tap(before, size[1], right)]
        return summed(
            [
                wide(seen[:, row, column::columns, :, :, None]) * wide(here[:, row, column::columns, :, None])
                for row in range(rows)
                for column in range(columns)
            ]
        )

    totals = [zeros((batch, blocks_right, groups, channels, features // groups), padded)] * shape.taps
    totals = lax.fori_loop(0, blocks_down, add, totals)
    # Two axes, because XLA's sums over seven end the process on CPUs, and every `jax.vmap` adds one.
    sums = [jnp.sum(total.reshape(batch * blocks_right, -1), axis=0) for total in totals]
    gradient = jnp.stack(sums).reshape(shape.taps, groups, channels, -1)
    return gradient.swapaxes(1, 2).reshape(shape.kernel).astype(images.dtype)
