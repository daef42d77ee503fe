"""Max and average pooling with explicit padding, ceil mode and a stated divisor."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.ops.window import Padding, Pair, output_length, resolve_padding, tap


def max_pool(
    images: jax.Array, window: Pair, *, strides: Pair | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> jax.Array:
    """Takes the maximum of each window.

    Among equal values the gradient goes to the first in row-major order, as in PyTorch; it is said as comparisons
    and sums, which XLA's CPU backend runs several times faster than its own select-and-scatter.

    Args:
        images: (batch, height, width, channels), floating point.
        window: (height, width).
        strides: by default the window.
        padding: explicit pairs, ``"same"`` or ``"valid"``; padding never wins.
        ceil_mode: also take a last, partial window where the strides leave pixels over, by PyTorch's rule: only if it
            starts inside the image or its leading padding.

    Returns:
        (batch, out_height, out_width, channels).

    Raises:
        ValueError: the window is larger than the padded image.
    """
    strides = strides or window
    (padding, size), _ = _geometry(images.shape, window, strides, padding, ceil_mode)
    return _max_pool(images, window, strides, padding, size)


def average_pool(
    images: jax.Array,
    window: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_padding: bool = False,
) -> jax.Array:
    """Takes the mean of each window.

    Args:
        images: (batch, height, width, channels), floating point.
        window: (height, width).
        strides: by default the window.
        padding: explicit pairs, ``"same"`` or ``"valid"``.
        ceil_mode: as in `max_pool`.
        count_padding: divide by the pixels and the padding in the window (PyTorch's default), or by the pixels alone
            (TensorFlow's ``same``). What ceil mode adds beyond the padding is never counted.

    Returns:
        (batch, out_height, out_width, channels).

    Raises:
        ValueError: the window is larger than the padded image.
    """
    strides = strides or window
    (padded, size), asked = _geometry(images.shape, window, strides, padding, ceil_mode)
    images = lax.pad(images, jnp.zeros((), images.dtype), _edges(padded))
    total = sum(images[:, rows, columns] for rows, columns in _taps(window, strides, size))
    counts = []
    for axis in (0, 1):
        before, after = asked[axis]
        length = images.shape[1 + axis] - sum(padded[axis])
        low, high = (0, before + length + after) if count_padding else (before, before + length)
        starts = [i * strides[axis] for i in range(size[axis])]
        counts.append([min(start + window[axis], high) - max(start, low) for start in starts])
    divisor = jnp.array([[rows * columns for columns in counts[1]] for rows in counts[0]], images.dtype)
    return total / divisor[None, :, :, None]


def _geometry(shape, window, strides, padding, ceil_mode):
    """((padding that makes every window whole, output size), padding as asked for)."""
    asked = resolve_padding(padding, shape[1:3], window, strides)
    size, padded = [], []
    for axis in (0, 1):
        before, after = asked[axis]
        length = shape[1 + axis]
        count = output_length(length + before + after, window[axis], strides[axis])
        if ceil_mode and count:
            count = math.ceil((length + before + after - window[axis]) / strides[axis]) + 1
            count -= (count - 1) * strides[axis] >= length + before
        if count < 1:
            raise ValueError(f"pooling window {window} is larger than the padded image {shape[1:3]} + {asked}")
        size.append(count)
        padded.append((before, max(after, (count - 1) * strides[axis] + window[axis] - length - before)))
    return (tuple(padded), tuple(size)), asked


def _edges(padding):
    return ((0, 0, 0), *((before, after, 0) for before, after in padding), (0, 0, 0))


def _taps(window: Pair, strides: Pair, size: Pair):
    """The slices that each place of the window sees, in row-major order."""
    for i, j in itertools.product(range(window[0]), range(window[1])):
        yield tap(i, size[0], strides[0]), tap(j, size[1], strides[1])


def _maximum(images, window, strides, padding, size):
    images = lax.pad(images, jnp.array(-jnp.inf, images.dtype), _edges(padding))
    return functools.reduce(jnp.maximum, (images[:, rows, columns] for rows, columns in _taps(window, strides, size)))


_max_pool = jax.custom_vjp(_maximum, nondiff_argnums=(1, 2, 3, 4))


def _max_pool_forward(images, window, strides, padding, size):
    pooled = _maximum(images, window, strides, padding, size)
    return pooled, (images, pooled)


def _max_pool_backward(window, strides, padding, size, saved, cotangent):
    images, pooled = saved
    padded = lax.pad(images, jnp.array(-jnp.inf, images.dtype), _edges(padding))
    gradient = jnp.zeros(padded.shape, cotangent.dtype)
    free = jnp.ones(pooled.shape, bool)
    zero = jnp.zeros((), cotangent.dtype)
    for rows, columns in _taps(window, strides, size):
        wins = free & (padded[:, rows, columns] == pooled)
        free &= ~wins
        share = jnp.where(wins, cotangent, zero)
        edges = [
            (slices.start, padded.shape[1 + axis] - slices.stop, strides[axis] - 1)
            for axis, slices in enumerate((rows, columns))
        ]
        gradient += lax.pad(share, zero, ((0, 0, 0), *edges, (0, 0, 0)))
    (top, _), (left, _) = padding
    return (gradient[:, top : top + images.shape[1], left : left + images.shape[2]],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
