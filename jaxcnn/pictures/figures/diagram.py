"""Diagrams of blocks, traced and not drawn by hand: what is computed from what, as the block's own code says.

Each layer that has a label here is marked at its input and its output while the block is traced. What the trace holds
between the marks is followed from value to value: rectifiers, poolings, sums and concatenations become boxes too.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.core import ShapedArray
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from jaxcnn.layers.conv import Conv
from jaxcnn.layers.norm import BatchNorm

_BEGIN, _END = "begin", "end"
_UNCHANGED = frozenset({"convert_element_type", "copy", "reshape", "squeeze", "stop_gradient"})
"""The primitives that compute nothing new of a single value."""
_RECTIFIERS = frozenset({"relu", "_kept_relu"})


@dataclasses.dataclass(frozen=True)
class Node:
    """A box of a diagram."""

    lines: tuple[str, ...]
    """What it computes: one line for each of the layers that follow one another in it."""
    inputs: tuple[int, ...]
    """The numbers of the boxes whose outputs it takes."""
    shape: tuple[int, ...]
    """The shape of its output, (batch, height, width, channels)."""


class Inside(NamedTuple):
    """A value inside a marked layer."""

    layer: str
    """The number of the layer."""
    source: int
    """The number of the box that the layer takes."""


def trace(block: nn.Module, shape: Sequence[int]) -> list[Node]:
    """Returns the boxes of a block in evaluation; the first is its input, and the last its output.

    Args:
        block: a module that takes one array.
        shape: the shape of this array, (batch, height, width, channels).
    """
    labels: list[tuple[str, ...]] = []

    def mark(next_method, arguments, options, context):
        label = _label(context.module) if context.method_name == "__call__" else None
        if label is None:
            return next_method(*arguments, **options)
        number = len(labels)
        labels.append(label)
        x, *rest = arguments
        output = next_method(checkpoint_name(x, f"{_BEGIN} {number}"), *rest, **options)
        return checkpoint_name(output, f"{_END} {number}")

    images = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    variables = jax.eval_shape(lambda images: block.init(jax.random.key(0), images), images)
    with nn.intercept_methods(mark):
        traced = jax.make_jaxpr(lambda variables, images: block.apply(variables, images))(variables, images)
    nodes = [Node(("input",), (), tuple(shape))]
    values: list[int | Inside | None] = [None] * (len(traced.jaxpr.invars) - 1)
    _follow(traced.jaxpr, [*values, 0], nodes, labels)
    return merged(nodes)


def _label(module: nn.Module) -> tuple[str, ...] | None:
    if isinstance(module, Conv):
        height, width = module.kernel_size
        window = f"{height}\N{MULTIPLICATION SIGN}{width} conv, {module.features}"
        strides = [f"stride {module.strides[0]}"] if max(module.strides) > 1 else []
        groups = [f"{module.groups} groups"] if module.groups > 1 else []
        return window, *strides, *groups
    return ("batch norm",) if isinstance(module, BatchNorm) else None


def _follow(
    jaxpr: Jaxpr, inputs: Sequence[int | Inside | None], nodes: list[Node], labels: Sequence[tuple[str, ...]]
) -> list[int | Inside | None]:
    """Appends the boxes of a traced function; returns what each of its outputs is: a box, or None for a constant."""
    made_by: dict[Var, int | Inside | None] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(operand: Var | Literal) -> int | Inside | None:
        return None if isinstance(operand, Literal) else made_by.get(operand)

    for equation in jaxpr.eqns:
        operands = [read(each) for each in equation.invars]
        made = [each for each in operands if each is not None]
        inside = next((each for each in made if isinstance(each, Inside)), None)
        sources = tuple(each for each in made if not isinstance(each, Inside))
        kind, name = equation.primitive.name, str(equation.params.get("name", ""))
        inner = list(jaxprs_in_params(equation.params))
        value: int | Inside | None
        if kind == "name" and name.startswith(_BEGIN):
            value = Inside(name.removeprefix(_BEGIN).strip(), sources[0])
        elif kind == "name" and name.startswith(_END):
            assert inside is not None
            value = _added(nodes, labels[int(inside.layer)], (inside.source,), equation)
        elif inside is not None or not sources:
            value = inside
        elif (label := _name_of(equation, name, inner)) is not None:
            value = _added(nodes, (label,), sources, equation)
        elif len(inner) == 1 and len(inner[0].invars) == len(operands):
            made_by.update(zip(equation.outvars, _follow(inner[0], operands, nodes, labels), strict=True))
            continue
        elif kind in _UNCHANGED:
            value = sources[0]
        else:
            value = _added(nodes, (kind.replace("_", " "),), sources, equation)
        made_by.update(dict.fromkeys(equation.outvars, value))
    return [read(each) for each in jaxpr.outvars]


def _name_of(equation: JaxprEqn, name: str, inner: Sequence[Jaxpr]) -> str | None:
    """Returns the label of an operation between layers; None for one that has none of its own."""
    if name in _RECTIFIERS:
        return "ReLU"
    slices = [each for body in inner for each in body.eqns if each.primitive.name == "slice"]
    maxima = [each for body in inner for each in body.eqns if each.primitive.name == "max"]
    if slices and len(maxima) == len(slices) - 1:  # the maximum of what the taps of a window see
        starts = [each.params["start_indices"] for each in slices]
        _, height, width, _ = (max(axis) + 1 for axis in zip(*starts, strict=True))
        _, stride, _, _ = slices[0].params["strides"] or (1,) * 4
        window = f"{height}\N{MULTIPLICATION SIGN}{width} max pooling"
        return f"{window}, stride {stride}" if stride > 1 else window
    return {"add": "+", "add_any": "+", "concatenate": "concatenate"}.get(equation.primitive.name)


def _added(nodes: list[Node], lines: tuple[str, ...], sources: tuple[int, ...], equation: JaxprEqn) -> int:
    aval = equation.outvars[0].aval
    assert isinstance(aval, ShapedArray)
    nodes.append(Node(lines, sources, aval.shape))
    return len(nodes) - 1


def merged(nodes: Sequence[Node]) -> list[Node]:
    """Returns the boxes with each normalization and each rectifier in the box of the convolution that it follows."""
    takers = [sum(number in node.inputs for node in nodes) for number in range(len(nodes))]
    kept: list[Node] = []
    place: dict[int, int] = {}
    for number, node in enumerate(nodes):
        inputs = tuple(place[each] for each in node.inputs)
        if node.lines[0] in ("batch norm", "ReLU") and takers[node.inputs[0]] == 1 and inputs[0] > 0:
            before = kept[inputs[0]]
            kept[inputs[0]] = dataclasses.replace(before, lines=before.lines + node.lines, shape=node.shape)
            place[number] = inputs[0]
        else:
            place[number] = len(kept)
            kept.append(dataclasses.replace(node, inputs=inputs))
    return kept


def branches(nodes: Sequence[Node], end: int) -> list[list[int]]:
    """Returns the boxes on each way from the input to a box that joins them, from the input on.

    Args:
        nodes: the boxes.
        end: the number of the box that joins.

    Raises:
        ValueError: the ways part or meet in between too.
    """
    found = []
    for number in nodes[end].inputs:
        way: list[int] = []
        while number:
            if len(nodes[number].inputs) != 1:
                raise ValueError("only blocks whose ways part once, at their input, can be drawn")
            way.append(number)
            (number,) = nodes[number].inputs
        found.append(way[::-1])
    shared = list(itertools.chain.from_iterable(found))
    if len(set(shared)) != len(shared):
        raise ValueError("only blocks whose ways part once, at their input, can be drawn")
    return found


def join_of(nodes: Sequence[Node]) -> int:
    """Returns the number of the one box that takes several.

    Raises:
        ValueError: there is none, or more than one.
    """
    joins = [number for number, node in enumerate(nodes) if len(node.inputs) > 1]
    if len(joins) != 1:
        raise ValueError("only blocks whose ways meet once can be drawn")
    return joins[0]


def size_of(node: Node) -> str:
    """Returns the size of a box's output: height, width and channels."""
    return "\N{MULTIPLICATION SIGN}".join(map(str, node.shape[1:]))
