"""The errors that recipes reached when they were run: a file for each result, and the table of all recipes."""

import collections
import dataclasses
import datetime
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from jaxcnn.config import TrainConfig, differences
from jaxcnn.config.train import CHANGES_NO_BITS
from jaxcnn.errors import UserError
from jaxcnn.evaluation.result import Result
from jaxcnn.recipes import find_recipes, load_config
from jaxcnn.run_changes import with_whole_paths
from jaxcnn.run_folder import OVERRIDES_FILE
from jaxcnn.tables.stored import in_percent, markdown, read_results, write_result
from jaxcnn.training.epochs import whole_steps
from jaxcnn.training.report import read_metrics
from jaxcnn.types import JsonObject


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeResult:
    """The last evaluation of a run. Errors are in percent."""

    recipe: str
    """The name of the recipe."""
    images: int
    epochs: float
    errors: dict[int, float]
    """The top-k error, by k."""
    ema_errors: dict[int, float]
    """The top-k error of the moving average, by k; empty where none was kept."""
    date: str
    device: str
    versions: dict[str, str]


def result_of(run: Path, recipes: Path) -> RecipeResult:
    """Reads the result of a run from its folder.

    Args:
        run: the run's folder.
        recipes: the folder with the recipe of the run's name.

    Raises:
        UserError: there is no such run or recipe, or the run changes its recipe or is not at its end.
    """
    if (record := run / OVERRIDES_FILE).exists():
        raise UserError(
            f"{run} was changed while it ran ({record}): it is no result of its recipe; train the recipe anew"
        )
    config = load_config(run)
    recipe = load_config(recipes / f"{config.name}.py")
    # What the recipe leaves to the data set is resolved in the run.
    resolved = {"model.num_classes"} if recipe.model.num_classes is None else set()
    if changed := differences(with_whole_paths(recipe), config).keys() - CHANGES_NO_BITS - {"data.data_dir"} - resolved:
        raise UserError(
            f"{run} is not of the recipe {config.name} as it stands, because it changes {', '.join(sorted(changed))}: "
            "give it a recipe of its own"
        )
    found, begun = last_evaluation(run, config)
    modified = (run / "metrics.jsonl").stat().st_mtime
    return RecipeResult(
        recipe=config.name,
        images=found.images,
        epochs=config.epochs,
        errors=found.errors,
        ema_errors=found.ema.errors if found.ema else {},
        date=datetime.datetime.fromtimestamp(modified, datetime.UTC).date().isoformat(),
        device=", ".join(f"{count} {kind}" for kind, count in collections.Counter(begun["devices"]).items()),
        versions=begun["versions"],
    )


class LastEvaluation(NamedTuple):
    """The evaluation at the end of a run."""

    result: Result
    begun: JsonObject
    """What the log says of the process that ended the run: its devices, its versions."""


def last_evaluation(run: Path, config: TrainConfig) -> LastEvaluation:
    """Returns the evaluation at the end of a run.

    Args:
        run: the run's folder.
        config: the run's config.

    Raises:
        UserError: the run is not at its end.
    """
    lines = read_metrics(run / "metrics.jsonl")
    starts, evaluations = ([line for line in lines if line["kind"] == kind] for kind in ("start", "evaluation"))
    per_epoch = Fraction(starts[-1]["training_images"] if starts else 0, config.data.batch_size)
    steps = whole_steps(config.epochs, per_epoch)
    if not evaluations or evaluations[-1]["step"] != steps:
        raise UserError(f"{run} is not at its end, so it has no result yet: go on with `jaxcnn train {run}`")
    return LastEvaluation(Result.from_metrics(evaluations[-1]), starts[-1])


def save(found: RecipeResult, folder: Path) -> Path:
    """Writes a result to its own file in place of an older one of the same recipe, and returns the path.

    Raises:
        UserError: the file cannot be written.
    """
    return write_result(found, folder / f"{found.recipe}.json")


def read(folder: Path) -> dict[str, RecipeResult]:
    """Returns the results that `save` wrote to a folder, by recipe.

    Raises:
        UserError: a file in it is not a result.
    """
    return {each.recipe: each for each in read_results(folder, RecipeResult).values()}


def table(results: Mapping[str, RecipeResult], recipes: Path) -> str:
    """Returns the recipes as a Markdown table: what each is, and its errors where it was run.

    Args:
        results: the results, by the recipe's name.
        recipes: the folder of the recipes.

    Raises:
        UserError: a result is of no recipe.
    """
    rows = [["recipe", "is", "ours", "of the average", "images", "epochs", "run"]]
    found_recipes = find_recipes("*", recipes)
    if unknown := sorted(results.keys() - found_recipes.keys()):
        raise UserError(f"there is a result of {unknown[0]!r}, and no such recipe in {recipes}: remove it")
    for name, recipe in found_recipes.items():
        ours = ["not run", "", "", "", ""]
        if found := results.get(name):
            errors = in_percent(found.errors, 2), in_percent(found.ema_errors, 2)
            ours = [*errors, str(found.images), f"{found.epochs:g}", f"{found.date}, {found.device}"]
        rows.append([f"`{name}`", recipe.summary, *ours])
    return markdown(rows)
