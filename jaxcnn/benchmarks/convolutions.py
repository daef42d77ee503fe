"""The convolutions of a network, and how long each lowering of each takes."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr

from jaxcnn.benchmarks.timing import take_turns
from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.ops.conv import input_gradient, weight_gradient
from jaxcnn.ops.lowering_rules import DIRECTIONS, Direction, Lowerings, TunedLowerings, automatic
from jaxcnn.ops.lowerings import LOWERINGS, ConvShape
from jaxcnn.pictures.pyplot import import_pyplot
from jaxcnn.tables.networks import inner_jaxprs

MOST_ARITHMETIC = 32
"""A lowering that multiplies by zero this many times as often as it must is not worth timing."""


def network_convolutions(
    name: str, batch: int, size: int | None = None, dtype: str = "float32"
) -> dict[ConvShape, int]:
    """Returns a network's distinct convolutions and how often each occurs, in the order of their first use.

    Args:
        name: one of ``jaxcnn.list_models()``.
        batch: images.
        size: of the input; by default the network's own.
        dtype: of the computation.

    Raises:
        ModelError: there is no such network.
    """
    variant, model = get_variant(name), create_model(name, lowering="xla", dtype=jnp.dtype(dtype))
    size = size or variant.input_size
    images = jax.ShapeDtypeStruct((batch, size, size, variant.channels), jnp.float32)
    traced = jax.make_jaxpr(lambda images: model.init_with_output(jax.random.key(0), images, train=False))(images)
    return dict(collections.Counter(_convolutions(traced.jaxpr)))


def _convolutions(jaxpr: Jaxpr) -> Iterable[ConvShape]:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            images, kernel = (operand.aval for operand in equation.invars)
            found = equation.params
            yield ConvShape(
                images=images.shape,
                kernel=kernel.shape,
                strides=found["window_strides"],
                padding=found["padding"],
                dilation=found["rhs_dilation"],
                groups=found["feature_group_count"],
                dtype=images.dtype.name,
            )
        for inner in inner_jaxprs(equation.params):
            yield from _convolutions(inner)


@dataclasses.dataclass(frozen=True)
class Timing:
    """One direction of one convolution."""

    shape: ConvShape
    direction: Direction
    seconds: dict[str, float]
    """Median of one call, by lowering."""

    @property
    def chosen(self) -> str:
        """What ``auto`` takes here."""
        return getattr(automatic(jax.default_backend(), self.shape), self.direction)

    @property
    def best(self) -> str:
        """The fastest that was timed."""
        return min(self.seconds, key=self.seconds.__getitem__)

    @property
    def ratio(self) -> float:
        """How much slower than the best the chosen one is: 1 where it is the best."""
        return self.seconds[self.chosen] / self.seconds[self.best]

    def gigaflops(self, lowering: str) -> float:
        """Useful GFLOP/s: two a multiply-add of the convolution, whatever the lowering does besides."""
        return 2e-9 * self.shape.multiply_adds / self.seconds[lowering]


def candidates(shape: ConvShape, direction: Direction) -> list[str]:
    """Returns the lowerings worth timing for a shape, those that ``auto`` may choose among them."""
    chosen = getattr(automatic(jax.default_backend(), shape), direction)
    names = []
    for name in LOWERINGS:
        waste = {
            "dense": shape.groups,
            "toeplitz": shape.groups * (shape.images[2] + sum(shape.padding[1])) / shape.kernel[1],
        }.get(name, 1)
        # Without groups or neighbours these would be another lowering under a second name.
        pointless = {"dense": shape.groups == 1, "toeplitz": shape.taps == 1, "shift": shape.taps == 1}.get(name, False)
        # XLA's grouped weight gradient takes seconds on a CPU, and for some shapes it ends the process.
        hopeless = name == "xla" and direction == "weight_gradient" and shape.groups > 1 and chosen != "xla"
        if name == chosen or not (waste > MOST_ARITHMETIC or pointless or hopeless):
            names.append(name)
    return names


def time_convolution(shape: ConvShape, *, rounds: int, seconds: float = 1.0) -> list[Timing]:
    """Times every worthwhile lowering of a convolution: forward, input gradient, weight gradient.

    Args:
        shape: which.
        rounds: as for `take_turns`.
        seconds: as for `take_turns`.
    """
    keys = jax.random.split(jax.random.key(0), 3)
    dtype = jnp.dtype(shape.dtype)
    images, kernel, cotangent = (
        jax.random.normal(key, dimensions, dtype)
        for key, dimensions in zip(keys, (shape.images, shape.kernel, shape.outputs), strict=True)
    )
    return [
        Timing(
            shape,
            direction,
            take_turns(
                {
                    name: functools.partial(_jitted(shape, direction, name), images, kernel, cotangent)
                    for name in candidates(shape, direction)
                },
                rounds=rounds,
                seconds=seconds,
            ),
        )
        for direction in DIRECTIONS
    ]


def _jitted(shape: ConvShape, direction: Direction, name: str) -> Callable[..., jax.Array]:
    def run(images, kernel, cotangent):
        match direction:
            case "forward":
                return LOWERINGS[name](images, kernel, shape)
            case "input_gradient":
                return input_gradient(cotangent, images, kernel, shape, name)
            case "weight_gradient":
                return weight_gradient(cotangent, images, kernel, shape, name)

    return jax.jit(run)


def most_expensive(
    name: str, batch: int, size: int | None = None, *, count: int, rounds: int
) -> list[tuple[int, list[Timing]]]:
    """Times all of a network's convolutions and returns those it spends most time in as ``auto`` runs it.

    Args:
        name: one of ``jaxcnn.list_models()``.
        batch: images.
        size: of the input; by default the network's own.
        count: how many to return.
        rounds: as for `take_turns`.

    Returns:
        (occurrences in the network, its three timings), most expensive first.
    """
    timed = [
        (occurrences, time_convolution(shape, rounds=rounds))
        for shape, occurrences in network_convolutions(name, batch, size).items()
    ]

    def cost(item: tuple[int, list[Timing]]) -> float:
        return item[0] * sum(timing.seconds[timing.chosen] for timing in item[1])

    return sorted(timed, key=cost, reverse=True)[:count]


def tune_network(name: str, batch: int, size: int | None, dtype: str, *, rounds: int) -> TunedLowerings:
    """Times all of a network's convolutions and keeps the fastest lowering of each direction.

    Args:
        name: one of ``jaxcnn.list_models()``.
        batch: images on each device.
        size: of the input; by default the network's own.
        dtype: of the computation.
        rounds: as for `take_turns`.
    """
    return TunedLowerings(
        tuple(
            (shape, Lowerings(*(timing.best for timing in time_convolution(shape, rounds=rounds))))
            for shape in network_convolutions(name, batch, size, dtype)
        )
    )


def plot_timings(timings: list[Timing], path: Path) -> None:
    """Draws each convolution's lowerings side by side, milliseconds on a logarithmic axis, the chosen one outlined.

    Raises:
        UserError: matplotlib is not installed.
    """
    pyplot = import_pyplot()
    figure, axes = pyplot.subplots(1, 3, figsize=(16, 0.22 * len(timings) + 2), sharey=True, layout="constrained")
    colours = dict(zip(LOWERINGS, pyplot.get_cmap("tab10").colors, strict=False))
    for axis, direction in zip(axes, DIRECTIONS, strict=True):
        rows = [timing for timing in timings if timing.direction == direction]
        for place, timing in enumerate(rows):
            for name, seconds in timing.seconds.items():
                chosen = name == timing.chosen
                axis.scatter(1e3 * seconds, place, color=colours[name], s=60, edgecolors="black" if chosen else "none")
        axis.set(xscale="log", xlabel="milliseconds", title=direction.replace("_", " "))
        axis.grid(axis="x", alpha=0.3)
        axis.margins(y=0.5 / len(rows))
    labels = [
        f"{s.kernel[0]}x{s.kernel[1]}/{s.strides[0]} {s.images[1]}² {s.images[3]}→{s.kernel[3]} g{s.groups}"
        for s in (timing.shape for timing in rows)
    ]
    axes[0].set_yticks(range(len(labels)), labels, fontsize=8)
    axes[0].invert_yaxis()
    handles = [pyplot.Line2D([], [], marker="o", linestyle="", color=colours[name], label=name) for name in LOWERINGS]
    axes[-1].legend(handles=handles, title="lowering (outlined: auto)")
    figure.savefig(path, dpi=120)
