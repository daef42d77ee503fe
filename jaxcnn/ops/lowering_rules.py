"""The rules by which ``"auto"`` chooses the lowerings of a convolution, and the tables that a tuner has measured."""

import contextlib
import contextvars
import dataclasses
import functools
import json
from collections.abc import Generator
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import jax

from jaxcnn import strict_json
from jaxcnn.ops.lowerings import LOWERINGS, ConvShape, LoweringName
from jaxcnn.ops.symbolic import at_most, is_symbolic
from jaxcnn.types import Json

Direction = Literal["forward", "input_gradient", "weight_gradient"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


class Lowerings(NamedTuple):
    """The lowerings of the three products of a convolution."""

    forward: LoweringName
    input_gradient: LoweringName
    weight_gradient: LoweringName


@dataclasses.dataclass(frozen=True)
class TunedLowerings:
    """The lowerings that a tuner found to be fastest on one machine; shapes it did not measure follow the rules."""

    winners: tuple[tuple[ConvShape, Lowerings], ...]

    def find(self, shape: ConvShape) -> Lowerings | None:
        """Returns the fastest lowerings for this shape, or None if it was not measured."""
        return next((names for known, names in self.winners if known == shape), None)


@functools.cache
def read_tuned(path: Path) -> TunedLowerings:
    """Reads what `write_tuned` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a table of tuned lowerings.
    """
    try:
        rows = [
            (ConvShape(**_tuples(row["shape"])), Lowerings(**row["lowerings"])) for row in json.loads(path.read_text())
        ]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a table of tuned lowerings ({error})") from None
    for _, lowerings in rows:
        _check(lowerings)
    return TunedLowerings(tuple(rows))


def write_tuned(path: Path, tuned: TunedLowerings) -> None:
    """Writes a table as JSON, one convolution a line."""
    rows = [{"shape": dataclasses.asdict(shape), "lowerings": names._asdict()} for shape, names in tuned.winners]
    path.write_text("[\n" + ",\n".join(map(strict_json.dumps, rows)) + "\n]\n")


def _tuples(value: Json) -> Json:
    """Returns a value that was read from JSON with its lists as tuples."""
    match value:
        case dict():
            return {key: _tuples(item) for key, item in value.items()}
        case list():
            return tuple(map(_tuples, value))
    return value


Lowering = Literal["auto", LoweringName] | Lowerings | TunedLowerings


_backend: contextvars.ContextVar[str | None] = contextvars.ContextVar("backend", default=None)


def rules_backend() -> str:
    """Returns the backend whose rules ``"auto"`` follows: that of `rules_of`, or else the default of this process."""
    return _backend.get() or jax.default_backend()


@contextlib.contextmanager
def rules_of(backend: str) -> Generator[None]:
    """Makes ``"auto"`` follow the rules of another backend in everything that is traced inside.

    Without it, a program that is compiled ahead of time for devices that this process does not have would be lowered as
    is best for the devices that it does have.

    Args:
        backend: ``cpu``, ``gpu`` or ``tpu``.
    """
    token = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(token)


def choose(lowering: Lowering, backend: str, shape: ConvShape) -> Lowerings:
    """Resolves the ``lowering`` that `conv2d` was given into three names.

    Where height or width is a symbol, this is followed as far as symbols allow: see `_for_symbols`.

    Raises:
        ValueError: there is no such lowering.
    """
    lowerings = _resolve(lowering, backend, shape)
    return _for_symbols(lowerings, shape) if is_symbolic(shape.images[1:3]) else lowerings


def _for_symbols(lowerings: Lowerings, shape: ConvShape) -> Lowerings:
    """Returns the lowerings that can be used where height or width is a symbol.

    Slices need sizes of which is known that the taps lie inside; otherwise everything is left to XLA. XLA's convolution
    has no gradients in JAX where its padding would be a symbol, and a Toeplitz matrix needs a number of columns.
    """
    if not shape.sliceable:
        return Lowerings("xla", "xla", "xla")
    forward, *gradients = lowerings
    input_gradient, weight_gradient = (name if name in ("gemm", "shift") else "shift" for name in gradients)
    return Lowerings("xla" if forward == "toeplitz" else forward, input_gradient, weight_gradient)


def _resolve(lowering: Lowering, backend: str, shape: ConvShape) -> Lowerings:
    if isinstance(lowering, TunedLowerings):
        return lowering.find(shape) or automatic(backend, shape)
    if lowering == "auto":
        return automatic(backend, shape)
    return _check(lowering if isinstance(lowering, Lowerings) else Lowerings(lowering, lowering, lowering))


def _check(lowerings: Lowerings) -> Lowerings:
    for name in lowerings:
        if name not in LOWERINGS:
            raise ValueError(f"there is no lowering {name!r}: choose from {', '.join(['auto', *LOWERINGS])}")
    return lowerings


def automatic(backend: str, shape: ConvShape) -> Lowerings:
    """Returns the lowerings that ``auto`` stands for.

    The rules for a CPU follow measurements by ``jaxcnn benchmark conv`` of ResNet-50, ResNeXt-50, RegNetY-400MF,
    EfficientNet-B0 and ConvNeXt-Tiny at batch 16, float32, on two x86 cores with jax 0.10.2; docs/performance.md has
    the table. The convolution libraries of other backends choose an algorithm themselves.
    """
    if backend != "cpu":
        return Lowerings("xla", "xla", "xla")
    if shape.depthwise:
        few_taps = shape.taps <= 9 and shape.strides == (1, 1)
        return Lowerings("shift", "gemm" if few_taps else "shift", "shift")
    if shape.groups > 1:
        return _grouped_on_cpu(shape)
    if shape.taps == 1:
        return Lowerings("gemm", "gemm", "gemm")
    return _dense_on_cpu(shape)


def _grouped_on_cpu(shape: ConvShape) -> Lowerings:
    _, height, width, channels = shape.images
    pixels = height * width
    if not at_most(pixels * channels, 200_000 if channels > 128 else 350_000):
        input_gradient = "shift"
    else:
        input_gradient = "dense" if channels <= 128 else "gemm"
    return Lowerings(
        # With few channels, patches are gathered in tiny pieces, which costs more than multiplying by zeros.
        forward="dense" if channels <= 128 else "gemm",
        input_gradient=input_gradient,
        # `xla` expands a grouped weight gradient to a dense one, which is 20 to 200 times slower.
        weight_gradient="shift" if shape.kernel[2] >= 16 else "gemm",
    )


def _dense_on_cpu(shape: ConvShape) -> Lowerings:
    _, height, width, channels = shape.images
    if channels <= 8 and at_most(width, 40) and shape.strides == (1, 1):
        return Lowerings("toeplitz", "toeplitz", "toeplitz")  # LeNet's patches would make thin matrices
    # Patches cost little where they do not overlap, are short, or are few.
    few_patches = shape.strides == shape.kernel[:2] or shape.taps * channels <= 64 or at_most(shape.size[0], 7)
    if channels <= 8 or at_most(height, 14):
        input_gradient = "gemm"
    else:
        input_gradient = "xla" if at_most(height, 39) and shape.strides == (1, 1) else "shift"
    overlapping = shape.strides == (1, 1) and not at_most(height, 13) and channels > 8
    return Lowerings(
        forward="gemm" if few_patches else "xla",
        input_gradient=input_gradient,
        weight_gradient="xla" if overlapping else "gemm",
    )
