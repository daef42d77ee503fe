"""The product of few rows with a matrix, as of a layer's pixels or features with one image.

XLA's CPU backend gives it to Eigen, which copies the matrix in blocks. Two kinds of products are faster otherwise (two
x86 cores, AVX2):

- One row, as in a dense layer: cut into blocks of about 128 rows, whose products are summed, the matrix is read nearly
  as fast as the memory gives. AlexNet's first dense layer, 9216 to 4096, takes 7.2 ms instead of 10.1.
- From 33 to 60 rows, as of a map of 7x7, where the rows of the matrix are whole multiples of 2 KiB apart. From 61
  rows on XLA gives it to another library, YNNPACK, so zeros are added up to 64: 49 rows of 1024 by 2048 take 2.9 ms
  instead of 4.2, on one core 4.6 instead of 6.9. Where they are not so far apart, it gains nothing.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxcnn.ops.backend import rules_backend, several_devices
from jaxcnn.ops.symbolic import is_symbolic
from jaxcnn.ops.tracing import traced_once

_LEAST = 1 << 19
"""The fewest elements of a matrix that one row is multiplied with by blocks: a smaller one stays in a cache."""
_ROWS = 128
"""The rows of a block. With 64 or 256 it takes as long; with 32 or 512 it is slower."""
_BLOCKS = sorted(range(_ROWS // 2, 2 * _ROWS + 1), key=lambda rows: abs(rows - _ROWS))
_FILLED = range(33, 61)
"""The numbers of rows that zeros are added to, up to `_FULL`."""
_FULL = 64
_STRIDE = 2048
"""The distance in bytes of which that of two rows of the matrix is a multiple then."""


@traced_once
def product(
    rows: Float[Array, "count inputs"], matrix: Float[Array, "inputs features"]
) -> Float[Array, "count features"]:
    """Returns ``rows @ matrix``; the transposes of `row_product` are faster where there are several rows."""
    (count, _), features = rows.shape, matrix.shape[1]
    known = not is_symbolic((count, features))
    if known and _alone() and count in _FILLED and features * matrix.dtype.itemsize % _STRIDE == 0:
        return (jnp.pad(rows, ((0, _FULL - count), (0, 0))) @ matrix)[:count]
    return row_product(rows, matrix)


@traced_once
def row_product(
    rows: Float[Array, "count inputs"], matrix: Float[Array, "inputs features"]
) -> Float[Array, "count features"]:
    """Returns ``rows @ matrix``, by blocks where there is one row."""
    (count, inputs), features = rows.shape, matrix.shape[1]
    if not is_symbolic((count, inputs, features)) and _alone() and count == 1 and inputs * features >= _LEAST:
        block = next((block for block in _BLOCKS if inputs % block == 0 and inputs > block), None)
        # Sums of blocks must not be rounded more coarsely than the product's own.
        if block and rows.dtype.itemsize >= 4:
            factors = rows.reshape(-1, 1, block), matrix.reshape(-1, block, features)
            return lax.dot_general(*factors, (((2,), (1,)), ((0,), (0,)))).sum(0)
    return rows @ matrix


def dot_general(
    inputs: Float[Array, "*batch inputs"],
    kernel: Float[Array, "inputs features"],
    dimension_numbers: lax.DotDimensionNumbers,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "*batch features"]:
    """Returns what `jax.lax.dot_general` does, as `flax.linen.Dense` calls it; one row goes through `row_product`."""
    *batch, length = inputs.shape
    if precision is None and not is_symbolic(batch) and math.prod(batch) == 1:
        return row_product(inputs.reshape(1, length), kernel).reshape(*batch, kernel.shape[1])
    return lax.dot_general(inputs, kernel, dimension_numbers, precision)


def _alone() -> bool:
    """Returns whether a program is for one CPU."""
    return rules_backend() == "cpu" and not several_devices()
