"""COCO's average precision, by COCO's own tool."""

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np
from jaxtyping import Float64

from jaxcnn.detection.annotations import Objects
from jaxcnn.detection.average_precision import COCO_LIMIT, check_pairs
from jaxcnn.detection.detections import Detections
from jaxcnn.errors import UserError
from jaxcnn.types import Json, JsonObject


@dataclasses.dataclass(frozen=True, eq=False)
class CocoPrecision:
    """COCO's average precision of each class, from 0 to 1, and NaN for a class without objects that count."""

    mean: Float64[np.ndarray, " classes"]
    """The mean over ten thresholds of intersection over union, from 0.5 to 0.95."""
    at_50: Float64[np.ndarray, " classes"]
    """The average precision at a threshold of 0.5."""
    at_75: Float64[np.ndarray, " classes"]
    """The average precision at a threshold of 0.75."""


def coco_precision(objects: Sequence[Objects], detections: Sequence[Detections], num_classes: int) -> CocoPrecision:
    """Returns COCO's average precision of each class, by pycocotools.

    Crowds and difficult objects are COCO's crowds: see `jaxcnn.detection.average_precision.Matching`. The figures are
    those of objects of all sizes. COCO's figures for small, medium and large objects are not given, because it sorts
    objects by the area of their outlines, and here are only boxes.

    Args:
        objects: the objects of each image.
        detections: what was found in each image, in the same order; of equal scores, that of the earlier image comes
            first, as COCO's tool has it for images by ascending ids.
        num_classes: the number of classes.

    Raises:
        UserError: pycocotools is not installed, or as `jaxcnn.detection.average_precision.curves`.
    """
    check_pairs(objects, detections, num_classes)
    coco, cocoeval = _tool()
    there = [
        _annotation(image, box, label) | {"iscrowd": int(ignored)}
        for image, each in enumerate(objects)
        for box, label, ignored in zip(each.boxes, each.labels.tolist(), each.difficult | each.crowd, strict=True)
    ]
    found = [
        _annotation(image, box, label) | {"score": score}
        for image, each in enumerate(detections)
        for box, label, score in zip(each.boxes, each.labels.tolist(), each.scores.tolist(), strict=True)
    ]
    # The tool tells what it does on the standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = cocoeval.COCOeval(
            *(_indexed(coco, rows, len(objects), num_classes) for rows in (there, found)), "bbox"
        )
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.params.maxDets = [COCO_LIMIT]
        evaluation.evaluate()
        evaluation.accumulate()
    # (thresholds, recalls, classes, 1, 1), of which the tool sets to -1 what does not exist.
    precision = evaluation.eval["precision"][..., 0, 0]
    by_threshold = np.where((precision < 0).any(1), np.nan, precision.mean(1))
    return CocoPrecision(by_threshold.mean(0), by_threshold[0], by_threshold[5])


def _tool() -> tuple[ModuleType, ModuleType]:
    try:
        from pycocotools import coco, cocoeval
    except ImportError:
        raise UserError(
            "COCO's average precision needs pycocotools, which is not installed: install the extra detection"
        ) from None
    return coco, cocoeval


def _annotation(image: int, box: np.ndarray, label: int) -> JsonObject:
    left, top, right, bottom = box.tolist()
    width, height = right - left, bottom - top
    return {
        "image_id": image,
        "category_id": label,
        "bbox": [left, top, width, height],
        "area": width * height,
    }


def _indexed(coco: ModuleType, rows: Sequence[Mapping[str, Json]], images: int, num_classes: int) -> Json:
    """Returns the tool's own form of annotations or results, all of which it wants to have numbers from 1 on."""
    indexed = coco.COCO()
    indexed.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": label} for label in range(num_classes)],
        "annotations": [{**row, "id": number} for number, row in enumerate(rows, 1)],
    }
    indexed.createIndex()
    return indexed
