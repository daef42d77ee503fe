"""Which object a region shows, and how well."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects
from jaxcnn.detection.boxes import iou
from jaxcnn.detection.matching import boxes_of_images, labelled_regions


def split_of(*objects, classes=("cat", "dog")):
    images = [
        AnnotatedImage(f"{index}.png", index + 1, 64, 64, each, lambda: np.zeros((64, 64, 3), np.uint8))
        for index, each in enumerate(objects)
    ]
    return AnnotatedSplit("made", classes, tuple(range(1, len(classes) + 1)), images)


def test_objects_come_first_and_are_their_own_examples():
    split = split_of(Objects.of([[0, 0, 10, 10], [20, 20, 40, 40]], [1, 0]), Objects.of([], []))
    proposals = [np.array([[0, 0, 10, 12], [50, 50, 60, 60]], np.float32), np.array([[1, 1, 9, 9]], np.float32)]
    regions = labelled_regions(split, proposals)
    np.testing.assert_array_equal(regions.image, [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(regions.is_object, [True, True, False, False, False])
    np.testing.assert_array_equal(regions.label, [1, 0, 1, -1, -1])
    np.testing.assert_allclose(regions.overlap, [1, 1, 10 / 12, 0, 0])
    np.testing.assert_array_equal(regions.target[2], [0, 0, 10, 10])
    np.testing.assert_array_equal(regions.examples(0.5), [0, 1, 2])
    np.testing.assert_array_equal(regions.background(0.5), [3, 4])
    np.testing.assert_array_equal(np.flatnonzero(regions.negatives(1, 0.3)), [3, 4])
    np.testing.assert_array_equal(np.flatnonzero(regions.negatives(0, 0.3)), [2, 3, 4])
    np.testing.assert_array_equal(regions.positives(1), [0])
    assert [len(boxes) for boxes in boxes_of_images(regions, 2)] == [4, 1]


def test_two_objects_with_one_box_are_each_an_example_of_its_class():
    regions = labelled_regions(
        split_of(Objects.of([[0, 0, 9, 9], [0, 0, 9, 9]], [0, 1])), [np.zeros((0, 4), np.float32)]
    )
    np.testing.assert_array_equal(regions.label, [0, 1])
    np.testing.assert_array_equal(regions.class_overlap, np.ones((2, 2)))


def test_what_shows_a_difficult_object_or_a_crowd_is_neither_an_example_nor_background():
    objects = Objects.of(
        [[0, 0, 10, 10], [20, 20, 40, 40], [20, 0, 30, 10]],
        [0, 0, 1],
        difficult=[False, True, False],
        crowd=[False, False, True],
    )
    proposals = np.array([[20, 20, 40, 41], [20, 0, 30, 11], [0, 0, 10, 11], [60, 60, 64, 64]], np.float32)
    regions = labelled_regions(split_of(objects), [proposals])
    np.testing.assert_array_equal(regions.is_object, [True, False, False, False, False])
    np.testing.assert_array_equal(regions.ambiguous, [False, True, True, False, False])
    np.testing.assert_array_equal(regions.examples(0.5), [0, 3])
    np.testing.assert_array_equal(regions.background(0.5), [4])
    np.testing.assert_array_equal(np.flatnonzero(regions.negatives(0, 0.3)), [4])


def test_an_image_without_proposals_and_one_without_objects():
    empty = np.zeros((0, 4), np.float32)
    regions = labelled_regions(split_of(Objects.of([], []), Objects.of([[0, 0, 5, 5]], [0])), [empty, empty])
    assert len(regions) == 1
    assert [len(boxes) for boxes in boxes_of_images(regions, 2)] == [0, 1]
    assert not len(labelled_regions(split_of(Objects.of([], [])), [empty]))


@given(st.integers(0, 2**31 - 1))
def test_overlaps_are_those_of_all_pairs(seed):
    rng = np.random.RandomState(seed)
    corners = rng.randint(0, 50, (rng.randint(0, 5), 2))
    known = np.concatenate([corners, corners + rng.randint(1, 14, corners.shape)], 1).astype(np.float32)
    labels = rng.randint(0, 2, len(known))
    corners = rng.randint(0, 50, (7, 2))
    proposals = np.concatenate([corners, corners + rng.randint(1, 14, corners.shape)], 1).astype(np.float32)
    regions = labelled_regions(split_of(Objects.of(known, labels)), [proposals])
    for row, box in enumerate(proposals, start=len(known)):
        overlaps = iou(box[None], known)[0]
        assert regions.overlap[row] == np.float32(overlaps.max(initial=0))
        assert (regions.label[row] >= 0) == (overlaps.max(initial=0) > 0)
        if regions.label[row] >= 0:
            shown = np.flatnonzero(labels == regions.label[row])
            assert np.isclose(overlaps[shown].max(), overlaps.max())
        for label in (0, 1):
            own = overlaps[labels == label].max(initial=0)
            assert regions.class_overlap[row, label] == np.float32(own)
            assert regions.negatives(label, 0.3)[row] == (np.float32(own) < 0.3)
