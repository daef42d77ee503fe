#!/usr/bin/env python3
"""Prints the table of networks: parameters, multiply-adds, input, and the errors that others published.

models.py [PATTERN]
"""

import dataclasses
import sys

import rich.console
import rich.table
import tyro

from jaxcnn import list_models
from jaxcnn.analysis.tables import describe
from jaxcnn.errors import UserError, run_script


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print the table of networks."""

    pattern: tyro.conf.Positional[str] = "*"
    """A shell pattern of names."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    pattern = tyro.cli(Arguments, args=arguments).pattern
    names = list_models(pattern)
    if not names:
        raise UserError(f"no model matches {pattern!r}: try one of {', '.join(list_models())}")
    right = {"justify": "right", "no_wrap": True}
    table = rich.table.Table(
        rich.table.Column("model", no_wrap=True),
        rich.table.Column("parameters", **right),
        rich.table.Column("multiply-adds", **right),
        rich.table.Column("input", **right),
        rich.table.Column("published top-1 error", **right),
        rich.table.Column("top-5", **right),
        "protocol",
        "published by",
    )
    for name in names:
        row = describe(name)
        facts = [name, f"{row.parameters:,}", f"{row.multiply_adds / 1e6:,.1f} M", "x".join(map(str, row.input_shape))]
        if not row.published:
            table.add_row(*facts)
        for index, figure in enumerate(row.published):
            top5 = "" if figure.top5_error is None else f"{figure.top5_error:.2f} %"
            published = (f"{figure.top1_error:.2f} %", top5, figure.protocol, figure.source)
            table.add_row(*(facts if index == 0 else [""] * len(facts)), *published)
    # Where the output is not a terminal there is no width to fit, and a wrapped table is hard to read and to grep.
    width = None if sys.stdout.isatty() else 200
    rich.console.Console(width=width).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
