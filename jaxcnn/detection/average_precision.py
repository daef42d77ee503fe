"""Average precision: precision against recall for each class, and the means that VOC and COCO take of it.

Each detection of a class is right, wrong or passed over, in the order of descending scores. VOC and COCO differ in how
they decide which, and in what they average; `Matching` and `Interpolation` say how. Figures of COCO that are reported
come from `jaxcnn.detection.coco`, which asks COCO's own tool; its rules are here for its curves, and as a check.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8

from jaxcnn.detection.annotations import Objects
from jaxcnn.detection.boxes import covered, iou
from jaxcnn.detection.detections import Detections
from jaxcnn.errors import UserError

Matching: TypeAlias = Literal["voc", "coco"]
"""The rule by which detections meet objects.

``voc`` is that of VOC's development kit. A detection belongs to the object of its class in its image with which its
intersection over union is largest, if that reaches the threshold. The first that belongs to an object is right, and all
others are wrong, even where another object is free. What belongs to a difficult object is passed over, and difficult
objects are not counted. A crowd, which VOC does not have, is treated as difficult.

``coco`` is that of COCO's tool. A detection takes the free object with which its intersection over union is largest. If
there is none, it is passed over where enough of it lies in a crowd; any number may. Crowds are not counted. A difficult
object, which COCO does not have, is treated as a crowd, because COCO knows nothing else that neither counts nor harms.
Of each class, the 100 best detections of an image are looked at.
"""
Interpolation: TypeAlias = Literal["area", "11 points", "101 points"]
"""The mean of precision over recall; at each recall, it is the largest precision at that recall or a higher one.

``area`` is the area under the curve (VOC since 2010), ``11 points`` the mean at recalls 0, 0.1, ..., 1 (VOC until 2009)
and ``101 points`` the mean at recalls 0, 0.01, ..., 1 (COCO). Whether a recall is reached at one of the 11 points is
decided in whole numbers: 3 objects of 10 reach 0.3, which the rounded sum 0.1 + 0.1 + 0.1 exceeds.
"""
COCO_LIMIT = 100
"""The number of detections of a class in an image that COCO looks at."""
_WRONG, _RIGHT, _PASSED_OVER = 0, 1, 2


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """The detections of one class that count, by descending score, and so its precision against its recall.

    Of equal scores, that of the earlier image comes first.
    """

    scores: Float32[np.ndarray, " counted"]
    """The scores, descending."""
    right: Bool[np.ndarray, " counted"]
    """Whether each detection is right."""
    objects: int
    """The number of objects that count."""

    @property
    def recall(self) -> Float64[np.ndarray, " counted"]:
        """The share of objects that are found by each detection and those before it; NaN where there are no objects."""
        return np.cumsum(self.right) / self.objects if self.objects else np.full(len(self.right), np.nan)

    @property
    def precision(self) -> Float64[np.ndarray, " counted"]:
        """The share of each detection and those before it that are right."""
        return np.cumsum(self.right) / np.arange(1, len(self.right) + 1)

    @property
    def interpolated(self) -> Float64[np.ndarray, " counted"]:
        """The largest precision at each detection's recall or a higher one."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]

    def average_precision(self, interpolation: Interpolation) -> float:
        """Returns the average precision, from 0 to 1.

        It is NaN for a class without objects that count, which has none, and 0 where no detection is right.
        """
        if not self.objects:
            return float("nan")
        if interpolation == "area":
            # Recall rises by one object at each right detection.
            return float(self.interpolated[self.right].sum() / self.objects)
        if interpolation == "11 points":
            first = np.searchsorted(10 * np.cumsum(self.right), np.arange(11) * self.objects)
        else:
            first = np.searchsorted(self.recall, np.linspace(0, 1, 101))
        return float(np.append(self.interpolated, 0.0)[first].mean())


