"""The lowering ``rows``: a few rows of one image at a time, in loops, so that what is multiplied stays in the cache.

The channels of a depthwise convolution make no matrices, and on a CPU XLA reduces what is not a matrix product slowly:
it first copies the pixels that a tap sees, once for each tap. Here whole rows are multiplied number by number and added
up, which compilers make vectors of.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.ops.conv_shape import ConvShape, Images, Kernel, Outputs, pad_for
from jaxcnn.ops.loops import blocks, summed, zeros
from jaxcnn.ops.precision import wide
from jaxcnn.ops.window import tap

_MOST_ROWS = 14
"""The most rows of an output that are summed at once."""
_MOST_ROWS_OF_GRADIENT = 8
"""The most rows that are summed before the sum is added to the gradient."""


def has_rows(shape: ConvShape) -> bool:
    """Returns whether a convolution can be lowered so: it is depthwise, and has as many features as channels."""
    return shape.depthwise and shape.kernel[3] == shape.images[3]


def rows_outputs(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Returns the convolution, (batch, out_height, out_width, features), by rows of the kernel and of the outputs."""
    batch, (height, width), features = shape.images[0], shape.size, shape.kernel[3]
    count, rows = blocks(height, _MOST_ROWS)
    padded = pad_for(images, shape, (count * rows, width))
    down, right = tap(0, rows, shape.strides[0]), tap(0, width, shape.strides[1])
    window = (1, down.stop, right.stop, features)

    def block(index, outputs):
        image, top = index // count, index % count * rows

        def kernel_row(i, total):
            above = top * shape.strides[0] + i * shape.dilation[0]
            products = [
                wide(lax.dynamic_slice(padded, (image, above, j * shape.dilation[1], 0), window)[0, down, right])
                * wide(lax.dynamic_slice(kernel, (i, j, 0, 0), (1, 1, 1, features))[0])
                for j in range(shape.kernel[1])
            ]
            return total + summed(products)

        total = lax.fori_loop(0, shape.kernel[0], kernel_row, zeros((rows, width, features), padded))
        return lax.dynamic_update_slice(outputs, total.astype(outputs.dtype)[None], (image, top, 0, 0))

    outputs = zeros((batch, count * rows, width, features), padded).astype(images.dtype)
    return lax.fori_loop(0, batch * count, block, outputs)[:, :height]


def rows_weight_gradient(cotangent: Outputs, images: Images, shape: ConvShape) -> Kernel:
    """Returns the gradient with respect to the kernel, of the kernel's shape, by rows of the outputs."""
    batch, (height, width), (*taps, _, features) = shape.images[0], shape.size, shape.kernel
    count, rows = blocks(height, _MOST_ROWS_OF_GRADIENT)
    padded = pad_for(images, shape, (count * rows, width))
    cotangent = jnp.pad(cotangent, ((0, 0), (0, count * rows - height), (0, 0), (0, 0)))
    right = tap(0, width, shape.strides[1])
    window = (1, 1, right.stop, features)
    above, before = (jnp.asarray(each.ravel()) for each in np.indices(taps) * np.reshape(shape.dilation, (2, 1, 1)))

    def block(index, total):
        image, top = index // count, index % count * rows

        def product(row):
            def shifted(i, j):
                return lax.dynamic_slice(padded, (image, row * shape.strides[0] + i, j, 0), window)[0, 0, right]

            pixels = jax.vmap(shifted)(above, before)
            return wide(pixels) * wide(lax.dynamic_slice(cotangent, (image, row, 0, 0), (1, 1, width, features))[0])

        return total + summed([product(top + row) for row in range(rows)])

    total = lax.fori_loop(0, batch * count, block, zeros((len(above), width, features), padded))
    return jnp.sum(total, axis=1).reshape(shape.kernel).astype(images.dtype)
