"""The objects that were found in an image, and files of COCO's results, which hold those of many images."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32
from numpy.typing import ArrayLike

from jaxcnn import strict_json
from jaxcnn.detection.boxes import check_boxes
from jaxcnn.detection.suppression import suppress_each_class
from jaxcnn.errors import UserError, writing
from jaxcnn.paths import replace_whole
from jaxcnn.types import Json, JsonObject


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one image, by descending score.

    Of equal scores, what was given first comes first.

    Raises:
        UserError: the arrays do not fit each other, a score is not finite, a label is negative, or `check_boxes` finds
            fault with a box.
    """

    boxes: Float32[np.ndarray, "found 4"]
    """The boxes: left, top, right and bottom, in pixels."""
    scores: Float32[np.ndarray, " found"]
    """The scores, of any sign."""
    labels: Int32[np.ndarray, " found"]
    """The labels of the classes."""

    def __post_init__(self) -> None:
        types = [array.dtype for array in (self.boxes, self.scores, self.labels)]
        if types != [np.float32, np.float32, np.int32]:
            raise ValueError(
                f"boxes, scores and labels must be float32, float32 and int32, not {', '.join(map(str, types))}"
            )
        boxes, scores, labels = check_boxes(self.boxes, "the detections"), self.scores, self.labels
        if not scores.shape == labels.shape == (len(boxes),):
            raise UserError(
                f"detections of {len(boxes)} boxes have scores {scores.shape} and labels {labels.shape}: "
                "give one of each for every box"
            )
        if not np.isfinite(scores).all():
            raise UserError(f"the detections include a score of {scores[~np.isfinite(scores)][0]}: give finite scores")
        if (labels < 0).any():
            raise UserError(f"the detections include the label {labels.min()}: give labels from 0 on")
        order = np.argsort(-scores, kind="stable")
        for name, values in (("boxes", boxes), ("scores", scores), ("labels", labels)):
            object.__setattr__(self, name, values[order])

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of(cls, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike) -> "Detections":
        """Returns detections of sequences or arrays of any numbers.

        Raises:
            UserError: as the class does.
        """
        with np.errstate(over="ignore"):  # what float32 does not hold is refused, as it is not finite
            return cls(
                check_boxes(boxes, "the detections"),
                np.asarray(scores, np.float32).reshape(-1),
                np.asarray(labels, np.int32).reshape(-1),
            )

    @classmethod
    def none(cls) -> "Detections":
        """Returns the detections of an image in which nothing was found."""
        return cls.of([], [], [])

    @classmethod
    def of_classes(
        cls,
        boxes: Float[np.ndarray, "boxes 4"] | Float[np.ndarray, "boxes classes 4"],
        scores: Float[np.ndarray, "boxes classes"],
        indices: Int[np.ndarray, "classes kept"],
        valid: Bool[np.ndarray, "classes kept"],
        minimum: float = -math.inf,
    ) -> "Detections":
        """Returns what `jaxcnn.detection.suppression.suppress_each_class` has kept.

        Args:
            boxes: as it takes them.
            scores: as it takes them.
            indices: as it returns them.
            valid: as it returns them.
            minimum: the lowest score that counts as a detection.
        """
        label, place = np.nonzero(valid)
        row = np.asarray(indices)[label, place]
        own = np.asarray(boxes)[row] if np.ndim(boxes) == 2 else np.asarray(boxes)[row, label]
        found = np.asarray(scores)[row, label]
        enough = found >= minimum
        return cls.of(own[enough], found[enough], label[enough])

    @classmethod
    def suppressed(
        cls,
        boxes: Float[np.ndarray, "boxes 4"] | Float[np.ndarray, "boxes classes 4"],
        scores: Float[np.ndarray, "boxes classes"],
        threshold: float,
        limit: int,
    ) -> "Detections":
        """Returns what `jaxcnn.detection.suppression.suppress_each_class` keeps of scored boxes.

        The number of boxes is rounded up to a power of two, so that little is compiled; none is kept of those added.

        Args:
            boxes: as it takes them; there is at least one.
            scores: as it takes them.
            threshold: as it takes it.
            limit: as it takes it.
        """
        missing = (1 << (len(boxes) - 1).bit_length()) - len(boxes)
        padded = np.pad(boxes, ((0, missing), *[(0, 0)] * (boxes.ndim - 1)))
        worse = np.pad(scores, ((0, missing), (0, 0)), constant_values=-np.inf)
        return cls.of_classes(boxes, scores, *map(np.asarray, suppress_each_class(padded, worse, threshold, limit)))

    def best(self, limit: int) -> "Detections":
        """Returns those of the highest scores, so many at most."""
        return Detections(self.boxes[:limit], self.scores[:limit], self.labels[:limit])

    def above(self, minimum: float) -> "Detections":
        """Returns those of at least this score."""
        return self.best(int((self.scores >= minimum).sum()))

    def results(self, image_id: int, category_ids: Sequence[int]) -> list[JsonObject]:
        """Returns COCO's results: for each box an object with ``image_id``, ``category_id``, ``bbox`` and ``score``.

        Args:
            image_id: COCO's number of the image.
            category_ids: COCO's number of each class, by label.

        Raises:
            UserError: a label is none of a class.
        """
        if len(self) and self.labels.max() >= len(category_ids):
            raise UserError(
                f"the detections of image {image_id} include the label {self.labels.max()}: "
                f"labels of {len(category_ids)} classes end at {len(category_ids) - 1}"
            )
        # The sides are differences of Python's numbers, and no float32, so that a reader gets the same corners back.
        return [
            {
                "image_id": image_id,
                "category_id": category_ids[label],
                "bbox": [left, top, right - left, bottom - top],
                "score": score,
            }
            for (left, top, right, bottom), score, label in zip(
                self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True
            )
        ]


