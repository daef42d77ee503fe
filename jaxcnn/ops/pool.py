"""Max and average pooling with explicit padding, ceil mode and a chosen divisor; average pooling to a given size.

Windows are slices that are compared or summed, and their gradients are computed pixel by pixel, which CPUs and GPUs run
faster, and with fewer bytes, than XLA's own operation and its select-and-scatter. TPUs have units for these: there the
slices moved 1.2 times the bytes of a step of VGG-16 and ResNet-18 (docs/laboratory.md).
"""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from jaxcnn.ops.backend import rules_backend
from jaxcnn.ops.fusion import computed_once
from jaxcnn.ops.linear import linear_map
from jaxcnn.ops.symbolic import Length, is_symbolic
from jaxcnn.ops.tracing import traced_once
from jaxcnn.ops.window import Padding, Pair, resolve_padding, tap


def max_pool(
    images: Float[Array, "batch height width channels"],
    window: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
) -> Float[Array, "batch out_height out_width channels"]:
    """Takes the maximum of each window.

    Of equal values, the first in row-major order gets the gradient, as in PyTorch.

    Args:
        images: (batch, height, width, channels), floating point.
        window: (height, width).
        strides: (vertical, horizontal); by default the window.
        padding: explicit pairs, ``"same"`` or ``"valid"``; padding is never the maximum.
        ceil_mode: whether a last, partial window is taken where the strides leave pixels over. As in PyTorch, it is
            taken only if it starts inside the image or its leading padding.

    Returns:
        (batch, out_height, out_width, channels).

    Raises:
        ValueError: the window is larger than the padded image; in ceil mode, by as much as the strides or more.
    """
    strides = strides or window
    asked = resolve_padding(padding, images.shape[1:3], window, strides)
    if is_symbolic(images.shape):
        return _reduce_windows(images, lax.max, -np.inf, window, strides, _covering(asked, window, strides, ceil_mode))
    padded, size = _geometry(images.shape, window, strides, asked, ceil_mode)
    if rules_backend() == "tpu":
        return _reduce_windows(images, lax.max, -np.inf, window, strides, _whole(padded))
    return _max_pool(images, window=window, strides=strides, padding=padded, size=size)


def average_pool(
    images: Float[Array, "batch height width channels"],
    window: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_padding: bool = False,
) -> Float[Array, "batch out_height out_width channels"]:
    """Takes the mean of each window.

    Args:
        images: (batch, height, width, channels), floating point.
        window: (height, width).
        strides: (vertical, horizontal); by default the window.
        padding: explicit pairs, ``"same"`` or ``"valid"``.
        ceil_mode: as in `max_pool`.
        count_padding: whether a window's sum is divided by the number of its pixels and padding (PyTorch's default), or
            by that of its pixels alone (TensorFlow's ``same``). What ceil mode adds beyond the padding never counts.

    Returns:
        (batch, out_height, out_width, channels).

    Raises:
        ValueError: the window is larger than the padded image.
    """
    strides = strides or window
    asked = resolve_padding(padding, images.shape[1:3], window, strides)
    if is_symbolic(images.shape):
        pairs = _covering(asked, window, strides, ceil_mode)
        counted = jnp.ones((1, *images.shape[1:3], 1), images.dtype)
        rest = pairs
        if count_padding:
            counted = _pad(counted, 1, asked)
            rest = [(0, after - counted_after) for (_, after), (_, counted_after) in zip(pairs, asked, strict=True)]
        total = _reduce_windows(images, lax.add, 0, window, strides, pairs)
        return total / _reduce_windows(counted, lax.add, 0, window, strides, rest)
    padded, size = _geometry(images.shape, window, strides, asked, ceil_mode)
    if rules_backend() == "tpu":
        total = _reduce_windows(images, lax.add, 0, window, strides, _whole(padded))
    else:
        total = _sum_pool(images, window=window, strides=strides, padding=padded, size=size)
    counts = []
    for axis in (0, 1):
        before, after = asked[axis]
        length = images.shape[1 + axis]
        low, high = (0, before + length + after) if count_padding else (before, before + length)
        starts = [i * strides[axis] for i in range(size[axis])]
        counts.append([min(start + window[axis], high) - max(start, low) for start in starts])
    divisor = jnp.array([[rows * columns for columns in counts[1]] for rows in counts[0]], images.dtype)
    return total / divisor[None, :, :, None]


