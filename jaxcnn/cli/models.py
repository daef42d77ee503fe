"""Prints the table of networks: parameters, multiply-adds, depth, input, and the errors that others published.

jaxcnn models [PATTERN] [--plot FOLDER]
jaxcnn models --pages docs/families               writes the tables on the page of each family
"""

import dataclasses
import functools
from pathlib import Path

import rich.table
import tyro

from jaxcnn.cli.shared import console
from jaxcnn.errors import UserError
from jaxcnn.pictures.networks import plot_error_against_cost
from jaxcnn.tables.families import write_pages
from jaxcnn.tables.networks import Row, describe_matching


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print the table of networks."""

    pattern: tyro.conf.Positional[str] = "*"
    """A shell pattern of names."""
    plot: Path | None = None
    """A folder to draw error_against_cost.png of these networks to."""
    pages: Path | None = None
    """The folder of the documentation's pages, one a family: write the tables on them, and print none."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn models", args=arguments)
    if chosen.pages:
        if chosen.plot or chosen.pattern != Arguments.pattern:
            raise UserError("--pages writes the tables of all networks: leave out the pattern and --plot")
        for path in write_pages(chosen.pages):
            print(path)
        return 0
    rows = describe_matching(chosen.pattern)
    print_table(rows)
    if chosen.plot:
        plot_error_against_cost(rows, chosen.plot / "error_against_cost.png")
    return 0


def print_table(rows: list[Row]) -> None:
    """Prints a line for each network, and another for each further published error."""
    right = functools.partial(rich.table.Column, justify="right", no_wrap=True)
    table = rich.table.Table(
        rich.table.Column("model", no_wrap=True),
        right("parameters"),
        right("multiply-adds"),
        right("depth"),
        right("input"),
        right("published top-1 error"),
        right("top-5"),
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
    console().print(table)
