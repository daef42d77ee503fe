"""Which object each region of an image shows, and how well: what R-CNN learns from regions (arXiv:1311.2524)."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.boxes import iou


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledRegions:
    """The regions of a split, image after image; in an image the objects' own boxes come first, then the proposals.

    Difficult objects and crowds are no objects to learn from. A region that overlaps one of them more than any other
    object is ambiguous: it is neither an example of a class, nor one of the background.
    """

    boxes: np.ndarray
    """The boxes, float32 (regions, 4)."""
    image: np.ndarray
    """The index of each region's image, int32 (regions,)."""
    is_object: np.ndarray
    """Whether a region is the box of an object and no proposal, bool (regions,)."""
    label: np.ndarray
    """The class of the object that a region overlaps most, int32 (regions,); -1 where it overlaps none."""
    overlap: np.ndarray
    """The intersection over union with that object, float32 (regions,)."""
    target: np.ndarray
    """The box of that object, float32 (regions, 4); the region's own where it overlaps none."""
    class_overlap: np.ndarray
    """The greatest intersection over union with an object of each class, float32 (regions, classes)."""
    ambiguous: np.ndarray
    """Whether a region overlaps a difficult object or a crowd more than any other object, bool (regions,)."""

    def __len__(self) -> int:
        return len(self.boxes)

    def examples(self, min_overlap: float) -> np.ndarray:
        """Returns the indices of the regions that show an object well enough."""
        return np.flatnonzero((self.overlap >= min_overlap) & (self.label >= 0) & ~self.ambiguous)

    def background(self, max_overlap: float) -> np.ndarray:
        """Returns the indices of the regions that overlap every object less than so much."""
        return np.flatnonzero((self.overlap < max_overlap) & ~self.ambiguous)

    def negatives(self, label: int, max_overlap: float) -> np.ndarray:
        """Returns whether each region is certainly no object of a class, bool (regions,)."""
        return (self.class_overlap[:, label] < max_overlap) & ~self.ambiguous & ~self.is_object

    def positives(self, label: int) -> np.ndarray:
        """Returns the indices of the boxes of a class's objects."""
        return np.flatnonzero(self.is_object & (self.label == label))


def labelled_regions(split: AnnotatedSplit, proposals: Sequence[np.ndarray]) -> LabelledRegions:
    """Returns the regions of a split: the boxes of its objects, and proposals.

    Args:
        split: the images with their objects.
        proposals: the proposals of each image, float32 (proposals, 4); there may be none.
    """
    parts = [
        _of_image(index, image.objects, boxes, len(split.class_names))
        for index, (image, boxes) in enumerate(zip(split.images, proposals, strict=True))
    ]
    names = [field.name for field in dataclasses.fields(LabelledRegions)]
    return LabelledRegions(**{name: np.concatenate([part[name] for part in parts]) for name in names})


def boxes_of_images(regions: LabelledRegions, images: int) -> list[np.ndarray]:
    """Returns the boxes of each image's regions, float32 (regions of the image, 4)."""
    ends = np.searchsorted(regions.image, np.arange(images + 1))
    return [regions.boxes[start:end] for start, end in itertools.pairwise(ends)]


def _of_image(index, objects, proposals: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    learned = ~(objects.difficult | objects.crowd)
    known, known_labels, others = objects.boxes[learned], objects.labels[learned], objects.boxes[~learned]
    boxes = np.concatenate([known, proposals.astype(np.float32).reshape(-1, 4)])
    count = len(boxes)
    overlaps = iou(boxes, known).astype(np.float32)
    # The box of an object is its own, even where another object has the same box.
    overlaps[np.arange(len(known)), np.arange(len(known))] = 1
    best = overlaps.argmax(1) if len(known) else np.zeros(count, np.int64)
    overlap = overlaps[np.arange(count), best] if len(known) else np.zeros(count, np.float32)
    own = np.arange(count) < len(known)
    best = np.where(own, np.arange(count), best)
    shows = overlap > 0
    class_overlap = np.zeros((count, classes), np.float32)
    for label in np.unique(known_labels):
        class_overlap[:, label] = overlaps[:, known_labels == label].max(1)
    beside = iou(boxes, others).max(1, initial=0)
    return {
        "boxes": boxes,
        "image": np.full(count, index, np.int32),
        "is_object": own,
        "label": np.where(shows, known_labels[best], -1).astype(np.int32)
        if len(known)
        else np.full(count, -1, np.int32),
        "overlap": overlap,
        "target": np.where(shows[:, None], known[best], boxes).astype(np.float32) if len(known) else boxes,
        "class_overlap": class_overlap,
        "ambiguous": (beside > overlap) & ~own,
    }
