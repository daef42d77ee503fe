"""Scores an ILSVRC submission file, as `jaxcnn evaluate --submission FILE` writes it.

jaxcnn submission SUBMISSION --truth ILSVRC2012_validation_ground_truth.txt [--leave-out BLACKLIST]
"""

import dataclasses
from pathlib import Path

import tyro

from jaxcnn.evaluation.details import in_words
from jaxcnn.evaluation.submission import score_submission


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Score an ILSVRC submission file."""

    submission: tyro.conf.Positional[Path]
    """The file to score: a line of up to five labels, counted from 1, for each image."""
    truth: Path
    """A file with the right label of each image, one a line."""
    classes: int = 1000
    """The number of classes, which is the highest label."""
    leave_out: Path | None = None
    """A file with the numbers, from 1, of images that do not count, one a line."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn submission", args=arguments)
    images, errors = score_submission(chosen.submission, chosen.truth, chosen.classes, chosen.leave_out)
    print(in_words(errors, images))
    return 0
