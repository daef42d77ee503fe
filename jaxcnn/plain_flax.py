"""Our networks on the layers of flax.linen, as a person who does not know this package would write them."""

import contextlib
import types
from collections.abc import Callable, Generator

import flax.linen as nn
import jax

from jaxcnn import models
from jaxcnn.errors import UserError
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.norm import BatchNorm, LayerNorm
from jaxcnn.ops.window import Padding, Pair
from jaxcnn.types import Option


@contextlib.contextmanager
def plain_flax() -> Generator[None]:
    """Lets networks that are traced inside compute with flax.linen's own convolution, normalization, pooling and ReLU.

    A layer of Flax's is then inside of ours: the kernel of ``conv1`` is ``conv1/Conv_0/kernel``. Flax keeps the biased
    running variance where ours keeps the unbiased one.

    Raises:
        UserError: a network needs what Flax does not have. It is raised where the network is traced.
    """
    plain = {
        "max_pool": _max_pool,
        "average_pool": _average_pool,
        "kept_relu": nn.relu,
        "relu_and_max_pool": lambda images, *window, **options: _max_pool(nn.relu(images), *window, **options),
    }
    families = [module for module in vars(models).values() if isinstance(module, types.ModuleType)]
    ours = [(family, name, getattr(family, name)) for family in families for name in plain if hasattr(family, name)]
    try:
        for family, name, _ in ours:
            setattr(family, name, plain[name])
        with nn.intercept_methods(_plain_layer):
            yield
    finally:
        for family, name, function in ours:
            setattr(family, name, function)


def _plain_layer(
    ours: Callable[..., Option],
    arguments: tuple[Option, ...],
    options: dict[str, Option],
    context: nn.module.InterceptorContext,
) -> Option:
    """Calls Flax's layer in place of ours: an interceptor of methods."""
    layer = context.module
    if context.method_name == "__call__" and isinstance(layer, Conv):
        return _convolve(layer, *arguments)
    if context.method_name == "__call__" and isinstance(layer, BatchNorm):
        return _normalize(layer, *arguments, **options)
    if context.method_name == "__call__" and isinstance(layer, LayerNorm):
        return nn.LayerNorm(epsilon=layer.epsilon, dtype=layer.dtype)(*arguments)
    return ours(*arguments, **options)


def _convolve(layer: Conv, images: jax.Array) -> jax.Array:
    padding = layer.padding.upper() if isinstance(layer.padding, str) else layer.padding
    return nn.Conv(
        layer.features,
        layer.kernel_size,
        layer.strides,
        padding,
        kernel_dilation=layer.dilation,
        feature_group_count=layer.groups,
        use_bias=layer.use_bias,
        dtype=layer.dtype,
    )(images)


def _normalize(layer: BatchNorm, x: jax.Array, *, train: bool | None = None) -> jax.Array:
    if layer.groups != 1:
        raise UserError("flax.linen normalizes the whole batch: compare with parallel.batch_norm global")
    running = not (layer.train if train is None else train)
    return nn.BatchNorm(
        running, momentum=layer.momentum, epsilon=layer.epsilon, dtype=layer.dtype, axis_name=layer.axis_name
    )(x)


def _max_pool(
    images: jax.Array,
    window: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
) -> jax.Array:
    _refuse_ceil_mode(ceil_mode)
    return nn.max_pool(images, window, strides or window, padding.upper() if isinstance(padding, str) else padding)


def _average_pool(
    images: jax.Array,
    window: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_padding: bool = False,
) -> jax.Array:
    _refuse_ceil_mode(ceil_mode)
    named = padding.upper() if isinstance(padding, str) else padding
    return nn.avg_pool(images, window, strides or window, named, count_include_pad=count_padding)


def _refuse_ceil_mode(ceil_mode: bool) -> None:
    if ceil_mode:
        raise UserError("flax.linen has no pooling with ceil mode, which this network has: compare another network")