def probabilities(logits: Float[np.ndarray, "boxes classes"]) -> Float[np.ndarray, "boxes classes"]:
    """Returns the softmax of each row."""
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def write_results(
    path: Path, detections: Iterable[Detections], image_ids: Iterable[int], category_ids: Sequence[int]
) -> None:
    """Writes detections as a file of COCO's results, with a line for each box.

    Args:
        path: the file, which is whole or absent at every moment.
        detections: those of each image.
        image_ids: COCO's number of each image, in the same order.
        category_ids: COCO's number of each class, by label.

    Raises:
        UserError: the file cannot be written, or a label is none of a class.
        MachineError: the disk is full, or fails.
    """
    rows = (
        row
        for image_id, each in zip(image_ids, detections, strict=True)
        for row in each.results(image_id, category_ids)
    )
    text = ",\n".join(map(strict_json.dumps, rows))
    with writing(path, "choose another file"):
        replace_whole(path, f"[\n{text}\n]\n")


def read_results(path: Path, image_ids: Sequence[int], category_ids: Sequence[int]) -> list[Detections]:
    """Returns the detections of each image that a file of COCO's results holds.

    An image that the file does not name has none. Whatever a result says beside ``image_id``, ``category_id``,
    ``bbox`` and ``score`` is passed over.

    Args:
        path: the file.
        image_ids: COCO's numbers of the images, in the order of the answer.
        category_ids: COCO's number of each class, by label.

    Raises:
        UserError: the file cannot be read, is no list of results, or names an image or a category that is not among
            these.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise UserError(f"{path} cannot be read: {reason}: give a file of COCO's results") from None
    if not isinstance(results, list):
        raise UserError(f"{path} holds no list: COCO's results are a list of objects, one for each box")
    labels = {category: label for label, category in enumerate(category_ids)}
    found: dict[int, list[tuple[list[float], float, int]]] = {image_id: [] for image_id in image_ids}
    for number, result in enumerate(results):
        fault = _fault(result, found, labels)
        if fault:
            raise UserError(f"{path} cannot be used: result {number} {fault}")
        left, top, width, height = map(float, result["bbox"])
        box = [left, top, left + width, top + height]
        found[result["image_id"]].append((box, float(result["score"]), labels[result["category_id"]]))
    return [
        Detections.of(*(zip(*found[image_id], strict=True) if found[image_id] else ([], [], [])))
        for image_id in image_ids
    ]


def _fault(result: Json, images: Mapping[int, object], labels: Mapping[int, int]) -> str | None:
    """Returns the clause that says what is wrong with a result, and the way out; None where nothing is."""
    if not isinstance(result, dict):
        return "is no object: give image_id, category_id, bbox and score of each box"
    missing = [name for name in ("image_id", "category_id", "bbox", "score") if name not in result]
    if missing:
        return f"has no {missing[0]}: give image_id, category_id, bbox and score of each box"
    image, category, box, score = (result[name] for name in ("image_id", "category_id", "bbox", "score"))
    if type(image) is not int or image not in images:
        return (
            f"is of image {image!r}, which is none of these {len(images)} images: give the images that it was made of"
        )
    if type(category) is not int or category not in labels:
        return f"is of category {category!r}, which is none of these {len(labels)} classes: give the data set's own ids"
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)) or min(box[2:]) < 0:
        return f"has the bbox {box!r}: give left, top, width and height in pixels, the last two not negative"
    return None if _is_number(score) else f"has the score {score!r}: give a finite number"


def _is_number(value: Json) -> bool:
    """Whether a value is a number, and a sum of two such fits into float32."""
    return type(value) in (int, float) and abs(value) < 1e38
