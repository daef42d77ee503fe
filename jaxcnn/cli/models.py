#!/usr/bin/env python3
"""Prints the table of networks: parameters, multiply-adds, depth, input, and the errors that others published.

models.py [PATTERN] [--plot FOLDER]
"""

import dataclasses
import sys
from pathlib import Path

import rich.console
import rich.table
import tyro

from jaxcnn import list_models
from jaxcnn.errors import UserError, run_script
from jaxcnn.pictures.networks import plot_depth, plot_error_against_cost
from jaxcnn.tables.networks import Row, describe


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print the table of networks."""

    pattern: tyro.conf.Positional[str] = "*"
    """A shell pattern of names."""
    plot: Path | None = None
    """A folder to draw to: error_against_cost.png of these networks, and depth.png of ILSVRC's winners."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, args=arguments)
    rows = [describe(name) for name in list_models(chosen.pattern)]
    if not rows:
        raise UserError(f"no model matches {chosen.pattern!r}: try one of {', '.join(list_models())}")
    print_table(rows)
    if chosen.plot:
        chosen.plot.mkdir(parents=True, exist_ok=True)
        plot_error_against_cost(rows, chosen.plot / "error_against_cost.png")
        plot_depth(chosen.plot / "depth.png")
    return 0


def print_table(rows: list[Row]) -> None:
    """One line a network, and one more for each further published error."""
    right = {"justify": "right", "no_wrap": True}
    table = rich.table.Table(
        rich.table.Column("model", no_wrap=True),
        rich.table.Column("parameters", **right),
        rich.table.Column("multiply-adds", **right),
        rich.table.Column("depth", **right),
        rich.table.Column("input", **right),
        rich.table.Column("published top-1 error", **right),
        rich.table.Column("top-5", **right),
        "protocol",
        "published by",
    )
    for row in rows:
        size = "x".join(map(str, row.input_shape))
        facts = [row.name, f"{row.parameters:,}", f"{row.multiply_adds / 1e6:,.1f} M", str(row.depth), size]
        if not row.published:
            table.add_row(*facts)
        for index, figure in enumerate(row.published):
            errors = ("" if e is None else f"{e:.2f} %" for e in (figure.top1_error, figure.top5_error))
            first = facts if index == 0 else [""] * len(facts)
            table.add_row(*first, *errors, figure.protocol, figure.source)
    # Where the output is not a terminal there is no width to fit, and a wrapped table is hard to read and to grep.
    width = None if sys.stdout.isatty() else 200
    rich.console.Console(width=width).print(table)


if __name__ == "__main__":
    sys.exit(run_script(main))
