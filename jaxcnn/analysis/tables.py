"""What there is: every network with its size, its cost and the errors others published."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.models.variant import Published
from jaxcnn.weights.published import published_errors


@dataclasses.dataclass(frozen=True)
class Row:
    """One network, counted from its traced function."""

    name: str
    family: str
    parameters: int
    multiply_adds: int
    """Of one image at ``input_shape``: those of convolutions and dense layers, as the papers count."""
    depth: int
    """Convolutions and dense layers on the longest way from the image to the logits, as the papers count: what is
    beside it, such as a projection shortcut, does not add; squeeze and excitation does."""
    input_shape: tuple[int, int, int]
    published: tuple[Published, ...]


def describe(name: str, **options: Any) -> Row:
    """Counts a network's parameters, multiply-adds and depth, without computing anything.

    Args:
        name: one of ``jaxcnn.list_models()``.
        **options: as for `create_model`.

    Raises:
        ModelError: the name or an option is unknown.
    """
    variant = get_variant(name)
    # Not every lowering does only the arithmetic of the convolution it stands for.
    model = create_model(name, **options, lowering="xla")
    shape = (variant.input_size, variant.input_size, variant.channels)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = jax.eval_shape(lambda key, images: model.init(key, images, train=False), jax.random.key(0), images)
    traced = jax.make_jaxpr(lambda variables, images: model.apply(variables, images, train=False))(variables, images)
    leaves = len(jax.tree.leaves(variables))
    multiply_adds, (depth,) = _follow(traced.jaxpr, [_WEIGHT] * leaves + [0])
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    return Row(name, variant.family, parameters, multiply_adds, depth, shape, published_errors(name))


# What a value is made of, where it is not made of the image; else it has the depth of the layers behind it.
_CONSTANT, _WEIGHT = -2, -1


def _follow(jaxpr: Jaxpr, inputs: Sequence[int]) -> tuple[int, list[int]]:
    """The multiply-adds of all products of weights and activations, and what each output is made of."""
    made_of = dict(zip(jaxpr.invars, inputs, strict=True)) | dict.fromkeys(jaxpr.constvars, _CONSTANT)
    total = 0

    def read(operand: Any) -> int:
        return _CONSTANT if isinstance(operand, Literal) else made_of[operand]

    for equation in jaxpr.eqns:
        operands = list(map(read, equation.invars))
        outputs = [max(operands, default=_CONSTANT)] * len(equation.outvars)
        inner = list(inner_jaxprs(equation.params))
        if len(inner) == 1 and len(inner[0].invars) == len(operands):
            found, outputs = _follow(inner[0], operands)
            total += found
        elif outputs and outputs[0] >= 0 and _WEIGHT in operands:
            products = _multiply_adds(equation)
            total += products
            outputs = [depth + bool(products) for depth in outputs]
        made_of.update(zip(equation.outvars, outputs, strict=True))
    return total, list(map(read, jaxpr.outvars))


def _multiply_adds(equation: Any) -> int:
    """Of a convolution or a matrix product; 0 for anything else."""
    outputs = math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
        return outputs * math.prod(kernel.shape) // features
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return outputs * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 0


def inner_jaxprs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """What a call, a custom derivative or a loop holds in its parameters."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item
