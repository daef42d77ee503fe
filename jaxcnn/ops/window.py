"""The positions of windows over an image, for convolution and pooling."""

from collections.abc import Sequence
from typing import Literal

Pair = tuple[int, int]
Sizes = tuple[int, int, int, int]
Padding = Literal["same", "valid"] | tuple[Pair, Pair]


def resolve_padding(
    padding: Padding,
    size: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> tuple[Pair, Pair]:
    """Returns explicit (before, after) padding for height and width.

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
            total = max((-(-length // stride) - 1) * stride + (taps - 1) * gap + 1 - length, 0)
            pairs.append((total // 2, total - total // 2))
        vertical, horizontal = pairs
        return vertical, horizontal
    if isinstance(padding, str):
        raise ValueError(
            f"there is no padding {padding!r}: give 'same', 'valid' or pairs of pixels ((top, bottom), (left, right))"
        )
    (top, bottom), (left, right) = padding
    return (top, bottom), (left, right)


def sizes(shape: Sequence[int]) -> Sizes:
    """Returns the shape of a 4-D array as four numbers.

    Raises:
        ValueError: it has more or fewer.
    """
    first, second, third, fourth = shape
    return first, second, third, fourth


def output_length(length: int, window: int, stride: int, dilation: int = 1) -> int:
    """Returns the number of windows that fit into a padded ``length``; 0 where the window is longer."""
    return max((length - (window - 1) * dilation - 1) // stride + 1, 0)


def tap(start: int, count: int, stride: int) -> slice:
    """Returns the slice of ``count`` pixels that one tap of the window sees."""
    return slice(start, start + (count - 1) * stride + 1, stride)
