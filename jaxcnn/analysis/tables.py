"""What there is: every network with its size, its cost and the errors others published."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.models.variant import Published


@dataclasses.dataclass(frozen=True)
class Row:
    """One network, counted from its traced function."""

    name: str
    parameters: int
    multiply_adds: int
    """Of one image at ``input_shape``: those of convolutions and matrix products, as the papers count."""
    input_shape: tuple[int, int, int]
    published: tuple[Published, ...]


def describe(name: str) -> Row:
    """Counts a network's parameters and multiply-adds, without computing anything.

    Raises:
        ModelError: the name is unknown.
    """
    variant = get_variant(name)
    # Not every lowering does only the arithmetic of the convolution it stands for.
    model = create_model(name, lowering="xla")
    shape = (variant.input_size, variant.input_size, variant.channels)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = jax.eval_shape(lambda key, images: model.init(key, images, train=False), jax.random.key(0), images)
    traced = jax.make_jaxpr(lambda variables, images: model.apply(variables, images, train=False))(variables, images)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    return Row(name, parameters, count_multiply_adds(traced.jaxpr), shape, variant.published)


def count_multiply_adds(jaxpr: Jaxpr) -> int:
    """Returns the multiply-adds of all convolutions and matrix products in a jaxpr, those it calls included."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel, outputs = equation.invars[1].aval, equation.outvars[0].aval
            features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
            total += math.prod(outputs.shape) * math.prod(kernel.shape) // features
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval
            total += math.prod(equation.outvars[0].aval.shape) * math.prod(left.shape[axis] for axis in contracted)
        else:
            total += sum(map(count_multiply_adds, inner_jaxprs(equation.params)))
    return total


def inner_jaxprs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """What a call, a custom derivative or a loop holds in its parameters."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item
