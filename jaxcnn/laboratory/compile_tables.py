"""The tables of a compile report: one of all its points, those of each point, and those of what has changed."""

import collections
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import rich.table

from jaxcnn.laboratory.compile_changes import Change, Changes
from jaxcnn.laboratory.compile_rows import WORK, KernelRow, Program, Row, Totals, totals_by
from jaxcnn.laboratory.grid import OPTIONS, Point
from jaxcnn.laboratory.op_names import PHASES
from jaxcnn.text import escaped

OUTSIDE = "(outside of modules)"
"""How the layer of a kernel that belongs to no Flax module is shown."""
_WHOLE = "the whole step"


def _table(title: str, *columns: str) -> rich.table.Table:
    """Returns a table without rows, whose first column is text, and the others numbers."""
    right = functools.partial(rich.table.Column, justify="right")
    first, *others = columns
    return rich.table.Table(
        rich.table.Column(first, no_wrap=True), *map(right, others), title=title, title_justify="left"
    )


def grid_table(rows: Sequence[Row]) -> rich.table.Table:
    """Returns the table of all points that have a program, a line each.

    Every figure is of one device and one step, but for the images a second, which are those of all devices.
    """
    programs = [(row, row.program) for row in rows if row.program]
    varying = [name for name in OPTIONS if len({getattr(row.point, name) for row in rows}) > 1 or name == "network"]
    table = _table(
        "",
        *(name.replace("_", " ") for name in varying),
        "trace s",
        "lower s",
        "compile s",
        "operations",
        "instructions",
        "kernels",
        "GFLOP",
        "GB",
        "memory MB",
        "exchanged MB",
        "layout changes",
        "layout MB",
        *(["bound ms", "images/s of the bound"] if any(program.roofline for _, program in programs) else []),
        *(["measured ms"] if any(program.seconds_a_step for _, program in programs) else []),
    )
    for row, program in programs:
        seconds, totals = program.seconds, Totals.of(program.kernels)
        layout = Totals.of(kernel for kernel in program.kernels if kernel.kind == "copy")
        exchanged = sum(each.count * each.bytes for each in program.collectives)
        cells = [
            *(option_text(row.point, name) for name in varying),
            *(f"{each:,.1f}" for each in (seconds.trace, seconds.lower, seconds.compile)),
            f"{program.size.operations:,}",
            f"{program.size.instructions:,}",
            f"{totals.kernels:,}",
            f"{totals.flops / 1e9:,.1f}",
            f"{totals.bytes / 1e9:,.2f}",
            f"{program.memory.total / 1e6:,.0f}",
            f"{exchanged / 1e6:,.1f}",
            f"{layout.kernels:,}",
            _mb(layout.bytes),
        ]
        if program.roofline:
            cells += [_ms(program.roofline.seconds), f"{row.point.batch_size / program.roofline.seconds:,.0f}"]
        elif any(each.roofline for _, each in programs):
            cells += ["", ""]
        if program.seconds_a_step:
            cells.append(_ms(program.seconds_a_step))
        table.add_row(*cells)
    return table


def option_text(point: Point, name: str) -> str:
    """Returns the value of an option of a point as it stands in a table."""
    value = getattr(point, name)
    if name == "topology":
        return value or "here"
    if name == "network":
        return escaped(point.title)
    if name == "scan":
        return "on" if value else "off"
    if name == "remat":
        return "+".join(map(str, value)) or "none"
    return escaped(str(value))


def row_tables(row: Row, most: int) -> Iterator[rich.table.Table]:
    """Yields the tables of one point: its work, phases, memory, exchanges, layout changes and layers.

    Args:
        row: the row.
        most: the number of lines of those that could have hundreds.
    """
    program, label = row.program, escaped(row.point.label)
    if program is None:
        return
    work = totals_by(program.kernels, lambda row: row.part)
    ordered = {name: work[name] for name in WORK if name in work}
    yield _sums(f"{label}: the work of a step", "work", ordered, program)
    phases = totals_by(program.kernels, lambda row: row.phase)
    yield _sums(
        f"{label}: the phases of a step", "phase", {name: phases[name] for name in PHASES if name in phases}, program
    )
    yield _memory(label, program, most)
    if program.collectives:
        yield _collectives(label, program)
    copies = [kernel for kernel in program.kernels if kernel.kind == "copy"]
    if copies:
        by_layer = totals_by(copies, lambda row: f"{row.layer or OUTSIDE}, {row.phase}")
        title = f"{label}: copies and transpositions, by the layer that they belong to"
        yield _sums(title, "layer, phase", _largest(by_layer, most), program)
    layers = totals_by(program.kernels, lambda row: row.layer or OUTSIDE)
    yield _sums(f"{label}: the layers that move most bytes", "layer", _largest(layers, most), program)


