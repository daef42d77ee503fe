"""Lists the recipes that come with this package.

jaxcnn recipes [PATTERN]
jaxcnn recipes [PATTERN] --markdown                    the first table of docs/recipes.md
jaxcnn recipes [PATTERN] --topology h100:8             the others: what each takes on devices that need not be there
jaxcnn recipes [PATTERN] --topology h100:8 --json FILE the same, which goes on with what FILE holds
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import tyro

from jaxcnn.devices.topologies import topology_lines
from jaxcnn.errors import UserError
from jaxcnn.laboratory.memory_table import memory_lines
from jaxcnn.recipes import Recipe, find_recipes
from jaxcnn.tables.recipes import published_errors, recipe_lines


@dataclasses.dataclass(frozen=True)
class Arguments:
    """List the recipes that come with this package: `jaxcnn train NAME` trains one."""

    pattern: tyro.conf.Positional[str] = "*"
    """A shell pattern of names."""
    markdown: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a table in Markdown."""
    topology: str | None = None
    """Compile each recipe's step for these GPUs or TPUs, such as h100:8 or v5e:4x4, for minutes each, and print the
    memory it takes in Markdown; `list` shows what can be compiled for."""
    json: Path | None = None
    """With --topology: a file that keeps what was found of each recipe, which is not compiled again."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn recipes", args=arguments)
    recipes = find_recipes(chosen.pattern)
    configs = [recipe.config for recipe in recipes.values()]
    if chosen.json and not chosen.topology:
        raise UserError("--json keeps what is found with --topology: add it, as in --topology h100:8")
    if chosen.topology == "list":
        lines = topology_lines()
    elif chosen.topology:
        lines = memory_lines(configs, chosen.topology, chosen.json)
    elif chosen.markdown:
        lines = recipe_lines(configs)
    else:
        lines = _listed(recipes.values())
    for line in lines:
        print(line, flush=True)
    return 0


def _listed(recipes: Iterable[Recipe]) -> Iterable[str]:
    """Yields the name of each recipe, and below it what is trained, for how long, and which error was published."""
    for recipe in recipes:
        config = recipe.config
        facts = [config.model.name, config.data.name, f"{config.epochs:.4g} epochs"]
        if errors := published_errors(config):
            facts.append(f"published error {errors} %")
        yield recipe.name
        yield f"    {', '.join(facts)}"
        yield f"    {recipe.summary}"
