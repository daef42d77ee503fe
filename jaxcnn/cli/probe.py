"""Fits a classifier to the features of one split, and measures it on those of another.

    jaxcnn probe FOLDER [--kind svm|softmax|knn] [--layer NAME] [--fit-on SPLIT] [--measure-on SPLIT]
    jaxcnn probe FOLDER --regularization 0.1 1 10 --folds 3 [--workdir FOLDER]

FOLDER is what `jaxcnn features` wrote. Cross-validation on the first split chooses the regularization, or the number of
neighbours. The exit code is 0 where the probe was measured; 75 where SIGTERM or SIGINT has stopped it with everything
saved, after which the same command goes on, as it does after any other end.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.config import EvaluationConfig
from jaxcnn.config.features import ProbeConfig
from jaxcnn.evaluation.details import in_words
from jaxcnn.features.probing import probe
from jaxcnn.training.interrupt import EXIT_STOPPED


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Fit a classifier to features, and measure it."""

    folder: tyro.conf.Positional[Path]
    """The folder of the features."""
    probe: Annotated[ProbeConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=ProbeConfig)
    layer: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The layer; it may be left out where the folder holds one."""
    fit_on: Annotated[str | None, tyro.conf.arg(metavar="SPLIT")] = None
    """The split to fit to; by default train, or the only one that begins so."""
    measure_on: Annotated[str | None, tyro.conf.arg(metavar="SPLIT")] = None
    """The split to measure on; it may be left out where the folder holds one beside the other."""
    workdir: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """The folder of the probe, where it goes on; by default one in probes/ in the folder of the features."""
    top_k: tuple[int, ...] = EvaluationConfig.top_k
    """Each k for which an error is counted: an image counts as right if its label is among the k highest scores. Those
    that are not below the number of classes are left out, because their error is always 0."""
    details: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """The folder to save each class's error, the confusion matrix, and each image's answer to; by default that of the
    probe."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn probe", args=arguments)
    found = probe(
        chosen.folder,
        chosen.probe,
        layer=chosen.layer,
        fit_on=chosen.fit_on,
        measure_on=chosen.measure_on,
        workdir=chosen.workdir,
        top_k=chosen.top_k,
        details=chosen.details,
    )
    if found is None:
        print("stopped as asked, everything so far is saved; the same command goes on")
        return EXIT_STOPPED
    what = "neighbours" if chosen.probe.kind == "knn" else "regularization"
    for row in found.probe.table:
        said = "  chosen" if row.value == found.probe.chosen else ""
        print(f"{what} {row.value:g}: top-1 error in cross-validation {row.error:.2f} %{said}")
    print(in_words(found.result.errors, found.result.images))
    return 0
