"""Boxes: closed forms, counted pixels, and the properties that make offsets an inverse pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.detection.boxes import area, check_boxes, clipped, covered, intersection, iou, moved, offsets
from jaxcnn.errors import UserError

SIDE = 12
whole = st.integers(0, SIDE)
pixel_boxes = st.lists(st.tuples(whole, whole, whole, whole), min_size=1, max_size=5).map(
    lambda rows: np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in rows], np.float32)
)
number = st.floats(-1000, 1000, width=32)
length = st.floats(0.5, 1000, width=32)
wide_boxes = st.lists(st.tuples(number, number, length, length), min_size=1, max_size=4).map(
    lambda rows: np.array([(x, y, x + w, y + h) for x, y, w, h in rows], np.float32)
)


def painted(box):
    """The pixels of a box, as True in an image."""
    left, top, right, bottom = map(int, box)
    image = np.zeros((SIDE, SIDE), bool)
    image[top:bottom, left:right] = True
    return image


@settings(deadline=None, max_examples=60)
@given(pixel_boxes, pixel_boxes)
def test_shares_are_those_of_painted_pixels(a, b):
    for i, first in enumerate(map(painted, a)):
        assert area(a)[i] == first.sum()
        for j, second in enumerate(map(painted, b)):
            both, either = (first & second).sum(), (first | second).sum()
            assert intersection(a, b)[i, j] == both
            assert iou(a, b)[i, j] == (both / either if either else 0)
            assert covered(a, b)[i, j] == (both / first.sum() if first.any() else 0)


def test_degenerate_boxes_share_nothing():
    boxes = np.array([[2, 2, 2, 2], [2, 2, 2, 5], [0, 0, 4, 4]], np.float32)
    np.testing.assert_array_equal(iou(boxes, boxes), [[0, 0, 0], [0, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(covered(boxes, boxes), [[0, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert iou(boxes, np.zeros((0, 4))).shape == (3, 0)
    assert iou(np.zeros((0, 4)), boxes).shape == (0, 3)


def test_iou_meets_its_threshold():
    """Three pixels of ten are 0.3 and no less, which float32 would not say of itself."""
    assert iou([[0, 0, 10, 1]], [[0, 0, 3, 1]])[0, 0] == 0.3
    assert iou([[0, 0, 5, 1]], [[0, 0, 10, 1]])[0, 0] == 0.5


@settings(deadline=None, max_examples=60)
@given(pixel_boxes, whole, whole)
def test_clipping_keeps_what_lies_in_the_image(boxes, width, height):
    image = np.array([[0, 0, width, height]])
    found = clipped(boxes, width, height)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(area(found), intersection(boxes, image)[:, 0])
    np.testing.assert_array_equal(clipped(found, width, height), found)


@settings(deadline=None, max_examples=100)
@given(wide_boxes, st.data())
def test_moving_by_offsets_gives_the_other_box(boxes, data):
    others = data.draw(wide_boxes)
    boxes, others = boxes[: len(others)], others[: len(boxes)]
    change = offsets(boxes, others)
    assert change.dtype == np.float32
    scale = np.abs(np.concatenate([boxes, others])).max()
    np.testing.assert_allclose(moved(boxes, change), others, atol=2e-5 * scale)
    # Offsets are those of any scale, and none for the same box.
    np.testing.assert_array_equal(offsets(2 * boxes, 2 * others), change)
    np.testing.assert_array_equal(offsets(boxes, boxes), 0)


def test_offsets_as_the_paper_has_them():
    # Centre (5, 10) and size (10, 20), to centre (8, 14) and size (20, 10).
    found = offsets([[0, 0, 10, 20]], [[-2, 9, 18, 19]])
    np.testing.assert_allclose(found, [[0.3, 0.2, np.log(2), -np.log(2)]], rtol=1e-6)


def test_no_prediction_makes_a_box_that_is_not_finite():
    found = moved([[0, 0, 10, 10]], [[0, 0, 1e4, -1e4]])
    assert np.isfinite(found).all()
    check_boxes(found, "the boxes")


def test_degenerate_boxes_have_no_offsets():
    for pair in ([[0, 0, 0, 5]], [[0, 0, 5, 5]]), ([[0, 0, 5, 5]], [[3, 3, 5, 3]]):
        with pytest.raises(UserError, match="without width or height has no offsets"):
            offsets(*pair)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([[0, 0, 1]], r"the boxes have the shape \(1, 3\)"),
        ([0, 0, 1, 1], r"the boxes have the shape \(4,\)"),
        ([[0, 0, 1, 1], [3, 0, 2, 1]], r"include box 1, \(3, 0, 2, 1\), with a negative width or height"),
        ([[0, 0, float("nan"), 1]], r"include box 0, \(0, 0, nan, 1\), with coordinates that are not finite"),
        ([[0, 0, 1e300, 1]], r"include box 0, \(0, 0, inf, 1\), with coordinates that are not finite"),
    ],
    ids=["three numbers", "one row", "right of left", "nan", "too large"],
)
def test_what_is_no_box_is_refused(boxes, said):
    with pytest.raises(UserError, match=said):
        check_boxes(boxes, "the boxes")


def test_an_empty_list_is_no_boxes():
    assert check_boxes([], "the boxes").shape == (0, 4)