def _largest(totals: Mapping[str, Totals], most: int) -> dict[str, Totals]:
    """Returns the groups that move most bytes, and the sum of the others under a name that counts them."""
    ordered = sorted(totals.items(), key=lambda item: -item[1].bytes)
    shown, others = dict(ordered[:most]), [each for _, each in ordered[most:]]
    if others:
        shown[f"({len(others)} more)"] = functools.reduce(lambda some, more: some + more, others)
    return shown


def _sums(title: str, what: str, totals: Mapping[str, Totals], program: Program) -> rich.table.Table:
    whole = Totals.of(program.kernels)
    columns = [what, "kernels", "GFLOP", "GB read", "GB written", "share of bytes"]
    bounded, measured = program.roofline is not None, program.seconds_a_step is not None
    table = _table(title, *columns, *(["bound ms", "share of bound"] * bounded), *(["measured ms", "share"] * measured))
    for name, each in {**totals, _WHOLE: whole}.items():
        cells = [
            escaped(name),
            f"{each.kernels:,}",
            f"{each.flops / 1e9:,.2f}",
            f"{each.bytes_read / 1e9:,.3f}",
            f"{each.bytes_written / 1e9:,.3f}",
            _share(each.bytes, whole.bytes),
        ]
        if bounded:
            cells += [_ms(each.bound), _share(each.bound or 0, whole.bound or 0)]
        if measured:
            cells += [_ms(each.seconds), _share(each.seconds or 0, whole.seconds or 0)]
        if name == _WHOLE:
            table.add_section()
        table.add_row(*cells)
    return table


def _memory(label: str, program: Program, most: int) -> rich.table.Table:
    memory = program.memory
    table = _table(f"{label}: memory of one device, by what holds it", "what", "MB", "buffers")
    for name, size in memory.held.items():
        table.add_row(name, _mb(size))
    table.add_row("code", _mb(memory.code))
    table.add_section()
    sizes: dict[str, int] = collections.defaultdict(int)
    for holder in memory.holders:
        sizes[holder.what] += holder.bytes
    kinds: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for holder in memory.holders:
        kind = kinds[holder.what if sizes[holder.what] >= memory.peak / 1000 else "of other phases"]
        kind[0] += holder.bytes
        kind[1] += holder.buffers
    for what, (size, buffers) in sorted(kinds.items(), key=lambda item: -item[1][0]):
        table.add_row(f"temporaries {what}", _mb(size), f"{buffers:,}")
    rest = memory.temporaries - memory.peak
    why = "not shown by the text: gaps, workspaces" if rest >= 0 else "in the place of donated arguments, at most"
    table.add_row(f"temporaries {why}", _mb(rest))
    table.add_section()
    table.add_row("in all", _mb(memory.total))
    table.add_section()
    for holder in memory.holders[:most]:
        table.add_row(f"{escaped(holder.layer) or OUTSIDE}: {holder.what}", _mb(holder.bytes), f"{holder.buffers:,}")
    return table


def _collectives(label: str, program: Program) -> rich.table.Table:
    table = _table(f"{label}: what the devices exchange", "operation", "times", "MB", "over", "groups", "of", "phase")
    sums: dict[tuple[str, ...], list[int]] = collections.defaultdict(lambda: [0, 0])
    for each in program.collectives:
        key = (f"{each.operation} of {each.dtype}", each.axes, str(each.groups), str(each.group_size), each.phase)
        sums[key][0] += each.count
        sums[key][1] += each.count * each.bytes
    for (operation, *place), (times, size) in sorted(sums.items(), key=lambda item: -item[1][1]):
        table.add_row(operation, f"{times:,}", _mb(size, 3), *place)
    return table


