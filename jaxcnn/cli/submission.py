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
    """Up to five labels a line, counted from 1, a line an image."""
    truth: Path
    """The right label of each image, a line each."""
    classes: int = 1000
    """The highest label there is."""
    leave_out: Path | None = None
    """Numbers of images that do not count, from 1, a line each."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn submission", args=arguments)
    images, errors = score_submission(chosen.submission, chosen.truth, chosen.classes, chosen.leave_out)
    print(in_words(errors, images))
    return 0
