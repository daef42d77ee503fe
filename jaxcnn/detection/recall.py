"""How well proposals cover the objects of a split, against the number of proposals."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import rich.table

from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.boxes import iou
from jaxcnn.errors import UserError
from jaxcnn.types import JsonObject

NUMBERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
"""The numbers of proposals at which recall is measured, as far as some image has so many."""


@dataclasses.dataclass(frozen=True)
class Recall:
    """How well the first proposals of each image cover its objects, for several numbers of them.

    Objects that are marked as difficult and crowds are left out, as both protocols leave them out of what is to be
    found. A figure is not a number where there is no object.
    """

    threshold: float
    """The intersection over union from which on an object counts as covered."""
    numbers: tuple[int, ...]
    """The most proposals that are taken of an image, ascending; the last one takes all."""
    proposals: tuple[float, ...]
    """The mean number of proposals of an image, for each of ``numbers``: images may have fewer."""
    recall: tuple[float, ...]
    """The share of the objects that a proposal covers, for each of ``numbers``."""
    mabo: tuple[float, ...]
    """The mean average best overlap, for each of ``numbers``: of the largest intersection over union with each object
    the mean over the objects of a class, and of that the mean over the classes that have objects."""
    class_names: tuple[str, ...]
    """The names of the classes."""
    class_objects: tuple[int, ...]
    """The number of objects of each class."""
    class_recall: tuple[float, ...]
    """The share of the objects of each class that one of all proposals covers."""
    class_overlap: tuple[float, ...]
    """The average best overlap of each class with all proposals."""

    def to_json(self) -> JsonObject:
        """Returns the figures as an object of JSON for `jaxcnn.strict_json.dumps`, which writes null for no number."""
        return dataclasses.asdict(self)

    def table(self) -> rich.table.Table:
        """Returns a table of recall and overlap against the number of proposals."""
        table = rich.table.Table(title=f"recall of proposals at IoU {self.threshold:g}")
        for heading in ("at most", "mean number", "recall", "mean average best overlap"):
            table.add_column(heading, justify="right")
        for number, mean, recall, mabo in zip(self.numbers, self.proposals, self.recall, self.mabo, strict=True):
            table.add_row(f"{number:,}", f"{mean:,.1f}", f"{recall:.3f}", f"{mabo:.3f}")
        return table


def recall_of(
    split: AnnotatedSplit,
    boxes: Sequence[np.ndarray],
    threshold: float = 0.5,
    numbers: Sequence[int] = NUMBERS,
) -> Recall:
    """Returns how well proposals cover the objects of a split.

    Args:
        split: the split.
        boxes: the proposals of each image, (proposals, 4), best first. An image without any covers none of its objects.
        threshold: the intersection over union from which on an object counts as covered.
        numbers: the numbers of proposals; those that no image has are left out, and that of the most is added.

    Raises:
        UserError: the threshold is not above 0 and up to 1, or a number is not positive.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"a threshold of {threshold:g} tells no covered object from others: give one from 0 to 1")
    if any(number < 1 for number in numbers):
        raise UserError(f"the first {min(numbers)} proposals are none: give numbers from 1 on")
    if len(boxes) != len(split.images):
        raise ValueError(f"{split.title} has {len(split.images)} images and not {len(boxes)}, as there are boxes of")
    most = max(map(len, boxes), default=0)
    taken = (*sorted({number for number in numbers if number < most}), max(most, 1))
    labels, best = [np.zeros(0, np.int32)], [np.zeros((0, len(taken)))]
    for image, proposals in zip(split.images, boxes, strict=True):
        objects = image.objects.chosen(~image.objects.difficult & ~image.objects.crowd)
        labels.append(objects.labels)
        # A first column of 0 is for an image without proposals.
        overlaps = np.concatenate([np.zeros((len(objects), 1)), iou(objects.boxes, proposals)], axis=1)
        best.append(np.maximum.accumulate(overlaps, axis=1)[:, np.minimum(taken, len(proposals))])
    label, overlap = np.concatenate(labels), np.concatenate(best)
    covered = overlap >= threshold
    of_class = [label == number for number in range(len(split.class_names))]
    present = [which for which in of_class if which.any()]
    return Recall(
        threshold=threshold,
        numbers=taken,
        proposals=tuple(_mean([min(len(each), number) for each in boxes]) for number in taken),
        recall=tuple(map(_mean, covered.T)),
        mabo=tuple(_mean([_mean(column[which]) for which in present]) for column in overlap.T),
        class_names=split.class_names,
        class_objects=tuple(int(which.sum()) for which in of_class),
        class_recall=tuple(_mean(covered[which, -1]) for which in of_class),
        class_overlap=tuple(_mean(overlap[which, -1]) for which in of_class),
    )


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan
