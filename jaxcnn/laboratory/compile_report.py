"""The report of a grid of compilations: each training step compiled for devices that need not be there, and read."""

import contextlib
import dataclasses
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax

from jaxcnn.assembly import Assembly, abstract_arguments, assemble
from jaxcnn.devices.compilation import nothing_kept
from jaxcnn.devices.machines import Machine, machine_of
from jaxcnn.devices.machines import machine as find_machine
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.devices.topologies import over_topology, usable_memory
from jaxcnn.errors import UserError, writing
from jaxcnn.laboratory import dry_run, hlo, roofline
from jaxcnn.laboratory.compile_rows import (
    CollectiveRow,
    Holder,
    KernelRow,
    Memory,
    Program,
    Row,
    Seconds,
    Size,
    made_with,
    read_rows,
    write_rows,
)
from jaxcnn.laboratory.grid import Grid, Point, Subject, subject
from jaxcnn.laboratory.measured import time_kernels
from jaxcnn.laboratory.peak_memory import PeakMemory, peak_memory
from jaxcnn.laboratory.program import Kernel
from jaxcnn.laboratory.program import Program as Parsed
from jaxcnn.ops.backend import rules_of
from jaxcnn.paths import replace_whole
from jaxcnn.plain_flax import plain_flax

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


class Task(NamedTuple):
    """One compilation that is asked for."""

    point: Point
    subject: Subject
    parallel: DataParallel
    machine: Machine | None
    """The machine whose figures bound the kernels; None where there are none."""
    hlo: Path | None = None
    """The file to keep the compiled program in."""
    measured: bool = False
    """Whether the step is timed on the devices, which are those of this process."""


def tasks_of(
    networks: Sequence[str], grid: Grid, *, hlo: Path | None = None, machine: str | None = None, measured: bool = False
) -> list[Task]:
    """Returns what to compile for a grid, after refusing all that can be refused before anything is compiled.

    Args:
        networks: the names of networks and recipes.
        grid: the options.
        hlo: the file to keep compiled programs in; with several points, each one's label is put into its name.
        machine: the machine whose published figures bound the kernels; by default the one that is compiled for.
        measured: whether steps are timed.

    Raises:
        UserError: there is no such network, topology or machine, or options contradict one another.
    """
    if not networks:
        raise UserError("no network is named: name one that `jaxcnn models` lists, or a recipe of `jaxcnn recipes`")
    if measured and grid.topology:
        raise UserError(
            "--measure times the devices of this process, and --topology names some that are not there: leave one out"
        )
    subjects = [subject(name) for name in dict.fromkeys(networks)]
    named = find_machine(machine) if machine else None
    meshes: dict[str | None, DataParallel] = {name: over_topology(name) for name in grid.topology}
    if not grid.topology:
        meshes[None] = DataParallel.over_all_devices()
    points = grid.points(subjects, {name: parallel.mesh.size for name, parallel in meshes.items()})
    return [
        Task(
            point,
            of,
            meshes[point.topology],
            named or machine_of(meshes[point.topology].mesh.devices.flat[0]),
            _hlo_file(hlo, point, len(points)) if hlo else None,
            measured,
        )
        for point, of in points
    ]


def _hlo_file(path: Path, point: Point, points: int) -> Path:
    if points == 1:
        return path
    label = re.sub(r"[^\w.+-]+", "-", point.label)
    return path.with_name(f"{path.stem}.{label}{path.suffix}")


def report(tasks: Iterable[Task], kept: Path | None) -> Iterator[Row]:
    """Yields a row for each task, in order; what fails is a row that says so.

    Args:
        tasks: what to compile, one after another in this process.
        kept: the report's file. A row that it holds already is not compiled again, where everything that decides the
            outcome is still the same. It is written after each row, so that nothing is lost where this is ended.

    Raises:
        MachineError: the disk is full, or fails.
        UserError: a file cannot be written, or ``kept`` is something else than a report.
    """
    known = _known(kept)
    if kept is not None:
        write_rows(kept, known.values())  # what cannot be written is found out before minutes of compilation
    for task in tasks:
        made = made_with(task.point, task.subject, task.parallel)
        row = known.get(task.point)
        if row is None or row.made != made or not _has(row, task):
            row, text = _compiled(task, made)
            if kept is not None:
                # Another process may have added rows meanwhile.
                known = _known(kept) | {task.point: row}
                write_rows(kept, known.values())
            if task.hlo is not None and text is not None:
                keep_program(task.hlo, text)
        yield row


def _known(kept: Path | None) -> dict[Point, Row]:
    return {row.point: row for row in read_rows(kept)} if kept is not None and kept.exists() else {}


def _has(row: Row, task: Task) -> bool:
    """Returns whether a row has everything that a task asks for."""
    if row.machine != (task.machine.name if task.machine else None):
        return False
    if row.program is None:
        return True
    file_is_there = task.hlo is None or task.hlo.is_file()
    return file_is_there and (not task.measured or row.program.seconds_a_step is not None)


def _compiled(task: Task, made: Mapping[str, str]) -> tuple[Row, str | None]:
    """Returns the row of a task, and the text of the program if there is one."""
    first = task.parallel.mesh.devices.flat[0]
    row = Row(
        point=task.point,
        made=made,
        devices=task.parallel.mesh.size,
        device_kind=first.device_kind,
        machine=task.machine.name if task.machine else None,
    )
    _LOG.info("compiling %s", task.point.label)
    try:
        program, text = _program(task)
    except UserError as error:
        return dataclasses.replace(row, error=str(error)), None
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        return dataclasses.replace(row, error=f"the compiler refuses it: {said[0]}"), None
    return dataclasses.replace(row, program=program), text


@own_settings()
def _program(task: Task) -> tuple[Program, str]:
    platform = task.parallel.mesh.devices.flat[0].platform
    layers = plain_flax if task.point.layers == "flax" else contextlib.nullcontext
    with rules_of(platform), nothing_kept(), layers():
        config = task.point.config(task.subject.config)
        assembly = assemble(config, task.subject.data, task.parallel)
        arguments = abstract_arguments(assembly)
        jax.clear_caches()  # else an earlier point has traced a part of this one already
        trace, traced = _timed(lambda: assembly.train_step.trace(*arguments))
        lower, lowered = _timed(traced.lower)
        with dry_run.refusing_exhausted(config):
            compile, compiled = _timed(lowered.compile)
        text = compiled.as_text()
        assert text is not None
        found = dry_run.memory_of(compiled, assembly)  # which may trace again
        steps = _measured(compiled, assembly) if task.measured else None
    module = hlo.parse(text)
    parsed = Parsed.read(module, platform)
    stablehlo = lowered.as_text()
    program = Program(
        seconds=Seconds(trace, lower, compile),
        size=Size(
            operations=sum(" = " in line for line in stablehlo.splitlines()),
            stablehlo_bytes=len(stablehlo),
            instructions=sum(len(each.instructions) for each in module.computations.values()),
            hlo_bytes=len(text),
            code_bytes=found.program,
        ),
        memory=memory_row(found, peak_memory(module), parsed.kernels),
        kernels=tuple(kernel_rows(parsed.kernels, task.machine, steps.kernels if steps else {})),
        collectives=tuple(collective_rows(parsed.kernels, task.parallel.mesh)),
        roofline=roofline.Roofline.of(parsed, task.machine) if task.machine else None,
        seconds_a_step=steps.seconds if steps else None,
        notes=tuple(_notes(parsed, found, task)),
    )
    return program, text


def _timed(make: Callable[[], _T]) -> tuple[float, _T]:
    start = time.perf_counter()
    made = make()
    return time.perf_counter() - start, made


def keep_program(path: Path, text: str) -> None:
    """Writes the text of a compiled program.

    Raises:
        MachineError: the disk is full, or fails.
        UserError: the file cannot be written.
    """
    with writing(path, "name another file with --hlo"):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, text)


class _Measured(NamedTuple):
    seconds: float
    kernels: dict[str, float]


