"""What recipes were trained to: one result a file, and the table of what was run and what was not."""

import ast
import collections
import dataclasses
import datetime
import math
from collections.abc import Mapping
from pathlib import Path

from jaxcnn.config import differences
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluate import Result
from jaxcnn.runs import load_config
from jaxcnn.tables.stored import in_percent, markdown, read_results, write_result
from jaxcnn.training.report import read_metrics

_OF_THE_MACHINE = {"data.data_dir", "data.workers"}
"""Options that change no result."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeResult:
    """The last evaluation of a run. Errors are in percent."""

    recipe: str
    images: int
    epochs: float
    errors: dict[int, float]
    """Top-k error, by k."""
    ema_errors: dict[int, float]
    """Of the moving average; empty where none was kept."""
    date: str
    device: str
    versions: dict[str, str]


def result_of(run: Path, recipes: Path) -> RecipeResult:
    """Reads a run's result off its folder.

    Args:
        run: the run's folder.
        recipes: the folder of the recipe that it is called by.

    Raises:
        UserError: there is no such run or recipe, or the run changed its recipe or is not at its end.
    """
    config = load_config(run)
    recipe = load_config(recipes / f"{config.name}.py")
    # What the recipe leaves to the data set is resolved in the run.
    resolved = {"model.num_classes"} if recipe.model.num_classes is None else set()
    if changed := differences(recipe, config).keys() - _OF_THE_MACHINE - resolved:
        raise UserError(
            f"{run} is not of the recipe {config.name} as it stands, because it changes {', '.join(sorted(changed))}: "
            "give it a recipe of its own"
        )
    lines = read_metrics(run / "metrics.jsonl")
    starts, evaluations = ([line for line in lines if line["kind"] == kind] for kind in ("start", "evaluation"))
    steps = math.ceil(config.epochs * starts[-1]["training_images"] / config.data.batch_size) if starts else 0
    if not evaluations or evaluations[-1]["step"] != steps:
        raise UserError(f"{run} is not at its end, so it has no result yet: go on with scripts/train.py {run}")
    found = Result.from_metrics(evaluations[-1])
    modified = (run / "metrics.jsonl").stat().st_mtime
    return RecipeResult(
        recipe=config.name,
        images=found.images,
        epochs=config.epochs,
        errors=found.errors,
        ema_errors=found.ema.errors if found.ema else {},
        date=datetime.datetime.fromtimestamp(modified, datetime.UTC).date().isoformat(),
        device=", ".join(f"{count} {kind}" for kind, count in collections.Counter(starts[-1]["devices"]).items()),
        versions=starts[-1]["versions"],
    )


def save(found: RecipeResult, folder: Path) -> Path:
    """Writes a result to its own file, in place of an older one of the same recipe; returns where.

    Raises:
        UserError: the file cannot be written.
    """
    return write_result(found, folder / f"{found.recipe}.json")


def read(folder: Path) -> dict[str, RecipeResult]:
    """Returns the results that `save` wrote to a folder, by recipe.

    Raises:
        UserError: a file there is no result.
    """
    return {each.recipe: each for each in read_results(folder, RecipeResult).values()}


def table(results: Mapping[str, RecipeResult], recipes: Path) -> str:
    """Returns all recipes in Markdown: what they are, and their errors where they were run.

    Raises:
        UserError: a result is of no recipe.
    """
    rows = [["recipe", "is", "ours", "of the average", "images", "epochs", "run"]]
    paths = {path.stem: path for path in sorted(recipes.glob("*.py"))}
    if unknown := sorted(results.keys() - paths.keys()):
        raise UserError(f"there is a result of {unknown[0]!r}, and no such recipe in {recipes}: remove it")
    for name, path in paths.items():
        ours = ["not run", "", "", "", ""]
        if found := results.get(name):
            errors = in_percent(found.errors, 2), in_percent(found.ema_errors, 2)
            ours = [*errors, str(found.images), f"{found.epochs:g}", f"{found.date}, {found.device}"]
        rows.append([f"`{name}`", ast.get_docstring(ast.parse(path.read_text())).splitlines()[0], *ours])
    return markdown(rows)