def adaptive_average_pool(
    images: Float[Array, "batch height width channels"], size: Pair
) -> Float[Array, "batch out_height out_width channels"]:
    """Takes the means of ``size`` bins that cover the image, laid out as in PyTorch.

    The i-th of n bins over a length L reaches from floor(i L / n) to ceil((i + 1) L / n). So bins overlap where n does
    not divide L, and some hold the same pixels where L is smaller than n. Where L is n, nothing changes.

    Args:
        images: (batch, height, width, channels), floating point.
        size: (out_height, out_width).

    Returns:
        (batch, out_height, out_width, channels), in the images' dtype; sums are computed in float32 at least.
    """
    wide = jnp.promote_types(images.dtype, jnp.float32)
    pooled = images
    # A bin is a rectangle, so its mean is the mean over columns of the means over rows.
    for axis, bins in enumerate(size, start=1):
        length = images.shape[axis]
        if is_symbolic([length]):
            pooled = jnp.moveaxis(jnp.tensordot(_bins(length, bins, wide), pooled.astype(wide), (1, axis)), 0, axis)
        elif length != bins:
            bounds = [(i * length // bins, -(-(i + 1) * length // bins)) for i in range(bins)]
            slices = [lax.slice_in_dim(pooled, start, end, axis=axis) for start, end in bounds]
            pooled = jnp.stack([each.mean(axis, dtype=wide) for each in slices], axis)
    return pooled.astype(images.dtype)


def _bins(length: Length, bins: int, dtype: jnp.dtype) -> jax.Array:
    """Returns the share that each pixel of a symbolic length has in the mean of each bin, (bins, length)."""
    # `jnp.arange` would ask whether the length is negative, over which JAX can think for minutes.
    pixel, index = lax.broadcasted_iota(int, (1, length), 1), jnp.arange(bins)[:, None]
    # A pixel [p, p + 1) is in the i-th bin if it meets [i L / n, (i + 1) L / n).
    inside = ((pixel + 1) * bins > index * length) & (pixel * bins < (index + 1) * length)
    return inside / inside.sum(1, dtype=dtype, keepdims=True)


def _sum(images, window, strides, padding, size):
    images = _pad(images, 0, padding)
    return sum(images[:, rows, columns] for rows, columns in _taps(window, strides, size))


@traced_once
def _sum_pool(images, *, window, strides, padding, size):
    def forward(_, operands):
        return (_sum(*operands, window, strides, padding, size),)

    def backward(_, cotangents):
        return (_scatter(lambda _, share: share, cotangents, window, strides, padding),)

    return linear_map(forward, backward, (), (images,))[0]


def _reduce_windows(images, reduce, fill, window, strides, pairs):
    """Reduces each window by XLA's own operation, where a size is a symbol, or where it is the best.

    Slices of symbolic sizes cannot always be decided, and where the batch alone is a symbol they would be gathers.
    """
    edges = ((0, 0), *pairs, (0, 0))
    return lax.reduce_window(images, np.array(fill, images.dtype), reduce, (1, *window, 1), (1, *strides, 1), edges)


def _whole(padded):
    """Returns the padding of whole windows where pixels that are left over behind the last one are passed over."""
    return tuple((before, max(0, after)) for before, after in padded)


def _covering(asked, window, strides, ceil_mode):
    """Returns the padding with which whole windows are those that are asked for."""
    if not ceil_mode:
        return asked
    return tuple(
        # With stride - 1 pixels more, a last window is whole that lacks as many.
        (before, _reached(after, taps, stride) + stride - 1)
        for (before, after), taps, stride in zip(asked, window, strides, strict=True)
    )


def _pad(images, value, pairs):
    return lax.pad(images, jnp.array(value, images.dtype), _edges(pairs))


def _reached(after, window, stride):
    """Returns how much of the last padding ceil mode's windows may start in front of.

    The last window starts inside the image or its leading padding. It would not only if the padding behind were longer
    than window - stride, which can be decided without knowing the image's length.
    """
    return min(after, window - stride)


def _geometry(shape, window, strides, asked, ceil_mode):
    """Returns the padding that leaves whole windows and nothing else, and the output size.

    The padding is negative after the last window where pixels are left over.
    """
    size, padded = [], []
    for axis in (0, 1):
        before, after = asked[axis]
        length, stride = before + shape[1 + axis], strides[axis]
        if ceil_mode:
            count = -(-(length + _reached(after, window[axis], stride) - window[axis]) // stride) + 1
        else:
            count = (length + after - window[axis]) // stride + 1
        if count < 1:
            raise ValueError(f"pooling window {window} is larger than the padded image {shape[1:3]} + {asked}")
        size.append(count)
        padded.append((before, (count - 1) * stride + window[axis] - length))
    return tuple(padded), tuple(size)


def _edges(padding):
    return ((0, 0, 0), *((before, after, 0) for before, after in padding), (0, 0, 0))


def _taps(window: Pair, strides: Pair, size: Pair):
    """Yields the slices that each tap of the window sees, in row-major order."""
    for i, j in itertools.product(range(window[0]), range(window[1])):
        yield tap(i, size[0], strides[0]), tap(j, size[1], strides[1])


@traced_once
def _max_pool(images, *, window, strides, padding, size):
    best, _ = _winners(images, window, strides, padding, size)
    return best


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3, 4))
def _winners(images, window, strides, padding, size):
    """Returns each window's maximum, and the index of the tap that holds it, in row-major order."""
    images = _pad(images, -np.inf, padding)
    taps = enumerate(images[:, rows, columns] for rows, columns in _taps(window, strides, size))
    _, best = next(taps)
    # Accelerators write it and read it again in the backward pass. In int8, XLA's CPU backend is slower.
    small = rules_backend() != "cpu" and math.prod(window) <= 128
    dtype = jnp.int8 if small else jnp.int16
    winner = jnp.zeros(best.shape, dtype)
    for index, pixels in taps:
        wins = pixels > best
        best, winner = jnp.maximum(best, pixels), jnp.where(wins, dtype(index), winner)
    # Without the barrier, XLA's GPU backend would keep some of the comparisons too.
    return best, lax.optimization_barrier(winner) if rules_backend() == "gpu" else winner


@functools.partial(_winners.defjvp, symbolic_zeros=True)
def _differentiate_maximum(window, strides, padding, size, arrays, tangents):
    def gather(constants, operands):
        padded = _pad(*operands, 0, padding)
        taps = enumerate(padded[:, rows, columns] for rows, columns in _taps(window, strides, size))
        return (sum(_where_wins(index, *constants, pixels) for index, pixels in taps),)

    def scatter(constants, cotangents):
        return (_scatter(_where_wins, (*constants, *cotangents), window, strides, padding),)

    best, winner = _winners(*arrays, window, strides, padding, size)
    (tangent,) = linear_map(gather, scatter, (winner,), tangents)
    return (best, winner), (tangent, SymbolicZero(jax.typeof(winner).to_tangent_aval()))


def _where_wins(index, winner, values):
    return jnp.where(winner == index, values, jnp.zeros((), values.dtype))


def _scatter(
    share: Callable[..., jax.Array],
    arrays: tuple[jax.Array, ...],
    window: Pair,
    strides: Pair,
    padding: tuple[Pair, Pair],
) -> jax.Array:
    """Gives each pixel of an image the sum of its shares in the windows that it lies in.

    The sums are computed pixel by pixel and not window by window. Pixels at the same distance from the last start of a
    window lie under the same taps, so each such phase is one fused loop over slices, and the phases are interleaved at
    the end. XLA's CPU backend runs this several times faster than sums of dilated arrays, and an order of magnitude
    faster than its select-and-scatter.

    Args:
        share: ``share(tap, *arrays)`` returns the part of a window's values that the pixel under this tap gets.
        arrays: (batch, out_height, out_width, channels), a value for each window.
        window: (height, width).
        strides: the strides of the windows, (vertical, horizontal).
        padding: the padding that leaves whole windows and nothing else.
    """
    arrays = (*arrays[:-1], computed_once(arrays[-1]))
    batch, *size, channels = arrays[0].shape
    covered = [(size[i] - 1) * strides[i] + window[i] for i in (0, 1)]
    length = [-(-covered[i] // strides[i]) for i in (0, 1)]
    reach = [-(-window[i] // strides[i]) - 1 for i in (0, 1)]
    edges = ((0, 0, 0), *((reach[i], length[i] - size[i], 0) for i in (0, 1)), (0, 0, 0))
    arrays = tuple(lax.pad(array, jnp.zeros((), array.dtype), edges) for array in arrays)

    def seen(back):
        start = [reach[i] - back[i] for i in (0, 1)]
        return [a[:, start[0] : start[0] + length[0], start[1] : start[1] + length[1]] for a in arrays]

    phases = []
    for row, column in itertools.product(range(strides[0]), range(strides[1])):
        taps = itertools.product(range(row, window[0], strides[0]), range(column, window[1], strides[1]))
        shares = [share(i * window[1] + j, *seen((i // strides[0], j // strides[1]))) for i, j in taps]
        phases.append(sum(shares) if shares else jnp.zeros((batch, *length, channels), arrays[-1].dtype))
    pixels = jnp.stack(phases, 3).reshape(batch, *length, *strides, channels).transpose(0, 1, 3, 2, 4, 5)
    pixels = pixels.reshape(batch, length[0] * strides[0], length[1] * strides[1], channels)
    edges = [(-padding[i][0], covered[i] - length[i] * strides[i] - padding[i][1], 0) for i in (0, 1)]
    return lax.pad(pixels, jnp.zeros((), pixels.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
