"""The convolutions of a network, and the time that each lowering of each takes."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Jaxpr, jaxprs_in_params

from jaxcnn.benchmarks.rounds import Ratio, Rounds
from jaxcnn.benchmarks.timing import take_turns
from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowering_rules import TunedLowerings, automatic
from jaxcnn.ops.lowerings import LOWERINGS, LoweringName, input_gradient, weight_gradient
from jaxcnn.ops.rows import has_rows
from jaxcnn.ops.rules import DIRECTIONS, Direction, Kind, Lowerings, kind_of
from jaxcnn.ops.window import sizes
from jaxcnn.ops.winograd import has_tiles

MOST_ARITHMETIC = {"dense": 32, "toeplitz": 8}
"""A lowering is not timed if it multiplies more than this many times as often as the convolution needs."""
_HARDER: dict[Kind, int] = {"depthwise": 25, "depthwise strided": 25, "grouped": 8, "grouped strided": 8}
"""How many times as long a multiply-add takes as in a dense convolution, by kind and roughly; it only chooses which
convolutions are worth timing."""


def network_convolutions(
    name: str, batch: int, size: int | None = None, dtype: str = "float32"
) -> dict[ConvShape, int]:
    """Returns a network's distinct convolutions and how often each occurs, in the order of their first use.

    Args:
        name: a name of ``jaxcnn.list_models()``.
        batch: the number of images.
        size: the height and width of the input in pixels; by default the network's own.
        dtype: the data type of the computation.

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
            assert isinstance(images, ShapedArray)
            assert isinstance(kernel, ShapedArray)
            found = equation.params
            yield ConvShape(
                images=sizes(images.shape),
                kernel=sizes(kernel.shape),
                strides=found["window_strides"],
                padding=found["padding"],
                dilation=found["rhs_dilation"],
                groups=found["feature_group_count"],
                dtype=images.dtype.name,
            )
        for inner in jaxprs_in_params(equation.params):
            yield from _convolutions(inner)


@dataclasses.dataclass(frozen=True)
class Timing:
    """The time of each lowering of one convolution in one direction."""

    shape: ConvShape
    direction: Direction
    seconds: Rounds[LoweringName]
    """The seconds of one call in each round; as a mapping, their median by lowering."""

    @property
    def chosen(self) -> LoweringName:
        """The lowering that ``auto`` takes here."""
        return getattr(automatic(jax.default_backend(), self.shape), self.direction)

    @property
    def best(self) -> LoweringName:
        """The fastest lowering that was timed."""
        return min(self.seconds, key=self.seconds.__getitem__)

    @property
    def comparison(self) -> Ratio:
        """The time of the chosen lowering as a multiple of that of the best, with the spread of the rounds."""
        return self.seconds.ratio(self.chosen, self.best)

    @property
    def ratio(self) -> float:
        """The time of the chosen lowering as a multiple of that of the best; 1 where the chosen one is the best."""
        return self.comparison.value

    def gigaflops(self, lowering: LoweringName) -> float:
        """Returns the useful GFLOP/s: two operations for each multiply-add of the convolution itself."""
        return 2e-9 * self.shape.multiply_adds / self.seconds[lowering]


def candidates(shape: ConvShape, direction: Direction) -> list[LoweringName]:
    """Returns the lowerings worth timing for a shape, including the one that ``auto`` chooses."""
    chosen = getattr(automatic(jax.default_backend(), shape), direction)
    names = []
    for name in LOWERINGS:
        waste = {
            "dense": shape.groups,
            "toeplitz": shape.groups * (shape.images[2] + sum(shape.padding[1])) / shape.kernel[1],
        }.get(name, 0)
        # Without groups, or with one tap, these are another lowering under a second name, or can only be slower.
        pointless = {
            "dense": shape.groups == 1,
            "toeplitz": shape.taps == 1,
            "shift": shape.taps == 1,
            "rows": not has_rows(shape),
            "direct": shape.depthwise or (shape.groups == 1 and shape.images[3] > 8),
            "winograd": not has_tiles(shape),
        }.get(name, False)
        # XLA's grouped weight gradient takes seconds on a CPU, and for some shapes it ends the process.
        hopeless = name == "xla" and direction == "weight_gradient" and shape.groups > 1 and chosen != "xla"
        if name == chosen or not (waste > MOST_ARITHMETIC.get(name, 0) or pointless or hopeless):
            names.append(name)
    return names


def time_convolution(shape: ConvShape, *, rounds: int, seconds: float = 1.0) -> list[Timing]:
    """Times every worthwhile lowering of a convolution: forward, input gradient, weight gradient.

    Args:
        shape: the convolution.
        rounds: see `take_turns`.
        seconds: see `take_turns`.
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


def _jitted(shape: ConvShape, direction: Direction, name: LoweringName) -> Callable[..., jax.Array]:
    def run(images, kernel, cotangent):
        match direction:
            case "forward":
                return LOWERINGS[name](images, kernel, shape)
            case "input_gradient":
                return input_gradient(cotangent, kernel, shape, name)
            case "weight_gradient":
                return weight_gradient(cotangent, images, shape, name)

    return jax.jit(run)


def dearest_shapes(
    name: str, batch: int, size: int | None = None, dtype: str = "float32", *, count: int
) -> list[tuple[ConvShape, int]]:
    """Returns those of a network's distinct convolutions that take most of its time, with how often each occurs.

    The time is estimated from the arithmetic, because timing all convolutions of a network can take an hour.

    Args:
        name: a name of ``jaxcnn.list_models()``.
        batch: the number of images.
        size: the height and width of the input in pixels; by default the network's own.
        dtype: the data type of the computation.
        count: the number of convolutions to return.
    """
    found = network_convolutions(name, batch, size, dtype).items()
    return sorted(found, key=_estimated, reverse=True)[:count]


def _estimated(item: tuple[ConvShape, int]) -> int:
    shape, occurrences = item
    return occurrences * shape.multiply_adds * _HARDER.get(kind_of(shape), 1)


def tune_network(name: str, batch: int, size: int | None, dtype: str, *, rounds: int) -> TunedLowerings:
    """Times all of a network's convolutions and keeps the fastest lowering of each direction.

    Args:
        name: a name of ``jaxcnn.list_models()``.
        batch: the number of images on each device.
        size: the height and width of the input in pixels; by default the network's own.
        dtype: the data type of the computation.
        rounds: see `take_turns`.
    """
    return TunedLowerings(
        tuple(
            (shape, Lowerings(*(timing.best for timing in time_convolution(shape, rounds=rounds))))
            for shape in network_convolutions(name, batch, size, dtype)
        )
    )
