"""ILSVRC's classification submissions: a file with a line for each image, in the official order, of five labels.

Labels count from 1. They are the ``ILSVRC2012_ID`` of the development kit, whose order differs from that of the WordNet
numbers, by which data sets sort the classes. `read_class_numbers` reads which class has which label, from the kit's own
``meta.mat`` too.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int64

from jaxcnn.errors import UserError
from jaxcnn.evaluation.predictions import Predictions

ANSWERS = 5
"""The number of labels in a line; the top-5 error counts an image as right if one of them is right."""


def _lines(path: Path, what: str) -> list[list[int]]:
    """Returns a file's whole numbers, line by line; the last line may be empty, any other must not be."""
    try:
        lines = path.read_text().rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the {what} {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.split() or not all(word.isascii() and word.isdigit() and int(word) for word in line.split()):
            raise UserError(f"line {number} of the {what} {path} holds {line!r}, not labels that count from 1")
        rows.append([int(word) for word in line.split()])
    return rows


def _column(path: Path, what: str) -> np.ndarray:
    rows = _lines(path, what)
    for number, row in enumerate(rows, 1):
        if len(row) != 1:
            raise UserError(f"line {number} of the {what} {path} holds {len(row)} numbers, and must hold one")
    return np.array(rows, np.int64)[:, 0]


def read_class_numbers(
    path: Path, num_classes: int, wordnet_ids: Sequence[str] | None = None
) -> Int64[np.ndarray, " {num_classes}"]:
    """Reads the official number of each of a network's classes.

    Args:
        path: ``meta.mat`` of ILSVRC's development kit, or a text with one number a line.
        num_classes: the number of the network's classes.
        wordnet_ids: the WordNet number of each class, by which ``meta.mat`` is read; None where they are not known.

    Raises:
        UserError: the file cannot be read, or does not number these classes from 1, each once.
    """
    if path.suffix == ".mat":
        if wordnet_ids is None:
            raise UserError(
                f"the classes of {path} have WordNet numbers, and the network's are not known by them: give its class "
                "numbers as a text, one a line"
            )
        official = _meta_numbers(path)
        if missing := [name for name in wordnet_ids if name not in official]:
            raise UserError(
                f"{path} has no number for the class {missing[0]!r}, which the network has: give the numbers of the "
                "network's own classes"
            )
        numbers = np.array([official[name] for name in wordnet_ids], np.int64)
    else:
        numbers = _column(path, "class numbers")
    if not np.array_equal(np.sort(numbers), np.arange(1, num_classes + 1)):
        raise UserError(f"the class numbers {path} must be 1 to {num_classes}, each once, a line for each class")
    return numbers


def _meta_numbers(path: Path) -> dict[str, int]:
    """Returns ``ILSVRC2012_ID`` by WordNet number for the synsets that are classes: those without children."""
    import scipy.io

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"the class numbers {path} cannot be read: {error.strerror}") from None
    try:
        # Arrays are squeezed, because MATLAB has none of fewer than two axes.
        synsets = scipy.io.loadmat(io.BytesIO(content), squeeze_me=True, variable_names=["synsets"])["synsets"]
        return {
            str(each["WNID"]): int(each["ILSVRC2012_ID"]) for each in np.atleast_1d(synsets) if not each["num_children"]
        }
    except Exception as error:  # what SciPy and NumPy raise of another or a damaged file is of many types
        raise UserError(
            f"the class numbers {path} are not the meta.mat of ILSVRC's development kit, which holds synsets with WNID "
            f"and ILSVRC2012_ID: {type(error).__name__}"
        ) from None


def check_new(path: Path) -> None:
    """Refuses to replace a file, before anything is computed for it.

    Raises:
        UserError: the file exists.
    """
    if path.exists():
        raise UserError(f"{path} exists already: remove it, or give another path")


def write_submission(
    path: Path,
    predictions: Predictions,
    image_numbers: Int[np.ndarray, " images"],
    class_numbers: Int[np.ndarray, " classes"],
) -> None:
    """Writes a submission.

    Args:
        path: the file to write, which must not exist yet.
        predictions: the predictions for every image.
        image_numbers: (images,), each image's number in the official order, from 1.
        class_numbers: (classes,), each class's official number, from 1.

    Raises:
        UserError: the file exists, or cannot be written; or some image has no answer.
    """
    check_new(path)
    if missing := int((~predictions.known).sum()):
        raise UserError(f"{missing} images cannot be read, so they have no answer: `jaxcnn data check` names them")
    top = predictions.top(ANSWERS)
    rows = np.empty_like(class_numbers, shape=top.shape)
    rows[image_numbers - 1] = class_numbers[top]
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def score_submission(
    submission: Path, truth: Path, num_classes: int, left_out: Path | None = None
) -> tuple[int, dict[int, float]]:
    """Returns the number of images that were scored, and the top-1 and top-5 error in percent.

    By ILSVRC's rules a line may hold fewer than five labels; the first is the top-1 answer.

    Args:
        submission: the file to score, with up to five labels a line.
        truth: a file with the right label of each image, one a line: ``ILSVRC2012_validation_ground_truth.txt``.
        num_classes: the number of classes, which is the highest label.
        left_out: a file with the numbers, from 1, of images that do not count, one a line: the blacklist.

    Raises:
        UserError: a file cannot be read, a line is wrong, or the files do not fit together.
    """
    answers, labels = _lines(submission, "submission"), _column(truth, "ground truth")
    if len(answers) != len(labels):
        raise UserError(
            f"{submission} has {len(answers)} lines, and {truth} {len(labels)}: both must have a line for each image"
        )
    if labels.max() > num_classes:
        raise UserError(f"the ground truth {truth} names label {labels.max()}, and there are {num_classes} classes")
    for number, row in enumerate(answers, 1):
        if len(row) > ANSWERS:
            raise UserError(
                f"line {number} of the submission {submission} holds {len(row)} labels, and may hold {ANSWERS}"
            )
        if len(set(row)) != len(row):
            raise UserError(f"line {number} of the submission {submission} names a label twice: {row}")
        if max(row) > num_classes:
            raise UserError(
                f"line {number} of the submission {submission} names label {max(row)}, and there are {num_classes} "
                "classes"
            )
    kept = np.ones(len(labels), bool)
    if left_out is not None:
        numbers = _column(left_out, "list of images left out")
        if numbers.max() > len(labels):
            raise UserError(f"{left_out} leaves out image {numbers.max()}, and {truth} has {len(labels)}")
        kept[numbers - 1] = False
        if not kept.any():
            raise UserError(f"{left_out} leaves out every image: shorten it")
    right = {k: [label in row[:k] for row, label in zip(answers, labels, strict=True)] for k in (1, ANSWERS)}
    images = int(kept.sum())
    return images, {k: 100 * (images - int(np.array(hits)[kept].sum())) / images for k, hits in right.items()}
