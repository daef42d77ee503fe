"""Non-maximum suppression, against greedy suppression written with loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.detection.suppression import suppress, suppress_each_class

LIMIT = 24


def slow(boxes, scores, threshold, limit=LIMIT):
    """The rows that greedy suppression keeps, from counted intersections of whole pixels."""
    left = [row for row in range(len(scores)) if scores[row] > -np.inf]
    kept = []
    while left and len(kept) < limit:
        best = max(left, key=lambda row: (scores[row], -row))
        kept.append(best)
        left = [row for row in left if row != best and not above(boxes[best], boxes[row], threshold)]
    return kept


def above(a, b, threshold):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return either > 0 and shared / either > threshold


def drawn(random, count, classes=()):
    """Boxes of whole pixels on a small image, some degenerate, and scores of few values, so that many are equal."""
    corners = np.sort(random.integers(0, 14, (count, *classes, 2, 2)), axis=-2).reshape(count, *classes, 4)
    scores = random.integers(-6, 4, (count, *(classes or ()))) / 4
    return corners.astype(np.float32), scores.astype(np.float32)


def rows(indices, valid):
    indices, valid = np.asarray(indices), np.asarray(valid)
    # What is valid comes first, and what is not is 0.
    assert (np.diff(valid.astype(int)) <= 0).all()
    assert not indices[~valid].any()
    return indices[valid].tolist()


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_equals_the_greedy_loop(threshold):
    random = np.random.default_rng(round(10 * threshold))
    for _ in range(40):
        boxes, scores = drawn(random, 40)
        scores[random.random(40) < 0.1] = -np.inf
        assert rows(*suppress(boxes, scores, threshold, LIMIT)) == slow(boxes, scores, threshold)


def test_each_class_is_suppressed_by_itself():
    random = np.random.default_rng(0)
    boxes, _ = drawn(random, 40)
    own, scores = drawn(random, 40, (3,))
    thresholds = np.array([0.2, 0.5, 0.8], np.float32)
    for given, threshold in ((boxes, 0.3), (own, 0.3), (boxes, thresholds), (own, thresholds)):
        indices, valid = suppress_each_class(given, scores, threshold, LIMIT)
        assert indices.shape == valid.shape == (3, LIMIT)
        for label in range(3):
            expected = slow(
                given if given.ndim == 2 else given[:, label],
                scores[:, label],
                threshold if isinstance(threshold, float) else float(threshold[label]),
            )
            assert rows(indices[label], valid[label]) == expected


def test_equal_scores_go_by_index_and_limits_hold():
    boxes = np.array([[0, 0, 4, 4], [10, 0, 14, 4], [0, 0, 4, 4], [20, 0, 24, 4]], np.float32)
    assert rows(*suppress(boxes, np.full(4, -1.5, np.float32), 0.5, 4)) == [0, 1, 3]
    assert rows(*suppress(boxes, np.full(4, -1.5, np.float32), 0.5, 2)) == [0, 1]
    assert rows(*suppress(boxes, np.array([0, 1, 2, 3], np.float32), 0.5, 9)) == [3, 2, 1]
    assert rows(*suppress(boxes, np.array([0, 1, 2, 3], np.float32), 0.5, 0)) == []


def test_an_overlap_at_the_threshold_is_kept():
    boxes, scores = np.array([[0, 0, 10, 1], [0, 0, 3, 1]], np.float32), np.array([2, 1], np.float32)
    assert rows(*suppress(boxes, scores, 0.3, 2)) == [0, 1]
    assert rows(*suppress(boxes, scores, 0.29, 2)) == [0]


def test_degenerate_boxes_neither_suppress_nor_are_suppressed():
    boxes = np.array([[3, 3, 3, 3], [3, 3, 3, 3], [0, 0, 6, 6]], np.float32)
    assert rows(*suppress(boxes, np.array([1, 3, 2], np.float32), 0.0, 3)) == [1, 2, 0]


def test_padding_and_nothing_at_all():
    boxes = np.array([[0, 0, 4, 4], [10, 0, 14, 4]], np.float32)
    assert rows(*suppress(boxes, np.array([np.nan, -7], np.float32), 0.5, 3)) == [1]
    assert rows(*suppress(boxes, np.array([-np.inf, np.nan], np.float32), 0.5, 3)) == []
    assert rows(*suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5, 3)) == []
    indices, valid = suppress_each_class(np.zeros((0, 4), np.float32), np.zeros((0, 2), np.float32), 0.5, 3)
    assert indices.shape == (2, 3)
    assert not valid.any()


def test_memory_grows_with_the_boxes_and_not_with_their_pairs():
    """2,500 boxes of 80 classes take less than a tenth of what the pairs of one class would."""
    shapes = jax.ShapeDtypeStruct((2500, 80, 4), jnp.float32), jax.ShapeDtypeStruct((2500, 80), jnp.float32)
    analysis = suppress_each_class.lower(*shapes, 0.3, 100).compile().memory_analysis()
    assert analysis.temp_size_in_bytes < 80 * 2500 * 2500 * 4 / 100
