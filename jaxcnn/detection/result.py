"""The result of measuring detections on a split: average precision by VOC's protocol and by COCO's."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import rich.table
import rich.text
from jaxtyping import Float64, Int64

from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.average_precision import Curve, curves
from jaxcnn.detection.coco import coco_precision
from jaxcnn.detection.detections import Detections
from jaxcnn.types import JsonObject

FIGURES: Mapping[str, tuple[str, str]] = {
    "voc_area": ("VOC\narea", "VOC's protocol at IoU 0.5, the area under the curve, as since 2010"),
    "voc_11_points": ("VOC\n11 points", "VOC's protocol at IoU 0.5, the mean at 11 recalls, as until 2009"),
    "coco": ("COCO\n0.5-0.95", "COCO's protocol by pycocotools, the mean over IoU 0.5 to 0.95"),
    "coco_50": ("COCO\n0.5", "COCO's protocol by pycocotools, at IoU 0.5"),
    "coco_75": ("COCO\n0.75", "COCO's protocol by pycocotools, at IoU 0.75"),
}
"""The figures of a result by name: the head of their column, and the protocol that each is measured by."""


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionResult:
    """The average precision of each class, and its mean over the classes that have objects."""

    class_names: tuple[str, ...]
    """The names of the classes, by label."""
    images: int
    """The number of images."""
    objects: Int64[np.ndarray, " classes"]
    """The number of objects that count, by label: those that are neither difficult nor a crowd."""
    detections: Int64[np.ndarray, " classes"]
    """The number of detections, by label."""
    average_precisions: Mapping[str, Float64[np.ndarray, " classes"]]
    """The average precision of each class in percent, by the names of `FIGURES`; NaN for a class without objects."""
    curves: tuple[Curve, ...]
    """Precision against recall by VOC's protocol, by label."""

    def mean(self, figure: str) -> float:
        """Returns a figure's mean over the classes that have objects, in percent; NaN where no class has any."""
        measured = self.objects > 0
        return float(self.average_precisions[figure][measured].mean()) if measured.any() else float("nan")

    def to_json(self) -> JsonObject:
        """Returns everything but the curves, for `jaxcnn.strict_json`, which writes NaN as null."""
        return {
            "unit": "average precision in %; means are over the classes that have objects",
            "protocols": {name: said for name, (_, said) in FIGURES.items()},
            "images": self.images,
            "mean": {name: self.mean(name) for name in FIGURES},
            "classes": [
                {
                    "class": name,
                    "objects": int(self.objects[label]),
                    "detections": int(self.detections[label]),
                    **{figure: float(self.average_precisions[figure][label]) for figure in FIGURES},
                }
                for label, name in enumerate(self.class_names)
            ],
        }

    def __str__(self) -> str:
        area, coco = self.mean("voc_area"), self.mean("coco")
        return f"mAP {area:.1f} % by VOC (area, IoU 0.5), {coco:.1f} % by COCO (IoU 0.5-0.95)  ({self.images} images)"

    def __rich__(self) -> rich.table.Table:
        """Returns a table with a row for each class, which a console prints."""
        heads = ["objects", "boxes\nfound", *(head for head, _ in FIGURES.values())]
        columns = [rich.table.Column(head, justify="right", vertical="bottom") for head in heads]
        missing = [name for name, count in zip(self.class_names, self.objects, strict=True) if not count]
        notes = [f"average precision in % on {self.images} images, VOC's at IoU 0.5, COCO's by pycocotools"]
        if missing:
            notes.append(f"not in the mean, because they have no objects: {', '.join(missing)}")
        table = rich.table.Table("class", *columns, caption=rich.text.Text("\n".join(notes)))
        for label, name in enumerate(self.class_names):
            values = (_in_words(float(self.average_precisions[figure][label])) for figure in FIGURES)
            counts = (str(self.objects[label]), str(self.detections[label]))
            table.add_row(rich.text.Text(name), *counts, *values)
        table.add_section()
        totals = (str(self.objects.sum()), str(self.detections.sum()))
        table.add_row("mean", *totals, *(_in_words(self.mean(figure)) for figure in FIGURES), style="bold")
        return table


def measured(split: AnnotatedSplit, detections: Sequence[Detections]) -> DetectionResult:
    """Returns the average precision of detections on a split, by both protocols.

    Args:
        split: the split.
        detections: what was found in each image, in the split's order. Of equal scores, that of the lower image_id
            comes first, so that the answer does not depend on the order of the images.

    Raises:
        UserError: there are detections of another number of images, a label is none of a class, or pycocotools is not
            installed.
    """
    classes = len(split.class_names)
    objects = [image.objects for image in split.images]
    if len(objects) == len(detections):
        order = np.argsort([image.image_id for image in split.images], kind="stable")
        objects, detections = [objects[each] for each in order], [detections[each] for each in order]
    by_class = curves(objects, detections, classes, "voc")
    by_coco = coco_precision(objects, detections, classes)
    shares = {
        "voc_area": np.array([curve.average_precision("area") for curve in by_class]),
        "voc_11_points": np.array([curve.average_precision("11 points") for curve in by_class]),
        "coco": by_coco.mean,
        "coco_50": by_coco.at_50,
        "coco_75": by_coco.at_75,
    }
    found = np.concatenate([np.zeros(0, np.int32), *(each.labels for each in detections)])
    return DetectionResult(
        split.class_names,
        len(objects),
        np.array([curve.objects for curve in by_class], np.int64),
        np.bincount(found, minlength=classes).astype(np.int64),
        {name: 100 * values for name, values in shares.items()},
        tuple(by_class),
    )


def _in_words(percent: float) -> str:
    return "-" if np.isnan(percent) else f"{percent:.1f}"
