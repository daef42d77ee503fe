"""What a compile report keeps of each compilation, and the file that it keeps it in."""

import collections
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import jax
import pydantic

from jaxcnn import strict_json
from jaxcnn.config import to_json
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError, writing
from jaxcnn.laboratory.grid import Point, Subject
from jaxcnn.laboratory.roofline import Roofline
from jaxcnn.paths import replace_whole
from jaxcnn.provenance import STEP, digest, digest_of_code, versions

PARTS = (*STEP, "laboratory")
"""The parts of this package that a row depends on: those that make a step, and those that compile and read it."""
WORK = (
    "convolutions and products",
    "normalization",
    "activations and the rest",
    "layout changes",
    "transfers",
    "collectives",
    "augmentation",
    "loss and counts",
    "optimizer",
)
"""The parts of a step's work, told apart by `KernelRow.part`. A fusion is what its main operation is."""
_PARTS = {"collective": "collectives", "copy": "layout changes", "transfer": "transfers"}
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "libtpu", "jax-cuda13-plugin")


@dataclasses.dataclass(frozen=True)
class Seconds:
    """The time that a program took to make, in seconds, in this process and without a cache."""

    trace: float
    """The time in which Python runs the step's functions once and JAX notes the operations."""
    lower: float
    """The time in which JAX writes these operations as StableHLO."""
    compile: float
    """The time in which XLA makes a program of them."""


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a program before and after XLA has compiled it."""

    operations: int
    """The number of StableHLO's operations."""
    stablehlo_bytes: int
    """The length of StableHLO's text."""
    instructions: int
    """The number of instructions of the compiled program, those inside of fusions and loops included."""
    hlo_bytes: int
    """The length of the compiled program's text."""
    code_bytes: int
    """The size of the machine code, where XLA says it; else 0."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """A part of the temporaries at the instruction where they take most memory."""

    layer: str
    made_in: str
    """The phase that computes it."""
    until: str
    """The phase that takes it last."""
    buffers: int
    bytes: int

    @property
    def what(self) -> str:
        """The holder in words, without its layer."""
        if self.made_in == self.until:
            return f"within {self.made_in}"
        return f"from {self.made_in} to {self.until}"


@dataclasses.dataclass(frozen=True)
class Memory:
    """The memory that a step needs on one device, by what holds it, in bytes."""

    held: Mapping[str, int]
    """The arrays that stay from step to step, and the batch, by name."""
    gradients: int
    temporaries: int
    """The temporaries, by XLA's own account; everything else about them is read off the program."""
    code: int
    total: int
    """The sum of what is held, the temporaries and the code."""
    peak_at: str
    """The instruction at which the temporaries take most memory."""
    peak: int
    """The temporaries that are found to be live there. What ``temporaries`` is above this are gaps, and what libraries
    need; what it is below this lies where donated arguments have lain."""
    holders: tuple[Holder, ...]
    """What is live there, the largest first."""


@dataclasses.dataclass(frozen=True)
class KernelRow:
    """One kernel: figures of one run of it on one device, which it repeats ``count`` times in a step."""

    name: str
    opcode: str
    kind: str
    layer: str
    phase: str
    dtype: str
    flops: int
    multiply_adds: int
    bytes_read: int
    bytes_written: int
    count: int
    bound: float | None = None
    """The seconds that it takes at least, by the published figures of the machine; None where there are none."""
    seconds: float | None = None
    """The measured seconds of all its runs in a step; None where nothing was measured."""

    @property
    def bytes(self) -> int:
        """The bytes that one run reads and writes."""
        return self.bytes_read + self.bytes_written

    @property
    def part(self) -> str:
        """The part of a step's work that it is, one of `WORK`, told by what it mainly does and where it belongs."""
        if self.kind in ("convolution", "product"):
            return "convolutions and products"
        if self.kind in _PARTS:
            return _PARTS[self.kind]
        if self.phase in ("augmentation", "optimizer"):
            return self.phase
        if self.phase in ("loss", "statistics"):
            return "loss and counts"
        last = self.layer.rpartition("/")[2]
        return "normalization" if re.search(r"norm|(^|_)bn", last) else "activations and the rest"


@dataclasses.dataclass(frozen=True)
class CollectiveRow:
    """An exchange between devices."""

    operation: str
    dtype: str
    bytes: int
    axes: str
    """The axes of the mesh that it runs over, such as ``data``; with the size of the groups where these are smaller."""
    groups: int
    group_size: int
    layer: str
    phase: str
    count: int


