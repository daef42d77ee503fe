#!/usr/bin/env python3
"""Measures published weights as their publisher does, and prints ours beside the published errors.

    reproduce.py NETWORK [--weights SOURCE] --data.name tfds:imagenet2012
    reproduce.py --table

A result of as many images as were published is stored in docs/results; --table writes docs/results.md anew from there.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import rich.console
import rich.table
import tyro

from jaxcnn.analysis.reproduction import TOP_K, Reproduction, published_errors, read, reproduce, save, with_table
from jaxcnn.config import DataConfig, EvaluationConfig
from jaxcnn.errors import UserError, run_script
from jaxcnn.evaluation.details import wilson_interval

DOCUMENTS = Path(__file__).parent.parent / "docs"


@dataclasses.dataclass(frozen=True)
class Data:
    """ILSVRC-2012's validation images."""

    name: str = "tfds:imagenet2012"
    """tfds:NAME or folder:PATH, as for `evaluate.py`."""
    data_dir: str | None = None
    """Where tfds keeps its prepared data sets; by default $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    evaluation_split: str | None = None
    """By default validation where the data set has one, else test."""
    workers: int | None = None
    """Threads that decode; by default one a core."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure published weights as their publisher does."""

    network: tyro.conf.Positional[str | None] = None
    """A model's name."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """torchvision[/NAME], timm[/NAME] or lite0; by default the first published of the network."""
    data: Data = Data()
    batch_size: int = EvaluationConfig().batch_size
    """Images that the network takes together."""
    results: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = DOCUMENTS / "results"
    """Where results are stored."""
    document: Annotated[Path, tyro.conf.arg(metavar="FILE")] = DOCUMENTS / "results.md"
    """The document that holds the table."""
    table: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write the table of all stored results into the document."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, args=arguments)
    if chosen.network is None and not chosen.table:
        raise UserError("say which network's published errors to reproduce, or --table")
    if chosen.network is not None:
        data = DataConfig(**dataclasses.asdict(chosen.data))
        found = reproduce(chosen.network, chosen.weights, data, chosen.batch_size)
        print_comparison(found)
        if found.comparable:
            print(f"stored in {save(found, chosen.results)}")
        else:
            print(
                f"the published errors are of {found.entry.images} images, and these of {found.images}: they do not "
                "compare, and nothing is stored"
            )
    if chosen.table:
        try:
            chosen.document.write_text(with_table(chosen.document.read_text(), read(chosen.results)))
        except OSError as error:
            raise UserError(f"{chosen.document} cannot be read and written: {error.strerror}") from None
    return 0


def print_comparison(found: Reproduction) -> None:
    """One line an error."""
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
    rich.console.Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(f"{found.images} images of {found.data}")


if __name__ == "__main__":
    sys.exit(run_script(main))
