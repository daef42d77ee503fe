"""The positions of windows over an image, for convolution and pooling."""

from collections.abc import Sequence
from typing import Literal

import jax
from jax import lax

from jaxcnn.ops.symbolic import Length, at_most

Pair = tuple[int, int]
Size = tuple[Length, Length]
Sizes = tuple[Length, Length, Length, Length]
Padding = Literal["same", "valid"] | tuple[Pair, Pair]


def resolve_padding(
    padding: Padding,
    size: Sequence[Length],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> tuple[Size, Size]:
    """Returns explicit (before, after) padding for height and width.

    That of ``"same"`` is symbolic where a size is, and the stride is not 1.

    Args:
        padding: explicit pairs, ``"valid"`` (none), or ``"same"``. The last is TensorFlow's, which gives ceil(size /
            stride) outputs and puts an odd pixel at the end; at stride 2 it differs from PyTorch's symmetric padding.
        size: the input's (height, width).
        window: the window's (height, width).
        strides: (vertical, horizontal).
        dilation: the distance between taps, (vertical, horizontal).

    Raises:
        ValueError: ``padding`` is not one of these.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        pairs = []
        for length, taps, stride, gap in zip(size, window, strides, dilation, strict=True):
            reach = (taps - 1) * gap + 1
            # The number of outputs is written as `output_length` writes it, or JAX would not know that both are equal.
            total = (length - 1) // stride * stride + reach - length
            if reach < stride:  # Then it may be negative, for 0: we count the numbers from 1 on that it reaches.
                total = sum((total - number + stride) // stride for number in range(1, reach))
            pairs.append((total // 2, total - total // 2))
        vertical, horizontal = pairs
        return vertical, horizontal
    if isinstance(padding, str):
        raise ValueError(
            f"there is no padding {padding!r}: give 'same', 'valid' or pairs of pixels ((top, bottom), (left, right))"
        )
    (top, bottom), (left, right) = padding
    return (top, bottom), (left, right)


def sizes(shape: Sequence[Length]) -> Sizes:
    """Returns the shape of a 4-D array as four numbers.

    Raises:
        ValueError: it has more or fewer.
    """
    first, second, third, fourth = shape
    return first, second, third, fourth


def output_length(length: Length, window: int, stride: int, dilation: int = 1) -> Length:
    """Returns the number of windows that fit into a padded ``length``; 0 where the window is longer.

    Into a symbol it fits, unless it is known not to.
    """
    count = (length - (window - 1) * dilation - 1) // stride + 1
    return 0 if at_most(count, 0) else count


def tap(start: int, count: Length, stride: int) -> slice:
    """Returns the slice of ``count`` pixels that one tap of the window sees."""
    return slice(start, start + (count - 1) * stride + 1, stride)


def subsample(x: jax.Array, strides: Pair) -> jax.Array:
    """Returns the first of every so many pixels: (batch, height, width, channels) as a 1x1 window with strides sees it.

    The sizes of ``x[:, ::2, ::2]`` are the same numbers, but where they are symbols JAX writes them in another way than
    those of a convolution's output, and does not know that both are equal. Where the batch is one, it makes a gather of
    them.
    """
    batch, *lengths, channels = x.shape
    counts = (output_length(length, 1, stride) for length, stride in zip(lengths, strides, strict=True))
    ends = [(count - 1) * stride + 1 for count, stride in zip(counts, strides, strict=True)]
    return lax.slice(x, (0, 0, 0, 0), (batch, *ends, channels), (1, *strides, 1))