def change_tables(found: Changes, most: int) -> Iterator[rich.table.Table]:
    """Yields the tables of what has changed between two reports: in all and by kind, by phase, and by layer.

    Args:
        found: the changes.
        most: the number of layers that are shown.
    """
    options = [
        f"{name.replace('_', ' ')} {option_text(found.before.point, name)} to {option_text(found.after.point, name)}"
        for name in found.options
    ]
    label = f"{escaped(found.after.point.label)}, against {', '.join(options) or 'the same options'}"
    yield _figures(label, found)
    for title, changes in (("kind", found.kinds), ("phase", found.phases), ("layer", found.layers)):
        if changes:
            yield _changes(f"{label}: by {title}", title, changes, most)


def _figures(label: str, found: Changes) -> rich.table.Table:
    table = _table(f"{label}: in all", "figure", "before", "after", "change")
    before, after = found.before.program, found.after.program
    assert before
    assert after
    figures: dict[str, tuple[Callable[[Program], float], str]] = {
        "trace, s": (lambda program: program.seconds.trace, ",.2f"),
        "lower, s": (lambda program: program.seconds.lower, ",.2f"),
        "compile, s": (lambda program: program.seconds.compile, ",.2f"),
        "operations": (lambda program: program.size.operations, ",d"),
        "instructions": (lambda program: program.size.instructions, ",d"),
        "kernels": (lambda program: Totals.of(program.kernels).kernels, ",d"),
        "GFLOP": (lambda program: Totals.of(program.kernels).flops / 1e9, ",.2f"),
        "GB read": (lambda program: Totals.of(program.kernels).bytes_read / 1e9, ",.3f"),
        "GB written": (lambda program: Totals.of(program.kernels).bytes_written / 1e9, ",.3f"),
        "temporaries, MB": (lambda program: program.memory.temporaries / 1e6, ",.1f"),
        "memory in all, MB": (lambda program: program.memory.total / 1e6, ",.1f"),
        "exchanged, MB": (
            lambda program: sum(each.count * each.bytes for each in program.collectives) / 1e6,
            ",.3f",
        ),
        "layout changes, MB": (lambda program: _layout(program.kernels) / 1e6, ",.1f"),
    }
    if before.roofline and after.roofline:
        figures["bound, ms"] = (lambda program: 1e3 * program.roofline.seconds if program.roofline else 0.0, ",.3f")
    if before.seconds_a_step and after.seconds_a_step:
        figures["measured, ms"] = (lambda program: 1e3 * (program.seconds_a_step or 0.0), ",.2f")
    for name, (of, form) in figures.items():
        old, new = of(before), of(after)
        table.add_row(name, f"{old:{form}}", f"{new:{form}}", _relative(old, new))
    return table


def _layout(kernels: Iterable[KernelRow]) -> int:
    return Totals.of(kernel for kernel in kernels if kernel.kind == "copy").bytes


def _changes(title: str, what: str, changes: Sequence[Change], most: int) -> rich.table.Table:
    table = _table(title, what, "kernels", "", "GFLOP", "", "MB", "", "change", "layout MB", "", "bound ms", "")
    for change in changes[:most]:
        table.add_row(
            escaped(change.name) or OUTSIDE,
            *_pair(change, lambda totals: f"{totals.kernels:,}"),
            *_pair(change, lambda totals: f"{totals.flops / 1e9:,.2f}"),
            *_pair(change, lambda totals: _mb(totals.bytes)),
            _relative(change.before.bytes, change.after.bytes),
            _mb(change.layout_before),
            _mb(change.layout_after),
            *_pair(change, lambda totals: _ms(totals.bound)),
        )
    if len(changes) > most:
        table.add_row(f"({len(changes) - most} more)")
    return table


def _pair(change: Change, of: Callable[[Totals], str]) -> tuple[str, str]:
    return of(change.before), of(change.after)


def _relative(before: float, after: float) -> str:
    if before == after:
        return "="
    return f"{100 * (after - before) / before:+.1f} %" if before else "new"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _mb(size: float, digits: int = 1) -> str:
    return f"{size / 1e6:,.{digits}f}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:,.2f}"
