"""The tables in docs/families: what each network is, what others published of it, its options and its recipes."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxcnn.models.registry import families
from jaxcnn.models.variant import Published, Variant
from jaxcnn.recipes import Recipe, find_recipes
from jaxcnn.tables.networks import counted, describe
from jaxcnn.tables.options import options_table, shared_options_table
from jaxcnn.tables.stored import markdown, write_tables
from jaxcnn.weights.published import PublishedWeights, published_weights

COMMAND = "jaxcnn models --pages"
"""The command that writes the tables, which the lines around each of them name."""
INDEX = "index"
"""The name of the page of all families."""


def our_families() -> dict[str, list[Variant]]:
    """Returns the networks of each family that comes with this package, by the family's name, which its page has."""
    kept = {
        family: [variant for variant in variants if variant.name in counted()]
        for family, variants in families().items()
    }
    return {family: variants for family, variants in kept.items() if variants}


def page_tables() -> dict[str, dict[str, str]]:
    """Returns the tables of each page by name, by the name of the page."""
    of_families, recipes = our_families(), find_recipes().values()
    pages = {family: family_tables(variants, recipes) for family, variants in of_families.items()}
    return {INDEX: {"networks": _overview(of_families), "options": shared_options_table()}, **pages}


def family_tables(variants: Sequence[Variant], recipes: Iterable[Recipe]) -> dict[str, str]:
    """Returns the tables of a family's page in Markdown, by name.

    Args:
        variants: the networks of the family.
        recipes: all recipes.
    """
    return {
        "networks": networks_table(variants),
        "recipes": recipes_table(variants, recipes),
        "options": options_table(variants) or "Its networks have no options of their own.\n",
        "errors": errors_table(variants),
    }


def networks_table(variants: Sequence[Variant]) -> str:
    """Returns a line for each network: its size, its cost, its input, and who publishes weights of it."""
    rows = [["network", "parameters", "multiply-adds", "depth", "input", "weights"]]
    for variant in variants:
        publishers = dict.fromkeys(entry.source.partition("/")[0] for entry in published_weights(variant.name))
        rows.append([*_facts(variant), ", ".join(publishers)])
    return markdown(rows, right=(1, 2, 3))


def errors_table(variants: Sequence[Variant]) -> str:
    """Returns a line for each published error and each file of weights; none of the errors is ours."""
    rows = [["network", "source, or weights", "top-1 error, %", "top-5 error, %", "measured on"]]
    releases: dict[str, None] = {}
    for variant in variants:
        rows += [_error_row(variant.name, each.source, each) for each in variant.published]
        for entry in published_weights(variant.name):
            rows.append(_error_row(variant.name, _weights(entry), entry.published))
            if entry.top1_accuracy is not None:
                releases[entry.release] = None
    if len(rows) == 1:
        return "No errors are published of these networks.\n"
    text = "An error is of ILSVRC-2012's validation images, unless its row names others."
    if releases:
        text += f" Weights have the name that `--weights` takes; their errors are from {' and '.join(releases)}."
    return f"{textwrap.fill(text, 120)}\n\n{markdown(rows, right=(2, 3))}"


def recipes_table(variants: Sequence[Variant], recipes: Iterable[Recipe]) -> str:
    """Returns a line for each recipe that trains one of the networks."""
    names = {variant.name for variant in variants}
    rows = [["recipe", "network", "what it is"]]
    rows += [
        [
            f"[`{recipe.name}`](../../configs/{recipe.name}.py)",
            f"`{recipe.config.model.name}`",
            recipe.summary.replace("``", "`"),
        ]
        for recipe in recipes
        if recipe.config.model.name in names
    ]
    return markdown(rows) if len(rows) > 1 else "No recipe trains one of these networks.\n"


def write_pages(folder: Path) -> list[Path]:
    """Writes the tables into the pages of all families, and returns the pages.

    Raises:
        UserError: a page cannot be read and written, or lacks the lines of a table.
    """
    paths = []
    for name, tables in page_tables().items():
        path = folder / f"{name}.md"
        write_tables(path, tables, COMMAND)
        paths.append(path)
    return paths


def _overview(of_families: dict[str, list[Variant]]) -> str:
    rows = [["network", "parameters", "multiply-adds", "depth", "input", "page"]]
    for family, variants in of_families.items():
        rows += [[*_facts(variant), f"[{family}]({family}.md)"] for variant in variants]
    return markdown(rows, right=(1, 2, 3))


def _facts(variant: Variant) -> list[str]:
    row = describe(variant.name)
    size = "\N{MULTIPLICATION SIGN}".join(map(str, row.input_shape))
    return [f"`{row.name}`", f"{row.parameters:,}", f"{row.multiply_adds / 1e6:,.1f} M", str(row.depth), size]


def _error_row(name: str, source: str, published: Published) -> list[str]:
    errors = published.top1_error, published.top5_error
    measured = published.protocol.replace(", ILSVRC-2012 validation", "")
    if errors == (None, None):
        return [f"`{name}`", source, "none", "none", ""]
    return [f"`{name}`", source, *("?" if error is None else str(error) for error in errors), measured]


def _weights(entry: PublishedWeights) -> str:
    """Returns the name of weights, with what their label says beside it, and the options that they need."""
    label, name = entry.label, entry.source.partition("/")[2]
    label = label.removeprefix(name) if label.startswith(name) else f", {label}"
    return f"`{entry.source}`{label}" + "".join(f"; {option}={value!r}" for option, value in entry.options.items())
