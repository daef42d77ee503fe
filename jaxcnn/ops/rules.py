"""A table of rules: which lowering a convolution takes, by its kind, its direction and one or two of its sizes.

Such a table is data. Those that come with this package are in ``rules_512.json`` and ``rules_256.json``, for processors
with vectors of that many bits; ``jaxcnn tune`` makes one for a machine, and a folder of resumable work keeps the one
that it began with. All have the same form.
"""

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping
from typing import Literal, NamedTuple, Union, get_args

from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowerings import LOWERINGS, Direction, LoweringName
from jaxcnn.ops.symbolic import Length, at_most
from jaxcnn.ops.winograd import has_tiles
from jaxcnn.types import Json, JsonObject

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

Kind = Literal[
    "depthwise",
    "depthwise strided",
    "grouped",
    "grouped strided",
    "pointwise",
    "narrow images",
    "few channels",
    "few channels in blocks",
    "patches",
    "dense 3x3",
    "dense",
    "dense strided",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of convolutions, which are as fast or as slow for different reasons."""
_FORMERLY: dict[Kind, Kind] = {"dense 3x3": "dense", "few channels in blocks": "few channels"}
"""The kinds that belonged to another one before; tables of then have no rules of their own for them."""

Measure = Literal["height", "out height", "channels", "group channels", "features", "taps", "patch", "map", "positions"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
"""The sizes that a rule may look at: the rows of the images and of the outputs; the channels of the images, of one
group, and of the outputs; the taps of the kernel; the numbers that an output is computed from; those of an image; and
the pixels of the outputs of a whole batch."""

BUILT_IN = (256, 512)
"""The widths of vectors in bits for which a table comes with this package."""


class Lowerings(NamedTuple):
    """The lowerings of the three products of a convolution."""

    forward: LoweringName
    input_gradient: LoweringName
    weight_gradient: LoweringName


@dataclasses.dataclass(frozen=True)
class Split:
    """A rule with a threshold."""

    measure: Measure
    most: int
    """The largest size that counts as small; a size that is a symbol is large."""
    small: "Tree"
    """What holds where the size is at most that."""
    large: "Tree"
    """What holds elsewhere."""


Tree = Union[LoweringName, Split]  # noqa: UP007  (a string within ``X | Y`` is no type)


class Trees(NamedTuple):
    """The rules of one kind, by direction."""

    forward: Tree
    input_gradient: Tree
    weight_gradient: Tree


@dataclasses.dataclass(frozen=True)
class Rules:
    """A table of rules for all kinds of convolutions."""

    trees: tuple[Trees, ...]
    """The rules of each of `KINDS`."""

    def of(self, kind: Kind) -> Trees:
        """Returns the rules of one kind."""
        return self.trees[KINDS.index(kind)]

    def choose(self, shape: ConvShape) -> Lowerings:
        """Returns the lowerings that a convolution takes."""
        return Lowerings(*(lowering_of(tree, shape) for tree in self.of(kind_of(shape))))

    def to_json(self) -> JsonObject:
        """Returns the table as JSON has it: a split is a list of its four parts."""
        return {
            kind: {direction: _tree_to_json(tree) for direction, tree in trees._asdict().items()}
            for kind, trees in zip(KINDS, self.trees, strict=True)
        }

    @classmethod
    def from_json(cls, table: Json) -> "Rules":
        """Reads what `to_json` returns.

        Raises:
            ValueError: it is no such table.
        """
        try:
            table = {**{kind: table[before] for kind, before in _FORMERLY.items() if before in table}, **table}
            if set(table) != set(KINDS):
                raise ValueError(f"it has rules for {', '.join(sorted(table))}")
            return cls(tuple(Trees(**{name: _tree(each) for name, each in table[kind].items()}) for kind in KINDS))
        except (TypeError, AttributeError) as error:
            raise ValueError(f"it is no table of rules ({error})") from None


def kind_of(shape: ConvShape) -> Kind:
    """Returns the kind of a convolution."""
    channels, strided = shape.images[3], shape.strides != (1, 1)
    if shape.depthwise:
        return "depthwise strided" if strided else "depthwise"
    if shape.groups > 1:
        return "grouped strided" if strided else "grouped"
    if shape.taps == 1:
        return "pointwise"
    if channels <= 8 and at_most(shape.images[2], 40) and not strided:
        return "narrow images"  # LeNet's patches would make thin matrices
    if shape.strides == shape.kernel[:2]:
        return "patches"  # they do not overlap
    if channels <= 8:
        return "few channels in blocks" if strided and has_tiles(shape) else "few channels"
    if strided:
        return "dense strided"
    return "dense 3x3" if has_tiles(shape) else "dense"


def size_of(shape: ConvShape, measure: Measure) -> Length:
    """Returns one of the sizes that a rule may look at."""
    batch, height, width, channels = shape.images
    match measure:
        case "height":
            return height
        case "out height":
            return shape.size[0]
        case "channels":
            return channels
        case "group channels":
            return shape.kernel[2]
        case "features":
            return shape.kernel[3]
        case "taps":
            return shape.taps
        case "patch":
            return shape.taps * shape.kernel[2]
        case "map":
            return height * width * channels
        case "positions":
            return batch * shape.size[0] * shape.size[1]


def lowering_of(tree: Tree, shape: ConvShape) -> LoweringName:
    """Returns the lowering at which a shape arrives in a tree of rules."""
    if isinstance(tree, Split):
        return lowering_of(tree.small if at_most(size_of(shape, tree.measure), tree.most) else tree.large, shape)
    return tree


def built_in(vector_bits: int) -> Rules:
    """Returns the table that comes with this package for processors with vectors of this width, or the nearest."""
    return _packaged(f"rules_{next((bits for bits in BUILT_IN if vector_bits <= bits), BUILT_IN[-1])}.json")


def earlier() -> Rules:
    """Returns the one table that every machine followed before folders of work held theirs; it never changes."""
    return _packaged("rules_earlier.json")


@functools.cache
def _packaged(name: str) -> Rules:
    text = (importlib.resources.files("jaxcnn.ops") / name).read_text()
    return Rules.from_json(json.loads(text)["rules"])


def _tree_to_json(tree: Tree) -> Json:
    if isinstance(tree, Split):
        return [tree.measure, tree.most, _tree_to_json(tree.small), _tree_to_json(tree.large)]
    return tree


def _tree(value: Json) -> Tree:
    match value:
        case str() if value in LOWERINGS:
            return value
        case [measure, int() as most, small, large] if measure in MEASURES:
            return Split(measure, most, _tree(small), _tree(large))
    raise ValueError(f"{value!r} is neither a lowering ({', '.join(LOWERINGS)}) nor a size, a number and two of these")


def words(tree: Tree) -> str:
    """Returns a tree of rules as a person reads it: ``gemm where height <= 14, else xla``."""
    if isinstance(tree, Split):
        small = f"({words(tree.small)})" if isinstance(tree.small, Split) else tree.small
        return f"{small} where {tree.measure} <= {tree.most:,}, else {words(tree.large)}"
    return tree


def differing(first: Rules, second: Rules) -> Mapping[tuple[Kind, Direction], tuple[Tree, Tree]]:
    """Returns the rules in which two tables differ, by kind and direction."""
    return {
        (kind, direction): (ours, theirs)
        for kind in KINDS
        for direction, ours, theirs in zip(DIRECTIONS, first.of(kind), second.of(kind), strict=True)
        if ours != theirs
    }
