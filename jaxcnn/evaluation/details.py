"""What is quoted beside an error: its confidence interval, the errors of the classes, and which are confused."""

import dataclasses
import io
import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64

from jaxcnn import strict_json
from jaxcnn.errors import UserError
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.evaluation.result import Result
from jaxcnn.paths import replace_whole
from jaxcnn.types import Json

RESULT_FILE, DETAILS_FILE = "result.json", "details.npz"
"""The files that `save_details` writes."""
_DEVIATIONS = 1.959963984540054
"""The number of standard deviations on each side of the mean between which 95 % of a normal distribution lie."""


def wilson_interval(error: float, images: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a proportion by Wilson's score (1927), in percent.

    The interval is for the error on infinitely many images like these. It accounts for the chance by which the images
    were drawn and for nothing else: neither for training with another seed nor for images of another kind. Two networks
    that were measured on the same images can be told apart better than by two such intervals.

    Args:
        error: the share of wrong answers, in percent.
        images: the number of images that were measured.

    Examples:
        >>> [round(bound, 2) for bound in wilson_interval(23.87, 50_000)]
        [23.5, 24.25]
    """
    share, square = error / 100, _DEVIATIONS**2
    middle = share + square / (2 * images)
    half = _DEVIATIONS * math.sqrt(share * (1 - share) / images + square / (4 * images**2))
    low, high = ((middle + sign * half) / (1 + square / images) for sign in (-1, 1))
    return max(0.0, 100 * low), min(100.0, 100 * high)


def in_words(errors: Mapping[int, float], images: int) -> str:
    """Returns a line for each top-k error in percent, with its interval, and a line for the number of images."""
    lines = []
    for k, error in errors.items():
        low, high = wilson_interval(error, images)
        lines.append(f"top-{k} error {error:.2f} % (95 % interval by Wilson's score: {low:.2f} to {high:.2f})")
    return "\n".join([*lines, f"{images} images"])


def confusion_matrix(
    labels: Int[np.ndarray, " images"], answers: Int[np.ndarray, " images"], num_classes: int
) -> Int64[np.ndarray, "{num_classes} {num_classes}"]:
    """Returns how often each class (row) was taken for each (column), int64 of shape (num_classes, num_classes).

    Args:
        labels: (images,), integers.
        answers: (images,), integers: the class of the highest score.
        num_classes: the number of classes.
    """
    pairs = labels.astype(np.int64) * num_classes + answers
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_errors(
    labels: Int[np.ndarray, " images"], ranks: Int[np.ndarray, " images"], k: int, num_classes: int
) -> Float64[np.ndarray, " {num_classes}"]:
    """Returns the top-k error of each class in percent, float64 (num_classes,); NaN for a class without images."""
    images = np.bincount(labels, minlength=num_classes)
    wrong = np.bincount(labels[ranks >= k], minlength=num_classes)
    return np.divide(100 * wrong, images, out=np.full(num_classes, np.nan), where=images > 0)


def save_details(
    folder: Path,
    predictions: Predictions,
    class_names: Sequence[str],
    top_k: tuple[int, ...],
    facts: Mapping[str, Json],
) -> None:
    """Writes everything that a result rests on to two files.

    ``result.json`` holds the errors, their intervals, ``facts``, and the number of images and the errors of each class.
    ``details.npz`` holds ``confusion`` (rows are the labels, columns the answers) and, for each image that was read,
    ``image`` (its index in the split), ``label``, ``rank`` (0 is a top-1 hit), ``top`` (the classes of the highest
    scores, best first) and ``probability`` (theirs).

    Args:
        folder: the folder to write to, which is made if need be; files of these names in it are replaced.
        predictions: the predictions for the split.
        class_names: the names of the classes, by label.
        top_k: each k for which errors are written.
        facts: what was measured and how, as JSON takes it.

    Raises:
        UserError: some score is not a number, or the folder cannot be written.
    """
    count = len(class_names)
    labels, ranks = predictions.labels[predictions.known], predictions.ranks()
    top, result = predictions.top(min(5, count)), predictions.result(top_k)
    errors = {k: class_errors(labels, ranks, k, count) for k in top_k}
    images = np.bincount(labels, minlength=count)
    classes = [
        {"class": name, "images": int(images[label])}
        | {f"top{k}_error": float(errors[k][label]) if images[label] else None for k in top_k}
        for label, name in enumerate(class_names)
    ]
    intervals = {f"top{k}_interval": wilson_interval(error, result.images) for k, error in result.errors.items()}
    report = {**facts, **result.metrics(), **intervals, "interval": "95 %, Wilson's score", "classes": classes}
    details = io.BytesIO()
    np.savez_compressed(
        details,
        confusion=confusion_matrix(labels, top[:, 0], count),
        image=np.flatnonzero(predictions.known),
        label=labels,
        rank=ranks,
        top=top,
        probability=predictions.confidences(top),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The result comes last: a folder without it has not been measured.
        replace_whole(folder / DETAILS_FILE, details.getvalue())
        replace_whole(folder / RESULT_FILE, strict_json.dumps(report, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from None


class ClassError(NamedTuple):
    """How often images of a class were not recognized."""

    name: str
    images: int
    """The number of images of the class that were measured."""
    errors: dict[int, float | None]
    """The top-k error in percent, by k; None where there are no images."""


@dataclasses.dataclass(frozen=True, eq=False)
class Details:
    """What `save_details` has written: everything that a result rests on."""

    facts: Mapping[str, Json]
    """The facts that were given when it was written, and everything else of ``result.json``."""
    classes: tuple[ClassError, ...]
    """The classes, by label."""
    confusion: Int64[np.ndarray, "classes classes"]
    """How often each class (row) was taken for each (column)."""
    image: Int[np.ndarray, " images"]
    """The index of each image in the split."""
    label: Int[np.ndarray, " images"]
    top: Int[np.ndarray, "images k"]
    """The classes of the highest scores, best first."""
    probability: Float32[np.ndarray, "images k"]
    """The probabilities of these classes."""

    def confident_mistakes(self, count: int) -> Int64[np.ndarray, " mistakes"]:
        """Returns the rows of the wrong answers of which the network was most certain, the most certain first."""
        wrong = np.flatnonzero(self.top[:, 0] != self.label)
        return wrong[np.argsort(-self.probability[wrong, 0], kind="stable")][:count]


def read_details(folder: Path) -> Details | None:
    """Returns what `save_details` wrote to a folder; None where there is nothing that can be read."""
    try:
        stored = json.loads((folder / RESULT_FILE).read_text())
        classes = tuple(
            ClassError(
                each["class"],
                each["images"],
                {int(found[1]): each[name] for name in each if (found := re.fullmatch(r"top(\d+)_error", name))},
            )
            for each in stored["classes"]
        )
        with np.load(folder / DETAILS_FILE) as arrays:
            return Details(
                stored,
                classes,
                *(arrays[name] for name in ("confusion", "image", "label", "top")),
                arrays["probability"],
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def read_result(folder: Path) -> Result:
    """Returns the result that `save_details` wrote to a folder.

    Raises:
        UserError: there is none, or the file holds something else.
    """
    path = folder / RESULT_FILE
    try:
        stored = json.loads(path.read_text())
        errors = {int(found[1]): stored[name] for name in stored if (found := re.fullmatch(r"top(\d+)_error", name))}
        return Result(stored["images"], stored["loss"], errors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it holds no result"
        raise UserError(f"{path} cannot be read: {said}: measure again") from None
