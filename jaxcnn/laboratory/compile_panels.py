"""What the plots of a compile report show: bars that are made of parts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from jaxcnn.laboratory.compile_rows import WORK, KernelRow, Program, Row
from jaxcnn.laboratory.compile_tables import option_text
from jaxcnn.laboratory.grid import OPTIONS
from jaxcnn.laboratory.op_names import PHASES


class Panel(NamedTuple):
    """Bars that are made of parts."""

    title: str
    """What the bars show, with its unit."""
    labels: tuple[str, ...]
    """The name of each bar."""
    parts: Mapping[str, Sequence[float]]
    """The parts of the bars by name: of each the length in each bar."""


def grid_panels(rows: Sequence[Row]) -> list[Panel]:
    """Returns the panels of all points with a program: its making, its memory, its bytes and its bound."""
    varying = [name for name in OPTIONS if len({getattr(row.point, name) for row in rows}) > 1 or name == "network"]
    found = [(row, row.program) for row in rows if row.program]
    programs = [program for _, program in found]
    labels = tuple(", ".join(option_text(row.point, name) for name in varying) for row, _ in found)
    panels = [
        Panel(
            "seconds to make the program",
            labels,
            {name: [getattr(each.seconds, name) for each in programs] for name in ("trace", "lower", "compile")},
        ),
        Panel("memory of one device, MB", labels, _parts(programs, _memory)),
        Panel(
            "bytes that a step moves on one device, GB", labels, _parts(programs, lambda each: _work(each, _gigabytes))
        ),
    ]
    if any(each.roofline for each in programs):
        bounds = _parts(programs, lambda each: _work(each, _milliseconds))
        panels.append(Panel("bound on a step's time by published figures, ms", labels, bounds))
    return panels


def layer_panels(rows: Iterable[Row]) -> list[Panel]:
    """Returns a panel for each point with a program: the bytes that the network's own modules move, by phase."""
    found = [(row, row.program.kernels) for row in rows if row.program]
    phases: list[str] = [
        phase for phase in PHASES if any(each.phase == phase for _, kernels in found for each in kernels)
    ]
    panels = []
    for row, kernels in found:
        # They stand as the forward pass runs them; what the network itself computes comes last.
        in_order = sorted(kernels, key=lambda each: (not each.layer, each.phase != "forward"))
        modules = tuple(dict.fromkeys(map(_module, in_order)))
        sums = {phase: dict.fromkeys(modules, 0.0) for phase in phases}
        for each in kernels:
            sums[each.phase][_module(each)] += _gigabytes(each)
        parts = {phase: list(lengths.values()) for phase, lengths in sums.items()}
        panels.append(Panel(row.point.label, modules, parts))
    return panels


def _module(kernel: KernelRow) -> str:
    return kernel.layer.partition("/")[0] or "(no module)"


def _parts(programs: Sequence[Program], of: Callable[[Program], Mapping[str, float]]) -> dict[str, list[float]]:
    """Returns the lengths of all parts that any program has; 0 where one does not have it."""
    found = [of(program) for program in programs]
    names = dict.fromkeys(name for each in found for name in each)
    return {name: [each.get(name, 0.0) for each in found] for name in names}


def _work(program: Program, length: Callable[[KernelRow], float]) -> dict[str, float]:
    sums = dict.fromkeys(WORK, 0.0)
    for kernel in program.kernels:
        sums[kernel.part] += length(kernel)
    return {name: total for name, total in sums.items() if total}


def _gigabytes(kernel: KernelRow) -> float:
    return kernel.count * kernel.bytes / 1e9


def _milliseconds(kernel: KernelRow) -> float:
    return 1e3 * kernel.count * (kernel.bound or 0.0)


def _memory(program: Program) -> dict[str, float]:
    memory = program.memory
    sums = {name: size / 1e6 for name, size in memory.held.items()}
    for holder in memory.holders:
        name = f"temporaries {holder.what}"
        sums[name] = sums.get(name, 0.0) + holder.bytes / 1e6
    largest = sorted((name for name in sums if name.startswith("temporaries")), key=lambda name: -sums[name])
    others = [sums.pop(name) for name in largest[3:]]
    rest = max(0, memory.temporaries - memory.peak) / 1e6
    return sums | {"other temporaries": sum(others) + rest, "code": memory.code / 1e6}
