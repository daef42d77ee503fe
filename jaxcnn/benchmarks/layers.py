"""Pooling and normalization beside the plain way to write them, on shapes that the networks have."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.benchmarks.timing import take_turns
from jaxcnn.ops.norm import batch_norm
from jaxcnn.ops.pool import average_pool, max_pool
from jaxcnn.ops.response_norm import local_response_norm

Function = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One operation on one shape, written in two ways."""

    name: str
    ours: Function
    plain: Function
    shapes: tuple[tuple[int, ...], ...]
    """The shapes of the operands; the first is of one image, and gets the batch in front."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The time of one call of each way."""

    name: str
    direction: str
    seconds: Rounds[str]
    """The seconds of one call of ``ours`` and of ``plain`` in each round."""


def time_layers(*, batch: int, rounds: int) -> list[Timing]:
    """Times every comparison, forward and forward with gradient, float32.

    Args:
        batch: the number of images.
        rounds: see `take_turns`.
    """
    return [timing for comparison in COMPARISONS for timing in _time(comparison, batch, rounds)]


def _time(comparison: Comparison, batch: int, rounds: int) -> list[Timing]:
    first, *others = comparison.shapes
    keys = jax.random.split(jax.random.key(0), len(others) + 1)
    operands = [jax.random.normal(key, shape) for key, shape in zip(keys, [(batch, *first), *others], strict=True)]
    timings = []
    for direction in ("forward", "with gradient"):
        calls = {}
        for name, function in (("ours", comparison.ours), ("plain", comparison.plain)):
            call = function if direction == "forward" else functools.partial(_gradient, function)
            calls[name] = functools.partial(jax.jit(call), *operands)
        timings.append(Timing(comparison.name, direction, take_turns(calls, rounds=rounds)))
    return timings


def _gradient(function: Function, *operands: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the outputs and the gradients: both are needed, so the compiler leaves out nothing."""
    outputs, pull_back = jax.vjp(function, *operands)
    return outputs, pull_back(lax.optimization_barrier(outputs))


def _flax_batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    statistics = {"mean": jnp.zeros_like(bias), "var": jnp.ones_like(bias)}
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": statistics}
    return nn.BatchNorm(use_running_average=False).apply(variables, x, mutable=["batch_stats"])[0]


def _window_response_norm(x: jax.Array) -> jax.Array:
    total = lax.reduce_window(jnp.square(x), 0.0, lax.add, (1, 1, 1, 5), (1, 1, 1, 1), "SAME")
    return x * (2.0 + 1e-4 * total) ** -0.75


def _batch_norm(network: str, height: int, channels: int) -> Comparison:
    return Comparison(
        f"batch norm {height}x{height}x{channels} ({network})",
        lambda x, scale, bias: batch_norm(x, scale, bias, epsilon=1e-5)[0],
        _flax_batch_norm,
        ((height, height, channels), (channels,), (channels,)),
    )


def _pool(kind: str, network: str, window: int, strides: int, height: int, channels: int) -> Comparison:
    edge = ((window - 1) // 2,) * 2
    settings = {"strides": (strides, strides), "padding": (edge, edge)}
    if kind == "max":
        ours, plain = functools.partial(max_pool, **settings), functools.partial(nn.max_pool, **settings)
    else:
        ours = functools.partial(average_pool, count_padding=True, **settings)
        plain = functools.partial(nn.avg_pool, count_include_pad=True, **settings)
    return Comparison(
        f"{kind} pool {window}x{window}/{strides} {height}x{height}x{channels} ({network})",
        lambda x: ours(x, (window, window)),
        lambda x: plain(x, (window, window)),
        ((height, height, channels),),
    )


COMPARISONS = (
    _batch_norm("ResNet, stem", 112, 64),
    _batch_norm("ResNet, stage 1", 56, 256),
    _batch_norm("ResNet, stage 3", 14, 1024),
    _pool("max", "ResNet, stem", 3, 2, 112, 64),
    _pool("max", "VGG", 2, 2, 224, 64),
    _pool("max", "GoogLeNet", 3, 1, 28, 192),
    _pool("average", "Inception v3", 3, 1, 35, 288),
    _pool("average", "DenseNet", 2, 2, 56, 128),
    Comparison("local response norm 55x55x96 (AlexNet)", local_response_norm, _window_response_norm, ((55, 55, 96),)),
)
"""The comparisons that are timed: ours with flax.linen's layers, and the local response norm, which Flax lacks, with
one ``reduce_window``."""