def _measured(compiled: jax.stages.Compiled, assembly: Assembly) -> _Measured:
    step = dry_run.stepping(compiled, assembly)
    return _Measured(dry_run.time_step(step), time_kernels(step, assembly.parallel.mesh.size))


def kernel_rows(
    kernels: Sequence[Kernel], machine: Machine | None, seconds: Mapping[str, float]
) -> Iterator[KernelRow]:
    """Yields a row for each kernel, with its bound on a machine and the seconds that were measured of it, if any."""
    bounds = roofline.bounds(kernels, machine) if machine else (None,) * len(kernels)
    for kernel, bound in zip(kernels, bounds, strict=True):
        yield _kernel_row(kernel, bound, seconds)


def _kernel_row(kernel: Kernel, bound: float | None, seconds: Mapping[str, float]) -> KernelRow:
    return KernelRow(
        name=kernel.name,
        opcode=kernel.opcode,
        kind=kernel.kind,
        layer=kernel.layer,
        phase=kernel.phase,
        dtype=kernel.dtype,
        flops=kernel.flops,
        multiply_adds=kernel.multiply_adds,
        bytes_read=kernel.bytes_read,
        bytes_written=kernel.bytes_written,
        count=kernel.count,
        bound=bound,
        seconds=seconds.get(kernel.name, 0.0) if seconds else None,
    )


def collective_rows(kernels: Iterable[Kernel], mesh: jax.sharding.Mesh) -> Iterator[CollectiveRow]:
    """Yields a row for each kernel that exchanges something between the devices of a mesh."""
    for kernel in kernels:
        if (found := kernel.collective) is not None:
            axes = " ".join(map(str, mesh.axis_names))
            yield CollectiveRow(
                operation=found.operation,
                dtype=found.dtype,
                bytes=found.bytes,
                axes=axes if found.group_size == mesh.size else f"{axes}, in groups of {found.group_size}",
                groups=len(found.groups),
                group_size=found.group_size,
                layer=kernel.layer,
                phase=kernel.phase,
                count=kernel.count,
            )


def memory_row(memory: dry_run.Memory, peak: PeakMemory, kernels: Iterable[Kernel]) -> Memory:
    """Returns the memory of a step, with its temporaries by the layer that makes them and the phase that needs them."""
    by_name = {kernel.name: kernel for kernel in kernels}
    sums: dict[tuple[str, str, str], list[int]] = {}
    for buffer in peak.buffers:
        maker, user = by_name.get(buffer.maker), by_name.get(buffer.last_user)
        made_in = maker.phase if maker else "other"
        place = maker.layer if maker else "", made_in, user.phase if user else made_in
        count = sums.setdefault(place, [0, 0])
        count[0] += 1
        count[1] += buffer.bytes
    holders = [Holder(*place, buffers, size) for place, (buffers, size) in sums.items()]
    return Memory(
        held=memory.held,
        gradients=memory.gradients,
        temporaries=memory.temporaries,
        code=memory.program,
        total=memory.total,
        peak_at=peak.at,
        peak=peak.bytes,
        holders=tuple(sorted(holders, key=lambda holder: -holder.bytes)),
    )


def _notes(parsed: Parsed, memory: dry_run.Memory, task: Task) -> Iterator[str]:
    device = task.parallel.mesh.devices.flat[0]
    if task.point.topology and device.platform == "gpu" and memory.total > (usable := usable_memory(device)):
        needed, there = f"{memory.total / 1e6:,.0f} MB", f"{usable / 1e6:,.0f} MB"
        yield f"it does not fit: it needs {needed}, and JAX takes {there} of such a device"
    if loops := parsed.loops_without_count:
        yield f"the trips of {len(loops)} loops are not known, and their kernels are counted once: {', '.join(loops)}"
    if choices := parsed.conditionals:
        yield (
            f"of {len(choices)} choices among branches, the branch that moves most bytes is counted; those that move "
            f"least would save {parsed.bytes_of_choices / 1e9:.2f} of {parsed.bytes / 1e9:.2f} GB"
        )