@dataclasses.dataclass(frozen=True)
class Program:
    """What was found out about one compiled program."""

    seconds: Seconds
    size: Size
    memory: Memory
    kernels: tuple[KernelRow, ...]
    collectives: tuple[CollectiveRow, ...]
    roofline: Roofline | None = None
    """The bound on the seconds of a step, by kind, phase and layer; None where there are no figures of the machine."""
    seconds_a_step: float | None = None
    """The measured seconds of a step, where the devices are those of this process and this was asked for."""
    notes: tuple[str, ...] = ()
    """What the figures leave out or assume, in sentences."""


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over kernels, on one device and in one step."""

    kernels: int = 0
    flops: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bound: float | None = 0
    """None where a kernel has none."""
    seconds: float | None = 0
    """None where a kernel was not measured."""

    @property
    def bytes(self) -> int:
        """The bytes that are read and written."""
        return self.bytes_read + self.bytes_written

    def __add__(self, other: "Totals") -> "Totals":
        bounds, seconds = (self.bound, other.bound), (self.seconds, other.seconds)
        return Totals(
            self.kernels + other.kernels,
            self.flops + other.flops,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            None if None in bounds else sum(filter(None, bounds)),
            None if None in seconds else sum(filter(None, seconds)),
        )

    @classmethod
    def of(cls, kernels: Iterable[KernelRow]) -> "Totals":
        """Returns the sums over some kernels."""
        return functools.reduce(cls.__add__, map(cls._of_one, kernels), cls())

    @classmethod
    def _of_one(cls, row: KernelRow) -> "Totals":
        bound = None if row.bound is None else row.count * row.bound
        flops, read, written = row.count * row.flops, row.count * row.bytes_read, row.count * row.bytes_written
        return cls(row.count, flops, read, written, bound, row.seconds)


def totals_by(kernels: Iterable[KernelRow], key: Callable[[KernelRow], str]) -> dict[str, Totals]:
    """Returns `Totals` by a property of the kernels, in the order in which its values first occur."""
    groups: dict[str, list[KernelRow]] = collections.defaultdict(list)
    for row in kernels:
        groups[key(row)].append(row)
    return {value: Totals.of(rows) for value, rows in groups.items()}


@dataclasses.dataclass(frozen=True)
class Row:
    """One point of a report: what was compiled, with what, and what came of it."""

    point: Point
    made: Mapping[str, str]
    """What decides the outcome beside the point: see `made_with`."""
    devices: int
    device_kind: str
    machine: str | None
    """The machine whose published figures the bounds follow from."""
    program: Program | None = None
    error: str | None = None
    """The reason why there is no program, in a sentence."""


def made_with(point: Point, subject: Subject, parallel: DataParallel) -> dict[str, str]:
    """Returns what decides the outcome of a compilation beside its point.

    It is the versions of the libraries, the code of this package, the recipe and the options that it has, the devices,
    and the flags of XLA. A row of a report holds where all of these are the same.
    """
    first = parallel.mesh.devices.flat[0]
    return {
        **versions(_LIBRARIES),
        "code": digest_of_code(PARTS)[:16],
        "options": digest(to_json(point.config(subject.config)), subject.source)[:16],
        "devices": f"{parallel.mesh.size} x {first.device_kind}",
        "flags": " ".join(os.environ.get("XLA_FLAGS", "").split()),
        "optimization": str(getattr(jax.config, "jax_optimization_level", "")),
    }


@dataclasses.dataclass(frozen=True)
class _Document:
    """The content of a report's file."""

    rows: tuple[Row, ...]


_DOCUMENT = pydantic.TypeAdapter(_Document)


def read_rows(path: Path) -> tuple[Row, ...]:
    """Returns the rows of a report that `write_rows` has written.

    Raises:
        UserError: the file cannot be read, or is no such report.
    """
    try:
        return _DOCUMENT.validate_json(path.read_text(encoding="utf-8")).rows
    except OSError as error:
        raise UserError(f"the report {path} cannot be read: {error.strerror}: give one that --json wrote") from None
    except ValueError as error:
        said = error.errors()[0] if isinstance(error, pydantic.ValidationError) else None
        reason = f"{'.'.join(map(str, said['loc']))}: {said['msg']}" if said else str(error)
        raise UserError(f"{path} is no report of `jaxcnn compile-report --json`: {reason}") from None


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes a report: a JSON object whose ``rows`` are one a line.

    Raises:
        MachineError: the disk is full, or fails.
        UserError: the file cannot be written.
    """
    lines = ",\n".join(strict_json.dumps(dataclasses.asdict(row)) for row in rows)
    with writing(path, "name another file with --json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, f'{{"rows": [\n{lines}\n]}}\n')
