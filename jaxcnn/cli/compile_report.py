"""Compiles training steps for devices that need not be there, and reports what became of each.

    jaxcnn compile-report resnet50 resnet152 --topology v5e:4x4 h100:8 --dtype bfloat16 --json report.json
    jaxcnn compile-report resnet50_imagenet --wrapper jit shard_map pmap --remat none all --scan off on
    jaxcnn compile-report resnet50 --topology h100:1 --batch 256 --dtype bfloat16 --against before.json --plot step.png

What is named is a recipe or a network; a network's step is plain SGD on images that are not augmented. Each option may
have several values. Every combination is compiled, one after another in this process: seconds to trace, lower and
compile; the size of the program before and after; the kernels with their FLOPs and bytes; the memory by what holds it;
what devices exchange; layout changes; and a bound on the time of a step by the published figures of the machine. With
--measure the step is timed as well, on the devices of this process.

With --json the report is kept in a file, and the same command goes on with it: a row that is there is not compiled
again, unless versions, code or options are others than they were. What fails is a row that says so. The exit code is 0;
1 where no point has a program; 2 where the command asks for something impossible; 75 where SIGTERM or SIGINT has
stopped it, with what is done saved in the file.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import rich.console
import tyro

from jaxcnn.cli.shared import console
from jaxcnn.devices.topologies import topology_lines
from jaxcnn.laboratory.compile_changes import changes, counterpart
from jaxcnn.laboratory.compile_panels import grid_panels, layer_panels
from jaxcnn.laboratory.compile_report import report, tasks_of
from jaxcnn.laboratory.compile_rows import Row, read_rows
from jaxcnn.laboratory.compile_tables import change_tables, grid_table, row_tables
from jaxcnn.laboratory.grid import Grid
from jaxcnn.pictures.compile_report import plot_bars
from jaxcnn.pictures.pyplot import check_picture
from jaxcnn.text import escaped
from jaxcnn.training.interrupt import EXIT_STOPPED, StopRequest


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Compile training steps for devices that need not be there, and report what became of each."""

    networks: tyro.conf.Positional[tuple[str, ...]] = ()
    """Networks or recipes, by name; recipes and run folders also by path."""
    grid: Annotated[Grid, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Grid)
    json: Path | None = None
    """The file to keep the report in, and to go on with."""
    against: Path | None = None
    """The file of another report: print what has changed since, by kind, phase and layer."""
    hlo: Path | None = None
    """The file to keep the compiled program in; with several points, each file's name says which it is."""
    plot: Path | None = None
    """The picture (.png, .svg or .pdf) to draw, of all points; it needs the extra plot."""
    plot_layers: Path | None = None
    """The picture to draw of the layers of each point."""
    machine: str | None = None
    """The machine whose published figures bound the kernels; by default the one that is compiled for."""
    measure: bool = False
    """Time the step and its kernels too, on the devices of this process."""
    most: int = 12
    """The lines of the tables of layers, of what holds the memory, and of layout changes."""
    brief: bool = False
    """Print the table of all points alone."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn compile-report", args=arguments)
    if chosen.grid.topology == ("list",):
        print(*topology_lines(), sep="\n")
        return 0
    before = read_rows(chosen.against) if chosen.against else None
    for picture in filter(None, (chosen.plot, chosen.plot_layers)):
        check_picture(picture)  # before minutes of compilation, and not after them
    tasks = tasks_of(chosen.networks, chosen.grid, hlo=chosen.hlo, machine=chosen.machine, measured=chosen.measure)
    rows = []
    with StopRequest() as stop:
        for row in report(tasks, chosen.json):
            rows.append(row)
            if stop() and len(rows) < len(tasks):
                kept = f"what is done is saved in {chosen.json}" if chosen.json else "nothing is kept without --json"
                print(f"stopped as asked after {len(rows)} of {len(tasks)} points: {kept}; the same command goes on")
                return EXIT_STOPPED
    out = console()
    if any(row.program for row in rows):
        out.print(grid_table(rows))
    for row in rows:
        _print_row(row, chosen, out)
        if before is not None and row.program:
            _print_changes(row, before, chosen.most, out)
    if done := [row for row in rows if row.program]:
        if chosen.plot:
            plot_bars("Training steps, compiled", grid_panels(done), chosen.plot)
        if chosen.plot_layers:
            plot_bars(
                "GB that each module moves in a training step, on one device", layer_panels(done), chosen.plot_layers
            )
    return 0 if done else 1


def _print_row(row: Row, chosen: Arguments, out: rich.console.Console) -> None:
    """Prints the tables of a point, and in sentences what its figures leave out or why there are none."""
    if row.program and not chosen.brief:
        for table in row_tables(row, chosen.most):
            out.print(table)
    remarks = [row.error] if row.error else row.program.notes if row.program else ()
    for remark in remarks:
        out.print(f"{escaped(row.point.label)}: {escaped(remark)}", soft_wrap=True)


def _print_changes(row: Row, before: Sequence[Row], most: int, out: rich.console.Console) -> None:
    """Prints what has changed since another report, or that it has no row to compare with."""
    other = counterpart(row, before)
    if other is None:
        out.print(
            f"{escaped(row.point.label)}: the other report has no row of these options, and not one alone that comes "
            "nearest to them",
            soft_wrap=True,
        )
        return
    for table in change_tables(changes(other, row), most):
        out.print(table)
