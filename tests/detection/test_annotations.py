"""Annotated objects: what a split of any kind gives, and what becomes of boxes that do not lie in their images."""

import dataclasses
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn.data.fingerprint import difference
from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects, within_images


def image(objects, name="a.png", width=30, height=20):
    return AnnotatedImage(name, 1, width, height, objects, lambda: np.zeros((height, width, 3), np.uint8), "a.json")


def split(images, **changes):
    return dataclasses.replace(AnnotatedSplit("mine", ("cat", "dog"), (1, 2), images, "train"), **changes)


def test_objects_are_arrays_of_one_length():
    objects = Objects.of([[1, 2, 3, 4], [0, 0, 5, 5]], [0, 1], difficult=[True, False])
    assert (objects.boxes.dtype, objects.labels.dtype, len(objects)) == (np.float32, np.int32, 2)
    assert objects.difficult.tolist() == [True, False]
    assert objects.crowd.tolist() == [False, False]
    second = objects.chosen(~objects.difficult)
    assert (second.boxes.tolist(), second.labels.tolist()) == ([[0, 0, 5, 5]], [1])
    none = Objects.of([], [])
    assert (none.boxes.shape, none.labels.shape, len(none)) == ((0, 4), (0,), 0)


@pytest.mark.parametrize(
    ("boxes", "labels", "sentence"),
    [
        ([[0, 0, 1, 1]], [0, 1], r"labels must be int32 of shape \(1,\), not int32 \(2,\)"),
        ([[0, 0, np.nan, 1]], [0], "boxes must be finite"),
        ([[0, 0, np.inf, 1]], [0], "boxes must be finite"),
    ],
)
def test_objects_that_do_not_fit_are_refused(boxes, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        Objects.of(boxes, labels)


def test_a_box_is_cut_to_its_image_and_one_without_area_is_left_out(caplog):
    boxes = [[-3, 5, 40, 25], [2, 3, 2, 9], [31, 2, 35, 4], [9, 9, 5, 5], [1, 1, 30.001, 4], [0, 0, 30, 20]]
    objects = Objects.of(boxes, [0, 1, 0, 1, 0, 1], difficult=[1, 0, 0, 0, 0, 1], crowd=[0, 1, 0, 0, 1, 0])
    with caplog.at_level(logging.INFO):
        first, empty = within_images([image(objects), image(Objects.of([], []), "b.png")], "mine, split 'train'")
    assert first.objects.boxes.tolist() == [[0, 5, 30, 20], [1, 1, 30, 4], [0, 0, 30, 20]]
    assert first.objects.labels.tolist() == [0, 0, 1]
    assert first.objects.difficult.tolist() == [True, False, True]
    assert first.objects.crowd.tolist() == [False, True, False]
    assert len(empty.objects) == 0
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "mine, split 'train': boxes that reach beyond their images are cut to them, in a.png (a.json)"),
        (
            "WARNING",
            "mine, split 'train': objects whose boxes have no area in their images are left out, in a.png (a.json)",
        ),
    ]


def test_rounding_is_not_worth_a_line_and_many_images_are_counted(caplog):
    with caplog.at_level(logging.INFO):
        within_images([image(Objects.of([[0, 0, 30.001, 20]], [0]))], "mine")
        assert not caplog.records
        gone = Objects.of([[1, 1, 1, 1]], [0])
        found = within_images([image(gone, f"{name}.png") for name in "abcde"], "mine")
    assert [len(each.objects) for each in found] == [0] * 5
    assert caplog.messages[0].endswith("in a.png (a.json), b.png (a.json), c.png (a.json) and 2 more")


@given(st.lists(st.tuples(*[st.floats(-50, 50, width=32)] * 4), max_size=6))
def test_whatever_the_boxes_those_that_stay_lie_within_and_have_area(boxes):
    objects = Objects.of(boxes, np.arange(len(boxes)))
    (found,) = within_images([image(objects)], "any")
    kept = found.objects
    assert (kept.boxes >= 0).all()
    assert (kept.boxes <= [30, 20, 30, 20]).all()
    assert (kept.boxes[:, 2:] > kept.boxes[:, :2]).all()
    for label, box in enumerate(boxes):
        inner = min(box[2], 30) > max(box[0], 0) and min(box[3], 20) > max(box[1], 0)
        assert (label in kept.labels) == inner


def test_the_fingerprint_is_of_files_and_of_everything_annotated():
    objects = Objects.of([[1, 2, 3, 4]], [0])
    before = split([image(objects)], listing=lambda: iter(["images/a.png 77"])).fingerprint()
    assert {name: part.files for name, part in before.parts.items()} == {"annotations": 1, "images": 1}
    again = split([image(Objects.of([[1, 2, 3, 4]], [0]))], listing=lambda: iter(["images/a.png 77"])).fingerprint()
    assert difference(before, again) is None
    other = split([image(objects)], listing=lambda: iter(["images/a.png 78"])).fingerprint()
    assert difference(before, other) == "the files of 'images' have other names, sizes or contents"
    for change in (
        {"boxes": objects.boxes + 1},
        {"labels": objects.labels + 1},
        {"difficult": ~objects.difficult},
        {"crowd": ~objects.crowd},
    ):
        now = split([image(dataclasses.replace(objects, **change))], listing=lambda: iter(["images/a.png 77"]))
        assert difference(before, now.fingerprint()) == "the files of 'annotations' have other names, sizes or contents"


def test_names_of_others_can_be_shown():
    found = split([image(Objects.of([], []), "two\nlines.png")], class_names=("c\x1bat", "dog"))
    assert found.images[0].name == r"two\nlines.png"
    assert found.class_names == (r"c\x1bat", "dog")
    with pytest.raises(ValueError, match="2 classes have 1 category_ids"):
        split([], category_ids=(1,))
