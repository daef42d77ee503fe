"""Proposals are computed once, are the same in every order of computation, and cover the objects."""

import dataclasses
import logging

import numpy as np
import pytest

from jaxcnn.config.proposals import ProposalsConfig
from jaxcnn.detection import proposals
from jaxcnn.detection.proposals import ordered, proposals_of, search
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted
from tests.detection.made import picture, split_of

CONFIG = ProposalsConfig(min_size=4)


@pytest.fixture
def searched(monkeypatch):
    """The images that are searched."""
    found = []

    def counted(image, config):
        found.append(image)
        return search(image, config)

    monkeypatch.setattr(proposals, "search", counted)
    return found


def test_proposals_are_computed_once(searched, tmp_path, caplog):
    split = split_of([picture(0), picture(1), picture(2), picture(0)])
    first = proposals_of(split, CONFIG, tmp_path)
    assert len(searched) in (3, 4)  # two threads may search the same pixels at a time
    searched.clear()
    with caplog.at_level(logging.INFO, "jaxcnn"):
        again = proposals_of(split, CONFIG, tmp_path)
    assert not searched
    assert "4 images, 0 of which were searched now" in caplog.text
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.float32
        assert one.shape[1] == 4
    np.testing.assert_array_equal(first[0], first[3])
    np.testing.assert_array_equal(first[1], search(picture(1), CONFIG))
    assert not list(tmp_path.rglob(".*"))
    # Any option has proposals of its own, and other images of the same folder are searched.
    proposals_of(split_of([picture(1)]), dataclasses.replace(CONFIG, min_size=5), tmp_path)
    proposals_of(split_of([picture(4), picture(1)]), CONFIG, tmp_path)
    assert len(searched) == 2


def test_boxes_are_inside_and_found_once_whatever_the_order():
    boxes = search(picture(0), CONFIG)
    assert len(boxes) >= 3
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [56, 40]).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 4).all()
    for box in ((5, 6, 20, 25), (30, 10, 50, 30)):
        assert (np.abs(boxes - box).max(1) <= 2).any(), box
    mixed = np.random.RandomState(0).permutation(np.concatenate([boxes, boxes[:5]]))
    np.testing.assert_array_equal(ordered(mixed), boxes)


def test_large_boxes_tend_to_come_first():
    corners = np.random.RandomState(0).uniform(0, 100, (400, 2))
    boxes = np.concatenate([corners, corners + np.random.RandomState(1).uniform(1, 100, (400, 2))], axis=1)
    found = ordered(boxes.astype(np.float32))
    areas = (found[:, 2:] - found[:, :2]).prod(1)
    assert areas[:100].mean() > 1.5 * areas[-100:].mean()
    assert areas[:100].min() < np.median(areas)
    assert ordered(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_boxes_of_an_image_that_is_scaled_down_are_in_its_own_pixels():
    large = picture(0).repeat(4, 0).repeat(4, 1)
    boxes = search(large, dataclasses.replace(CONFIG, max_side=56))
    for box in ((20, 24, 80, 100), (120, 40, 200, 120)):
        assert (np.abs(boxes - box).max(1) <= 8).any(), box
    assert boxes[:, 2:].max() <= 224


def test_images_without_proposals_have_none_and_are_not_searched_again(searched, tmp_path):
    tiny, flat = np.zeros((3, 3, 3), np.uint8), np.full((16, 24, 3), 7, np.uint8)
    for _ in range(2):
        found = proposals_of(split_of([tiny, flat]), CONFIG, tmp_path)
        assert found[0].shape == (0, 4)
        np.testing.assert_array_equal(found[1], [[0, 0, 24, 16]])
    assert len(searched) == 2
    assert proposals_of(split_of([]), CONFIG, tmp_path) == []


def test_a_stop_keeps_what_was_found(searched, tmp_path, monkeypatch):
    monkeypatch.setattr(proposals, "available_cores", lambda: 1)
    split = split_of([picture(index) for index in range(8)])
    with pytest.raises(Interrupted):
        proposals_of(split, CONFIG, tmp_path, stop=lambda: len(list(tmp_path.rglob("*.npy"))) >= 2)
    kept = {path.parent.name + path.stem for path in tmp_path.rglob("*.npy")}
    assert len(kept) >= 2
    searched.clear()
    proposals_of(split, CONFIG, tmp_path)
    assert not kept & {proposals.content_sha256(image) for image in searched}


def test_a_damaged_file_is_computed_again(tmp_path, caplog):
    split = split_of([picture(0)])
    (before,) = proposals_of(split, CONFIG, tmp_path)
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:-5])
    (after,) = proposals_of(split, CONFIG, tmp_path)
    np.testing.assert_array_equal(before, after)
    assert "cannot be read" in caplog.text
    np.testing.assert_array_equal(np.load(path), before)


def test_an_image_that_cannot_be_read_and_a_folder_that_cannot_be_written_are_said(tmp_path):
    def read():
        raise UserError("a.jpg is no image: replace it")

    split = split_of([picture(0)])
    bad = dataclasses.replace(split, images=[dataclasses.replace(split.images[0], read=read)])
    with pytest.raises(UserError, match=r"a\.jpg is no image: replace it"):
        proposals_of(bad, CONFIG, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written: Not a directory: choose another folder of proposals"):
        proposals_of(split, CONFIG, tmp_path / "file")
