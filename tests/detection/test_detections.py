"""Detections of an image, and files of COCO's results in and out."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.detection.detections import Detections, read_results, write_results
from jaxcnn.detection.suppression import suppress_each_class
from jaxcnn.errors import UserError

number = st.floats(-2000, 2000, width=32)
length = st.floats(0, 2000, width=32)
found = st.lists(
    st.tuples(number, number, length, length, st.floats(-5, 5, width=32), st.integers(0, 2)), max_size=4
).map(
    lambda rows: Detections.of(
        np.array([(x, y, x + w, y + h) for x, y, w, h, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([row[4] for row in rows], np.float32),
        np.array([row[5] for row in rows], np.int32),
    )
)
ROW = {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}


def same(a, b):
    for name in ("boxes", "scores", "labels"):
        one, other = getattr(a, name), getattr(b, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@settings(deadline=None, max_examples=60)
@given(st.lists(found, max_size=3))
def test_a_file_gives_the_same_detections_back(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("results") / "results.json"
    image_ids = [100 - 7 * number for number in range(len(images))]
    write_results(path, images, image_ids, [5, 3, 90])
    back = read_results(path, image_ids, [5, 3, 90])
    assert len(back) == len(images)
    for one, other in zip(images, back, strict=True):
        same(one, other)


def test_a_corner_keeps_its_bits_beside_a_far_one(tmp_path):
    path, detections = tmp_path / "results.json", Detections.of([[-1000.3, -3000.7, 0.1234567, 0.007]], [0.1], [0])
    write_results(path, [detections], [0], [0])
    same(read_results(path, [0], [0])[0], detections)


def test_the_form_is_coco_s(tmp_path):
    path = tmp_path / "results.json"
    detections = Detections.of([[10, 20, 40, 60]], [0.25], [1])
    write_results(path, [Detections.none(), detections], [4, 9], [1, 18])
    rows = json.loads(path.read_text())
    assert rows == [{"image_id": 9, "category_id": 18, "bbox": [10, 20, 30, 40], "score": 0.25}]


def test_they_come_by_descending_score_and_ties_in_order():
    detections = Detections.of([[0, 0, 1, 1], [1, 0, 2, 1], [2, 0, 3, 1], [3, 0, 4, 1]], [-1, 2, -1, 3], [0, 1, 2, 0])
    assert detections.boxes[:, 0].tolist() == [3, 1, 0, 2]
    assert detections.labels.tolist() == [0, 1, 0, 2]
    assert detections.best(3).scores.tolist() == [3, 2, -1]
    assert (len(detections), len(detections.best(9)), len(Detections.none())) == (4, 4, 0)


def test_what_suppression_keeps_becomes_detections():
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [10, 0, 14, 4]], np.float32)
    scores = np.array([[-1, 3], [-0.5, 2], [-2, -1]], np.float32)
    kept = suppress_each_class(boxes, scores, 0.5, 3)
    detections = Detections.of_classes(boxes, scores, *map(np.asarray, kept))
    assert detections.scores.tolist() == [3, -0.5, -1, -2]
    assert detections.labels.tolist() == [1, 0, 1, 0]
    assert detections.boxes[:, 0].tolist() == [0, 0, 10, 10]
    own = np.stack([boxes, boxes + 1], axis=1)
    moved = Detections.of_classes(own, scores, *map(np.asarray, suppress_each_class(own, scores, 0.5, 3)), minimum=-1)
    assert moved.scores.tolist() == [3, -0.5, -1]
    assert moved.boxes[:, 0].tolist() == [1, 0, 11]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([[0, 0, 1, 1]], [0.5, 0.5], [0]), r"1 boxes have scores \(2,\) and labels \(1,\)"),
        (([[0, 0, 1, 1]], [np.inf], [0]), "a score of inf"),
        (([[0, 0, 1, 1]], [0.5], [-1]), "the label -1"),
        (([[0, 5, 1, 1]], [0.5], [0]), "negative width or height"),
    ],
    ids=["lengths", "score", "label", "box"],
)
def test_impossible_detections_are_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        Detections.of(*arguments)


def test_arrays_of_other_types_are_no_detections():
    with pytest.raises(ValueError, match="must be float32, float32 and int32"):
        Detections(np.zeros((1, 4), np.float32), np.zeros(1), np.zeros(1, np.int32))


def test_a_label_without_a_category_is_refused():
    with pytest.raises(UserError, match="image 7 include the label 2: labels of 2 classes end at 1"):
        Detections.of([[0, 0, 1, 1]], [0.5], [2]).results(7, [1, 2])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read: it is not JSON"),
        ("[" * 100_000, "cannot be read: it is not JSON"),
        ("{}", "holds no list"),
        ("[3]", "result 0 is no object"),
        (json.dumps([{"image_id": 7}]), "result 0 has no category_id"),
        (json.dumps([ROW, ROW | {"image_id": 8}]), "result 1 is of image 8, which is none of these 1 images"),
        (json.dumps([ROW | {"image_id": "7"}]), "result 0 is of image '7'"),
        (json.dumps([ROW | {"image_id": True}]), "result 0 is of image True"),
        (json.dumps([ROW | {"category_id": 4}]), "result 0 is of category 4, which is none of these 1 classes"),
        (json.dumps([ROW | {"category_id": [3]}]), r"result 0 is of category \[3\]"),
        (json.dumps([ROW | {"bbox": [1, 2, -3, 4]}]), r"result 0 has the bbox \[1, 2, -3, 4\]"),
        (json.dumps([ROW | {"bbox": [1, 2, 3]}]), "result 0 has the bbox"),
        (json.dumps([ROW | {"bbox": [1, 2, 3, "4"]}]), "result 0 has the bbox"),
        (json.dumps([ROW | {"bbox": [1e38, 2, 3, 4]}]), "result 0 has the bbox"),
        (json.dumps([ROW | {"score": float("nan")}]), "result 0 has the score nan"),
        (json.dumps([ROW | {"score": None}]), "result 0 has the score None"),
    ],
    ids=lambda value: value[-40:],
)
def test_bad_files_are_refused_in_a_sentence(tmp_path, text, said):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_results(path, [7], [3])


def test_files_that_are_missing_or_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_results(tmp_path / "missing.json", [7], [3])
    with pytest.raises(UserError, match="cannot be written: No such file or directory: choose another file"):
        write_results(tmp_path / "missing" / "results.json", [], [], [])


def test_images_without_results_have_no_detections(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([ROW | {"segmentation": []}]))
    first, second = read_results(path, [6, 7], [3])
    assert len(first) == 0
    same(second, Detections.of([[1, 2, 4, 6]], [0.5], [0]))
    path.write_text("[]")
    assert [len(each) for each in read_results(path, [6, 7], [3])] == [0, 0]
