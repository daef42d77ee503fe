"""Tuning ``"auto"`` to a machine: a fixed small set of convolutions is timed, and a table of rules is fitted to it."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from jaxcnn.benchmarks.convolutions import Timing, time_convolution
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowerings import LoweringName
from jaxcnn.ops.rules import DIRECTIONS, KINDS, MEASURES, Kind, Rules, Split, Tree, Trees, kind_of, lowering_of, size_of

_SPLIT = 0.1
"""What a threshold must save: the sum, over the convolutions of its kind, of the logarithms of how many times as long
they take as they must."""
_BETTER = 0.02
"""What a new rule must save over the one that is there, for each convolution of its kind, in the same unit."""
_DEPTH = 2
"""The most thresholds that lead to a lowering."""


class _Conv(NamedTuple):
    """A square convolution of square images, whose padding keeps their size where the stride is 1."""

    height: int
    channels: int
    kernel: int
    features: int
    stride: int = 1
    groups: int = 1
    batch: int = 4

    def shape(self) -> ConvShape:
        edge = 0 if self.kernel == self.stride else self.kernel // 2
        return ConvShape(
            images=(self.batch, self.height, self.height, self.channels),
            kernel=(self.kernel, self.kernel, self.channels // self.groups, self.features),
            strides=(self.stride, self.stride),
            padding=((edge, edge), (edge, edge)),
            groups=self.groups,
        )


def fixed_set() -> list[ConvShape]:
    """Returns the convolutions that a machine is tuned with, of all kinds, so that any beginning of it is varied.

    They are shapes of AlexNet, ResNet, ResNeXt, RegNet, EfficientNet, ConvNeXt, VGG, Inception and LeNet.
    """
    kinds: tuple[tuple[_Conv, ...], ...] = (
        (
            _Conv(28, 128, 3, 128),
            _Conv(14, 256, 3, 256),
            _Conv(56, 64, 3, 64),
            _Conv(7, 512, 3, 512),
        ),
        (_Conv(17, 128, 7, 128), _Conv(27, 64, 5, 192), _Conv(35, 48, 5, 64)),
        (
            _Conv(28, 240, 5, 240, groups=240),
            _Conv(56, 96, 7, 96, groups=96),
            _Conv(112, 32, 3, 32, groups=32),
            _Conv(14, 384, 7, 384, groups=384),
        ),
        (
            _Conv(28, 256, 3, 256, groups=32),
            _Conv(14, 208, 3, 208, groups=26),
            _Conv(56, 128, 3, 128, groups=32),
            _Conv(7, 1024, 3, 1024, groups=32),
        ),
        (_Conv(14, 256, 1, 1024), _Conv(56, 64, 1, 64)),
        (_Conv(112, 96, 3, 96, 2, 96), _Conv(28, 240, 3, 240, 2, 240)),
        (_Conv(56, 256, 3, 256, 2, 32), _Conv(28, 208, 3, 208, 2, 26)),
        (_Conv(224, 3, 7, 64, 2, batch=2), _Conv(224, 3, 3, 32, 2)),
        (_Conv(224, 3, 11, 64, 4),),
        (_Conv(56, 128, 3, 128, 2), _Conv(28, 256, 3, 256, 2)),
        (_Conv(56, 96, 2, 192, 2), _Conv(224, 3, 4, 96, 4), _Conv(14, 384, 2, 768, 2)),
        (_Conv(28, 1, 5, 6, batch=64), _Conv(14, 6, 5, 16, batch=64)),
    )
    columns = itertools.zip_longest(*kinds)
    return [conv.shape() for column in columns for conv in column if conv is not None]


def time_fixed_set(
    shapes: Sequence[ConvShape], *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Timing]:
    """Times all lowerings of convolutions until the time is over; the first one always.

    Args:
        shapes: the convolutions.
        rounds: the most calls of each lowering; those that take long are called three times.
        seconds: the time after which no further convolution begins.
        say: what takes a line about each convolution.
    """
    timings: list[Timing] = []
    began = time.monotonic()
    for number, shape in enumerate(shapes):
        taken = time.monotonic() - began
        if timings and taken > seconds:
            say(f"the {seconds:g} s are over: {len(shapes) - number} of {len(shapes)} convolutions are not timed")
            break
        timings += time_convolution(shape, rounds=rounds, seconds=0.05)
        say(f"{number + 1}/{len(shapes)}  {kind_of(shape)} {shape.images} {shape.kernel}  {taken:.0f} s")
    return timings


def fit(timings: Iterable[Timing], before: Rules) -> Rules:
    """Returns the rules that fit timings best.

    Each kind and direction has a rule of its own: one lowering, or a tree of at most two thresholds on the sizes of the
    convolution. The rule that is there stays unless another is clearly better, so that noise changes nothing, and it
    stays where nothing was timed.

    Args:
        timings: what was timed.
        before: the rules that are there.
    """
    rows: dict[tuple[Kind, str], list[_Row]] = {}
    for timing in timings:
        rows.setdefault((kind_of(timing.shape), timing.direction), []).append(_Row(timing.shape, timing.seconds))
    return Rules(
        tuple(
            Trees(
                *(
                    _fitted(rows.get((kind, direction), []), tree)
                    for direction, tree in zip(DIRECTIONS, before.of(kind), strict=True)
                )
            )
            for kind in KINDS
        )
    )


def geometric_mean(timings: Sequence[Timing], rules: Rules) -> float:
    """Returns how many times as long the lowerings that rules choose take as the fastest ones, in the mean."""
    costs = [_Row(each.shape, each.seconds).cost(getattr(rules.choose(each.shape), each.direction)) for each in timings]
    return math.exp(sum(costs) / max(len(costs), 1))


class _Row(NamedTuple):
    """What one direction of a convolution was timed at."""

    shape: ConvShape
    seconds: Mapping[LoweringName, float]

    def cost(self, name: LoweringName) -> float:
        """Returns the logarithm of how many times as long a lowering takes as the best; much if it was not timed."""
        return math.log(self.seconds.get(name, 2 * max(self.seconds.values())) / min(self.seconds.values()))


def _fitted(rows: Sequence[_Row], before: Tree) -> Tree:
    if not rows:
        return before
    score, tree = _grown(rows, _DEPTH)
    kept = sum(row.cost(lowering_of(before, row.shape)) for row in rows)
    return tree if score < kept - _BETTER * len(rows) else before


def _grown(rows: Sequence[_Row], depth: int) -> tuple[float, Tree]:
    """Returns the best tree for rows, and what it costs them, with what its thresholds cost."""
    names = list(dict.fromkeys(name for row in rows for name in row.seconds))
    best, tree = min(((sum(row.cost(name) for row in rows), name) for name in names), key=lambda each: each[0])
    found: Tree = tree
    if depth == 0 or best <= _SPLIT:
        return best, found
    for measure in MEASURES:
        sizes = sorted({size_of(row.shape, measure) for row in rows})
        for small, large in itertools.pairwise(sizes):
            most = math.isqrt(small * large)
            parts = [[row for row in rows if (size_of(row.shape, measure) <= most) == is_small] for is_small in (1, 0)]
            (one, below), (other, above) = (_grown(part, depth - 1) for part in parts)
            if one + other + _SPLIT < best:
                best, found = one + other + _SPLIT, Split(measure, most, below, above)
    return best, found
