"""Measures published weights as their publisher does, and prints ours beside the published errors.

    jaxcnn reproduce NETWORK [--weights SOURCE] --data.name tfds:imagenet2012
    jaxcnn reproduce --run RUN_FOLDER
    jaxcnn reproduce --tables

A result of as many images as were published is stored in docs/results of the working directory, and so is the last
evaluation of a run that trained a recipe; --tables writes docs/results.md anew from there.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import rich.table
import tyro

from jaxcnn.cli.shared import console
from jaxcnn.config import DataConfig, EvaluationConfig
from jaxcnn.errors import UserError
from jaxcnn.evaluation.details import in_words, wilson_interval
from jaxcnn.recipes import SHIPPED
from jaxcnn.tables import recipe_results, reproduction
from jaxcnn.tables.reproduction import TOP_K, Reproduction, published_errors
from jaxcnn.tables.stored import write_tables


@dataclasses.dataclass(frozen=True)
class Data:
    """ILSVRC-2012's validation images."""

    name: str = "tfds:imagenet2012"
    """The data set, tfds:NAME or folder:PATH, as for `jaxcnn evaluate`."""
    data_dir: str | None = None
    """The folder where tfds keeps its prepared data sets; by default $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    evaluation_split: str | None = None
    """The split; by default validation, val, valid or the like where the data set has one, else test."""
    workers: int | None = None
    """The number of threads that decode; by default one for each core."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure published weights as their publisher does."""

    network: tyro.conf.Positional[str | None] = None
    """A model's name."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """The weights, torchvision[/NAME], timm[/NAME] or lite0 to lite2; by default the first published of the network."""
    data: Data = Data()
    batch_size: int = EvaluationConfig().batch_size
    """The number of images that the network takes together."""
    run: Annotated[Path | None, tyro.conf.arg(metavar="RUN_FOLDER")] = None
    """A run that trained a recipe, whose last evaluation is stored."""
    results: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("docs/results")
    """The folder where results are stored."""
    recipes: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = SHIPPED
    """The folder of the recipes."""
    document: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("docs/results.md")
    """The document that holds the tables."""
    tables: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write the tables of all stored results into the document."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn reproduce", args=arguments)
    if chosen.network is None and chosen.run is None and not chosen.tables:
        raise UserError("say which network's published errors to reproduce, --run and which run to store, or --tables")
    of_weights, of_recipes = chosen.results / "weights", chosen.results / "recipes"
    if chosen.network is not None:
        data = DataConfig(**dataclasses.asdict(chosen.data))
        found = reproduction.reproduce(chosen.network, chosen.weights, data, chosen.batch_size)
        print_comparison(found)
        if found.comparable:
            print(f"stored in {reproduction.save(found, of_weights)}")
        else:
            print(
                f"the published errors are of {found.entry.images} images, and these of {found.images}: they cannot be "
                "compared, and nothing is stored"
            )
    if chosen.run is not None:
        result = recipe_results.result_of(chosen.run, chosen.recipes)
        print(in_words(result.errors, result.images))
        print(f"stored in {recipe_results.save(result, of_recipes)}")
    if chosen.tables:
        tables = {
            "recipes": recipe_results.table(recipe_results.read(of_recipes), chosen.recipes),
            "weights": reproduction.table(reproduction.read(of_weights)),
        }
        write_tables(chosen.document, tables)
    return 0


def print_comparison(found: Reproduction) -> None:
    """Prints a line for each error."""
    columns = ["", "ours", "95 % interval", "published", "difference", "in the interval"]
    table = rich.table.Table(*columns, title=f"{found.model}, {found.weights}: {found.protocol}")
    for k in TOP_K:
        low, high = wilson_interval(found.errors[k], found.images)
        ours = [f"top-{k} error", f"{found.errors[k]:.3f} %", f"{low:.2f} to {high:.2f}"]
        published = published_errors(found.entry).get(k)
        theirs = ["not published", "", ""]
        if published is not None:
            theirs = [f"{published:.3f} %", f"{found.difference(k):+.3f}", "yes" if found.is_within(k) else "no"]
        table.add_row(*ours, *theirs)
    console().print(table)
    print(f"{found.images} images of {found.data}")
