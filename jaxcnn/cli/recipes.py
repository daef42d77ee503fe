#!/usr/bin/env python3
"""Prints the tables of docs/recipes.md.

recipes.py [PATTERN] [--topology v5e:2x2]
"""

import dataclasses
import sys
from pathlib import Path

import tyro

from jaxcnn.errors import UserError, run_script
from jaxcnn.tables.recipes import find_recipes, memory_lines, recipe_lines

CONFIGS = Path(__file__).parent.parent / "configs"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print the table of recipes, or of what they take on TPUs that need not be there."""

    pattern: tyro.conf.Positional[str] = "*"
    """A shell pattern of names."""
    topology: str | None = None
    """Compile each recipe's step for these TPUs, for minutes each, and print the memory it takes: v5e:2x2."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, args=arguments)
    recipes = find_recipes(CONFIGS, chosen.pattern)
    if not recipes:
        raise UserError(f"no recipe matches {chosen.pattern!r}: try one of {', '.join(find_recipes(CONFIGS, '*'))}")
    configs = recipes.values()
    for line in memory_lines(configs, chosen.topology) if chosen.topology else recipe_lines(configs):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