def curves(
    objects: Sequence[Objects],
    detections: Sequence[Detections],
    num_classes: int,
    matching: Matching,
    threshold: float = 0.5,
) -> list[Curve]:
    """Returns the curve of each class.

    Args:
        objects: the objects of each image.
        detections: what was found in each image, in the same order.
        num_classes: the number of classes.
        matching: the rule by which detections meet objects.
        threshold: the least intersection over union of a detection with its object, from above 0 to 1.

    Raises:
        UserError: there are detections of another number of images, a label is none of a class, or the threshold is
            impossible.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"a threshold of intersection over union is above 0 and at most 1, not {threshold}")
    check_pairs(objects, detections, num_classes)
    match, limit = (_coco, COCO_LIMIT) if matching == "coco" else (_voc, None)
    counted = np.zeros(num_classes, int)
    scores: list[list[np.ndarray]] = [[] for _ in range(num_classes)]
    outcomes: list[list[np.ndarray]] = [[] for _ in range(num_classes)]
    for there, found in zip(objects, detections, strict=True):
        ignored = there.difficult | there.crowd
        counted += np.bincount(there.labels[~ignored], minlength=num_classes)
        for label in np.unique(found.labels):
            own, of_class = np.flatnonzero(found.labels == label)[:limit], there.labels == label
            scores[label].append(found.scores[own])
            outcomes[label].append(match(found.boxes[own], there.boxes[of_class], ignored[of_class], threshold))
    return [
        _curve(*(np.concatenate(each) if each else np.zeros(0) for each in pair), int(count))
        for *pair, count in zip(scores, outcomes, counted, strict=True)
    ]


def check_pairs(objects: Sequence[Objects], detections: Sequence[Detections], num_classes: int) -> None:
    """Raises a `UserError` unless detections and objects are of the same number of images and of these classes."""
    if len(objects) != len(detections):
        raise UserError(
            f"there are detections of {len(detections)} images, and {len(objects)} images: give both of all"
        )
    for kind, each in (("detections", detections), ("objects", objects)):
        highest = max((int(one.labels.max()) for one in each if len(one.labels)), default=-1)
        if highest >= num_classes:
            raise UserError(
                f"the {kind} include the label {highest}: labels of {num_classes} classes end at {num_classes - 1}"
            )


def _curve(scores: np.ndarray, outcomes: np.ndarray, objects: int) -> Curve:
    order = np.argsort(-scores, kind="stable")
    order = order[outcomes[order] != _PASSED_OVER]
    return Curve(scores[order].astype(np.float32), outcomes[order] == _RIGHT, objects)


def _voc(boxes: np.ndarray, objects: np.ndarray, ignored: np.ndarray, threshold: float) -> Int8[np.ndarray, " found"]:
    """Returns the outcome of each detection of one class in one image, given by descending score."""
    outcomes = np.full(len(boxes), _WRONG, np.int8)
    if not len(objects):
        return outcomes
    overlaps = iou(boxes, objects)
    nearest = overlaps.argmax(1)
    taken = np.zeros(len(objects), bool)
    for row in np.flatnonzero(overlaps.max(1) >= threshold):
        one = nearest[row]
        if ignored[one]:
            outcomes[row] = _PASSED_OVER
        elif not taken[one]:
            outcomes[row], taken[one] = _RIGHT, True
    return outcomes


def _coco(boxes: np.ndarray, objects: np.ndarray, ignored: np.ndarray, threshold: float) -> Int8[np.ndarray, " found"]:
    """Returns the outcome of each detection of one class in one image, given by descending score."""
    outcomes = np.full(len(boxes), _WRONG, np.int8)
    if not len(objects):
        return outcomes
    # Of equal overlaps, COCO's tool takes the last.
    overlaps = iou(boxes, objects[~ignored])[:, ::-1]
    in_crowd = (covered(boxes, objects[ignored]) >= threshold).any(1)
    outcomes[in_crowd] = _PASSED_OVER
    for row in np.flatnonzero((overlaps >= threshold).any(1)):
        one = overlaps[row].argmax()
        if overlaps[row, one] >= threshold:
            outcomes[row] = _RIGHT
            overlaps[:, one] = 0
    return outcomes
