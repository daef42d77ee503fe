"""The table of networks: their size, their cost, and the errors that others published."""

import dataclasses
import functools
import importlib.resources
import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from jaxcnn.errors import UserError, nearest
from jaxcnn.models.registry import create_model, get_variant, list_models
from jaxcnn.models.variant import Published
from jaxcnn.types import Option
from jaxcnn.weights.published import published_errors


class Count(NamedTuple):
    """What is counted from a network's traced function."""

    parameters: int
    multiply_adds: int
    """The multiply-adds of convolutions and dense layers for one image of ``input_shape``, as the papers count them."""
    depth: int
    """The number of convolutions and dense layers on the longest path from the image to the logits, as the papers count
    them: squeeze and excitation lies on it, a projection shortcut beside it."""


@dataclasses.dataclass(frozen=True)
class Row:
    """The facts about one network."""

    name: str
    family: str
    parameters: int
    multiply_adds: int
    """The multiply-adds of one image, as in `Count`."""
    depth: int
    """The number of layers, as in `Count`."""
    input_shape: tuple[int, int, int]
    published: tuple[Published, ...]


def describe(name: str, **options: Option) -> Row:
    """Returns the facts about a network, of which those of `count` are kept for our own, as they are without options.

    Args:
        name: a name of ``jaxcnn.list_models()``.
        **options: the options of `create_model`.

    Raises:
        ModelError: the name or an option is unknown.
    """
    variant = get_variant(name)
    kept = None if options else counted().get(name)
    shape = (variant.input_size, variant.input_size, variant.channels)
    return Row(name, variant.family, *(kept or count(name, **options)), shape, published_errors(name))


@functools.cache
def counted() -> Mapping[str, Count]:
    """Returns `count` of each of our networks by name, as ``counted.json`` keeps it; to count all takes a minute."""
    text = (importlib.resources.files("jaxcnn.tables") / "counted.json").read_text()
    return {name: Count(**facts) for name, facts in json.loads(text).items()}


def count(name: str, **options: Option) -> Count:
    """Counts a network's parameters, multiply-adds and depth, without computing anything.

    Args:
        name: a name of ``jaxcnn.list_models()``.
        **options: the options of `create_model`.

    Raises:
        ModelError: the name or an option is unknown.
    """
    variant = get_variant(name)
    # Some lowerings do more arithmetic than the convolution itself.
    model = create_model(name, **options, lowering="xla")
    shape = (variant.input_size, variant.input_size, variant.channels)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = jax.eval_shape(lambda key, images: model.init(key, images, train=False), jax.random.key(0), images)
    traced = jax.make_jaxpr(lambda variables, images: model.apply(variables, images, train=False))(variables, images)
    leaves = len(jax.tree.leaves(variables))
    multiply_adds, (depth,) = _follow(traced.jaxpr, [_WEIGHT] * leaves + [0])
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    return Count(parameters, multiply_adds, depth)


def describe_matching(pattern: str) -> list[Row]:
    """Returns `describe` of every network whose name matches a shell pattern, sorted by name.

    Raises:
        UserError: none matches.
    """
    names = list_models(pattern)
    if not names:
        raise UserError(f"no model matches {pattern!r}: {nearest(pattern, list_models())}")
    return [describe(name) for name in names]


# What a value is made of, if it is not made of the image: one that is has the number of layers behind it instead.
_CONSTANT, _WEIGHT = -2, -1


def _follow(jaxpr: Jaxpr, inputs: Sequence[int]) -> tuple[int, list[int]]:
    """Returns the multiply-adds of all products of weights and activations, and what each output is made of."""
    made_of = dict(zip(jaxpr.invars, inputs, strict=True)) | dict.fromkeys(jaxpr.constvars, _CONSTANT)
    total = 0

    def read(operand: Var | Literal) -> int:
        return _CONSTANT if isinstance(operand, Literal) else made_of[operand]

    for equation in jaxpr.eqns:
        operands = list(map(read, equation.invars))
        outputs = [max(operands, default=_CONSTANT)] * len(equation.outvars)
        inner = list(jaxprs_in_params(equation.params))
        if len(inner) == 1 and len(inner[0].invars) == len(operands):
            found, outputs = _follow(inner[0], operands)
            total += found
        elif outputs and outputs[0] >= 0 and _WEIGHT in operands:
            products = _multiply_adds(equation)
            total += products
            outputs = [depth + bool(products) for depth in outputs]
        made_of.update(zip(equation.outvars, outputs, strict=True))
    return total, list(map(read, jaxpr.outvars))


def _multiply_adds(equation: JaxprEqn) -> int:
    """Returns the multiply-adds of a convolution or a matrix product; 0 for anything else."""
    if equation.primitive.name == "conv_general_dilated":
        kernel = _shape(equation.invars[1])
        features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return math.prod(_shape(equation.outvars[0])) * math.prod(kernel) // features
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        operand = _shape(equation.invars[0])
        return math.prod(_shape(equation.outvars[0])) * math.prod(operand[axis] for axis in contracted)
    return 0


def _shape(operand: Var | Literal) -> tuple[int, ...]:
    assert isinstance(operand.aval, ShapedArray)
    return operand.aval.shape
