"""The result of measuring detections: its means, its table, and what is stored of it."""

import io
import json
import math
import sys

import numpy as np
import pytest
import rich.console

from jaxcnn import strict_json
from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects
from jaxcnn.detection.detections import Detections
from jaxcnn.detection.result import FIGURES, measured
from jaxcnn.errors import UserError

BOX = [0, 0, 10, 10]
# Of the first class both objects are found, of the second one of two, and the third is found where there is none.
OBJECTS = [Objects.of([BOX, [20, 0, 30, 10]], [0, 1]), Objects.of([BOX, [20, 0, 30, 10]], [0, 1])]
DETECTIONS = [
    Detections.of([BOX, [20, 0, 30, 10]], [0.9, 0.8], [0, 1]),
    Detections.of([BOX, [0, 0, 5, 5]], [0.7, 0.6], [0, 2]),
]


def split():
    images = [
        AnnotatedImage(f"{number}.png", number, 40, 20, each, lambda: np.zeros((20, 40, 3), np.uint8))
        for number, each in enumerate(OBJECTS)
    ]
    return AnnotatedSplit("drawn", ("cat", "[red]dog", "fish"), (1, 2, 3), images)


def printed(value, width):
    console = rich.console.Console(file=io.StringIO(), width=width)
    console.print(value)
    return console.file.getvalue()


def test_means_are_over_classes_with_objects():
    result = measured(split(), DETECTIONS)
    assert result.images == 2
    assert result.objects.tolist() == [2, 2, 0]
    assert result.detections.tolist() == [2, 1, 1]
    points = {"voc_area": 1 / 2, "voc_11_points": 6 / 11, "coco": 51 / 101, "coco_50": 51 / 101, "coco_75": 51 / 101}
    assert points.keys() == FIGURES.keys()
    for name, second in points.items():
        np.testing.assert_allclose(result.average_precisions[name], [100, 100 * second, np.nan])
        assert result.mean(name) == pytest.approx(50 + 50 * second)
    assert [curve.objects for curve in result.curves] == [2, 2, 0]
    assert str(result) == "mAP 75.0 % by VOC (area, IoU 0.5), 75.2 % by COCO (IoU 0.5-0.95)  (2 images)"


def test_the_table_names_the_protocols_and_what_is_left_out():
    text = printed(measured(split(), DETECTIONS), 80)
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert cells == [
        ["cat", "2", "2", "100.0", "100.0", "100.0", "100.0", "100.0"],
        ["[red]dog", "2", "1", "50.0", "54.5", "50.5", "50.5", "50.5"],
        ["fish", "0", "1", "-", "-", "-", "-", "-"],
        ["mean", "4", "4", "75.0", "77.3", "75.2", "75.2", "75.2"],
    ]
    said = " ".join(text.split())
    assert "VOC's at IoU 0.5, COCO's by pycocotools" in said
    assert "not in the mean, because they have no objects: fish" in said
    assert "…" not in text


def test_json_has_null_for_what_is_undefined():
    stored = json.loads(strict_json.dumps(measured(split(), DETECTIONS).to_json()))
    assert stored["mean"].keys() == stored["protocols"].keys() == FIGURES.keys()
    assert stored["mean"]["voc_area"] == 75
    assert stored["classes"][1]["voc_11_points"] == pytest.approx(600 / 11)
    assert stored["classes"][2] == {"class": "fish", "objects": 0, "detections": 1, **dict.fromkeys(FIGURES)}


def test_nothing_there_at_all():
    result = measured(AnnotatedSplit("empty", ("cat",), (1,), []), [])
    assert all(math.isnan(result.mean(name)) for name in FIGURES)
    assert "mean" in printed(result, 80)
    assert json.loads(strict_json.dumps(result.to_json()))["mean"] == dict.fromkeys(FIGURES)


def test_what_is_missing_is_said(monkeypatch):
    with pytest.raises(UserError, match="detections of 1 images, and 2 images"):
        measured(split(), DETECTIONS[:1])
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match="needs pycocotools, which is not installed: install the extra detection"):
        measured(split(), DETECTIONS)
