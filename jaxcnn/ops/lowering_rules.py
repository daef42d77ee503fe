"""Which lowering is fastest where: the rules behind ``"auto"``, and tables a tuner has measured."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from jaxcnn.ops.lowerings import LOWERINGS, ConvShape

LoweringName = Literal["xla", "gemm", "shift", "dense", "toeplitz"]
Direction = Literal["forward", "input_gradient", "weight_gradient"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


class Lowerings(NamedTuple):
    """How each of the three products of a convolution is said."""

    forward: LoweringName
    input_gradient: LoweringName
    weight_gradient: LoweringName


@dataclasses.dataclass(frozen=True)
class TunedLowerings:
    """What a tuner found to be fastest on one machine; shapes it has not seen follow the rules."""

    winners: tuple[tuple[ConvShape, Lowerings], ...]

    def find(self, shape: ConvShape) -> Lowerings | None:
        """Returns the winners for this shape, None if it was not measured."""
        return next((names for known, names in self.winners if known == shape), None)


@functools.cache
def read_tuned(path: Path) -> TunedLowerings:
    """Reads what `write_tuned` wrote.

    Raises:
        OSError: there is no such file.
        ValueError: it is not such a file.
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
    path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples."""
    match value:
        case dict():
            return {key: _tuples(item) for key, item in value.items()}
        case list():
            return tuple(map(_tuples, value))
    return value


Lowering = Literal["auto", "xla", "gemm", "shift", "dense", "toeplitz"] | Lowerings | TunedLowerings


def choose(lowering: Lowering, backend: str, shape: ConvShape) -> Lowerings:
    """Resolves what `conv2d` was given into three names.

    Raises:
        ValueError: there is no such lowering.
    """
    if isinstance(lowering, TunedLowerings):
        return lowering.find(shape) or automatic(backend, shape)
    if lowering == "auto":
        return automatic(backend, shape)
    return _check(lowering if isinstance(lowering, Lowerings) else Lowerings(lowering, lowering, lowering))


def _check(lowerings: Lowerings) -> Lowerings:
    for name in lowerings:
        if name not in LOWERINGS:
            raise ValueError(f"lowering {name!r} is none of {', '.join(['auto', *LOWERINGS])}")
    return lowerings


def automatic(backend: str, shape: ConvShape) -> Lowerings:
    """Returns the lowerings that ``auto`` stands for."""
    if backend != "cpu":
        return Lowerings("xla", "xla", "xla")
    return Lowerings(_cpu_forward(shape), _cpu_input_gradient(shape), _cpu_weight_gradient(shape))


def _cpu_forward(shape: ConvShape) -> LoweringName:
    if shape.depthwise:
        return "shift"
    if shape.groups > 1:
        return "dense"
    if _thin(shape):
        return "toeplitz"
    return "gemm" if shape.taps == 1 else "xla"


def _cpu_input_gradient(shape: ConvShape) -> LoweringName:
    return _cpu_forward(shape)


def _cpu_weight_gradient(shape: ConvShape) -> LoweringName:
    return _cpu_forward(shape)


def _thin(shape: ConvShape) -> bool:
    """Few channels and short rows, where patches make thin matrices: LeNet's."""
    return shape.taps > 1 and shape.images[3] <= 8 and shape.images[2] <= 40 and shape.strides == (1, 1)
