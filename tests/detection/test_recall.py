"""Recall of proposals, against what one counts by hand and by loops."""

import json
import math

import numpy as np
import pytest

from jaxcnn import strict_json
from jaxcnn.detection.annotations import Objects
from jaxcnn.detection.boxes import iou
from jaxcnn.detection.recall import recall_of
from jaxcnn.errors import UserError
from tests.detection.made import picture, split_of

NO = np.zeros((0, 4), np.float32)


def split_with(*objects):
    return split_of([picture(0)] * len(objects), list(objects), ("one", "two", "three"))


def test_recall_and_overlap_are_what_one_counts_by_hand():
    split = split_with(Objects.of([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1]), Objects.of([[0, 0, 8, 8]], [0]))
    boxes = [
        np.array([[0, 0, 10, 5], [50, 50, 60, 60], [20, 0, 28, 10]], np.float32),  # IoU 0.5 with the first, 0.8
        NO,
    ]
    found = recall_of(split, boxes, 0.5, (1, 2, 7))
    assert found.numbers == (1, 2, 3)
    np.testing.assert_allclose(found.proposals, [0.5, 1, 1.5])
    np.testing.assert_allclose(found.recall, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(found.mabo, [0.125, 0.125, (0.25 + 0.8) / 2])
    assert found.class_objects == (2, 1, 0)
    np.testing.assert_allclose(found.class_recall, [0.5, 1, math.nan])
    np.testing.assert_allclose(found.class_overlap, [0.25, 0.8, math.nan])
    assert recall_of(split, boxes, 0.51).recall[-1] == pytest.approx(1 / 3)
    assert json.loads(strict_json.dumps(found.to_json()))["class_recall"] == [0.5, 1, None]
    assert found.table().row_count == 3


def test_difficult_objects_and_crowds_are_not_to_be_covered():
    objects = Objects.of([[0, 0, 9, 9]] * 3, [0, 0, 0], difficult=[True, False, False], crowd=[False, True, False])
    found = recall_of(split_with(objects), [np.array([[0, 0, 9, 9]], np.float32)])
    assert (found.recall, found.class_objects) == ((1.0,), (1, 0, 0))


def test_recall_is_what_loops_count():
    rng = np.random.RandomState(0)

    def drawn(count):
        corners = rng.uniform(0, 50, (count, 2))
        return np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)

    objects = [Objects.of(drawn(count), rng.randint(3, size=count)) for count in (0, 3, 7, 1)]
    boxes = [drawn(count) for count in (12, 0, 30, 4)]
    found = recall_of(split_with(*objects), boxes, 0.4, (1, 3, 10))
    assert found.numbers == (1, 3, 10, 30)
    for number, recall in zip(found.numbers, found.recall, strict=True):
        covered = [
            any(iou(box[None], other[None])[0, 0] >= 0.4 for other in proposals[:number])
            for each, proposals in zip(objects, boxes, strict=True)
            for box in each.boxes
        ]
        assert len(covered) == 11
        assert recall == pytest.approx(np.mean(covered))
    assert list(found.recall) == sorted(found.recall)


def test_no_proposals_cover_nothing_and_no_objects_are_no_number():
    split = split_with(Objects.of([[0, 0, 9, 9]], [2]))
    assert recall_of(split, [NO]).recall == (0.0,)
    assert recall_of(split, [NO]).mabo == (0.0,)
    for nothing, boxes in ((split_with(Objects.of([], [])), [NO]), (split_with(), [])):
        found = recall_of(nothing, boxes)
        assert math.isnan(found.recall[-1])
        assert math.isnan(found.mabo[-1])


def test_what_tells_nothing_is_refused():
    with pytest.raises(UserError, match="a threshold of 0 tells no covered object from others: give one from 0 to 1"):
        recall_of(split_with(), [], 0)
    with pytest.raises(UserError, match="the first 0 proposals are none: give numbers from 1 on"):
        recall_of(split_with(), [], numbers=(0, 1))
    with pytest.raises(ValueError, match="has 0 images and not 1"):
        recall_of(split_with(), [NO])
