"""What the figures take from traced networks: their convolutions, and a block of theirs by itself."""

from collections.abc import Iterator
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jaxcnn.models.network import Network
from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.window import Sizes, sizes


class TracedConvolution(NamedTuple):
    """A convolution of a network, as the traced network has it."""

    shape: ConvShape
    outputs: Sizes
    """(batch, out_height, out_width, features), which JAX itself found."""


class _FoundError(Exception):
    """An error that ends a trace where its block begins."""


def network_and_images(name: str) -> tuple[Network, jax.ShapeDtypeStruct]:
    """Returns a network whose convolutions are XLA's own, and one image of the size that it is made for."""
    variant = get_variant(name)
    shape = (1, variant.input_size, variant.input_size, variant.channels)
    return create_model(name, lowering="xla"), jax.ShapeDtypeStruct(shape, jnp.float32)


def convolutions(name: str) -> list[TracedConvolution]:
    """Returns the convolutions of a network for one image of its own size, in the order of computation.

    Raises:
        ModelError: there is no such network.
    """
    model, images = network_and_images(name)
    variables = jax.eval_shape(lambda images: model.init(jax.random.key(0), images, train=False), images)
    traced = jax.make_jaxpr(lambda variables, images: model.apply(variables, images, train=False))(variables, images)
    return [
        TracedConvolution(
            ConvShape(
                sizes(shape_of(equation.invars[0])),
                sizes(shape_of(equation.invars[1])),
                equation.params["window_strides"],
                equation.params["padding"],
                equation.params["rhs_dilation"],
                equation.params["feature_group_count"],
            ),
            sizes(shape_of(equation.outvars[0])),
        )
        for equation in _equations(traced.jaxpr)
        if equation.primitive.name == "conv_general_dilated"
    ]


def block(name: str, module: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Returns a block of a network by itself, and the shape of its input for one image of the network's size.

    Args:
        name: the name of the network.
        module: the name of the block's module in it, such as ``stage1_block0``.

    Raises:
        ValueError: the network has no such module.
    """
    model, images = network_and_images(name)
    found: list[tuple[nn.Module, tuple[int, ...]]] = []

    def look(next_method, arguments, options, context):
        if context.module.path == (module,) and context.method_name == "__call__":
            found.append((context.module.clone(parent=None), arguments[0].shape))
            raise _FoundError
        return next_method(*arguments, **options)

    try:
        with nn.intercept_methods(look):
            jax.eval_shape(lambda images: model.init(jax.random.key(0), images, train=False), images)
    except _FoundError:
        return found[0]
    raise ValueError(f"{name} has no module {module}")


def shape_of(operand: object) -> tuple[int, ...]:
    """Returns the shape of an operand of a traced equation."""
    aval = getattr(operand, "aval", None)
    assert isinstance(aval, ShapedArray)
    return aval.shape


def _equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    for equation in jaxpr.eqns:
        inner = list(jaxprs_in_params(equation.params))
        if not inner:
            yield equation
        for each in inner:
            yield from _equations(each)
