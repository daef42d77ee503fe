import json

import numpy as np
import pytest
from PIL import Image

from jaxcnn.config import DataConfig, Resize
from jaxcnn.data.numbering import image_numbers, read_names, without
from jaxcnn.data.opening import open_split
from jaxcnn.data.sources import open_source
from jaxcnn.errors import UserError
from jaxcnn.evaluation.details import class_errors, confusion_matrix, in_words, save_details, wilson_interval
from jaxcnn.evaluation.predictions import Predictions


@pytest.mark.parametrize(
    ("wrong", "images", "low", "high"),
    [
        # Newcombe (1998), table I, method 3.
        (81, 263, 25.53, 36.62),
        (15, 148, 6.24, 16.05),
        (0, 20, 0.00, 16.11),
        (1, 29, 0.61, 17.18),
    ],
)
def test_wilsons_interval(wrong, images, low, high):
    assert wilson_interval(100 * wrong / images, images) == pytest.approx((low, high), abs=0.006)
    mirrored = wilson_interval(100 - 100 * wrong / images, images)
    assert mirrored == pytest.approx((100 - high, 100 - low), abs=0.006)


def test_in_words():
    assert in_words({1: 50.0, 5: 0.0}, 20) == (
        "top-1 error 50.00 % (95 % interval by Wilson's score: 29.93 to 70.07)\n"
        "top-5 error 0.00 % (95 % interval by Wilson's score: 0.00 to 16.11)\n"
        "20 images"
    )


def some_predictions():
    labels = np.array([0, 0, 1, 2, 2, 1, 0], np.int32)
    answers = [0, 1, 1, 0, 2, 2, 0]
    known = np.arange(7) != 5
    return Predictions(np.eye(4, dtype=np.float32)[answers], labels, known)


def test_confusion_and_class_errors():
    matrix = confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 0]), 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [1, 0, 0]])
    errors = class_errors(np.array([0, 0, 2]), np.array([0, 1, 4]), 1, 3)
    np.testing.assert_array_equal(errors, [50, np.nan, 100])


def test_details_add_up(tmp_path):
    predictions = some_predictions()
    save_details(tmp_path / "out", predictions, list("abcd"), (1, 2), {"networks": ["x"]})
    report = json.loads((tmp_path / "out" / "result.json").read_text())
    assert report["networks"] == ["x"]
    assert report["images"] == 6
    assert report["top1_error"] == pytest.approx(100 * 2 / 6)
    assert report["top1_interval"] == pytest.approx(wilson_interval(100 * 2 / 6, 6))
    assert report["classes"][0] == {"class": "a", "images": 3, "top1_error": pytest.approx(100 / 3), "top2_error": 0.0}
    assert report["classes"][3] == {"class": "d", "images": 0, "top1_error": None, "top2_error": None}
    arrays = np.load(tmp_path / "out" / "details.npz")
    np.testing.assert_array_equal(arrays["confusion"], [[2, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(arrays["image"], [0, 1, 2, 3, 4, 6])
    np.testing.assert_array_equal(arrays["top"][:, 0], [0, 1, 1, 0, 2, 0])
    # The label second, third (a tie with lower classes before it), or first.
    np.testing.assert_array_equal(arrays["rank"], [0, 1, 0, 2, 0, 0])
    np.testing.assert_array_equal(arrays["label"], [0, 0, 1, 2, 2, 0])


def test_scores_that_are_not_numbers_name_no_class():
    predictions = some_predictions()
    predictions.scores[1] = np.nan
    assert predictions.result((1,)).errors[1] == pytest.approx(100 * 2 / 6)
    with pytest.raises(UserError, match="scores of 1 images are not numbers"):
        predictions.top(1)
    with pytest.raises(UserError, match="the 5 best classes are asked for, and there are only 4"):
        some_predictions().top(5)


@pytest.fixture
def photographs(tmp_path):
    """Six images whose numbers are not in the order of their folders."""
    for number, label in ((1, "b"), (2, "a"), (3, "b"), (4, "a"), (5, "a"), (6, "b")):
        folder = tmp_path / "photos" / "val" / label
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(folder / f"ILSVRC2012_val_{number:08d}.png")
    return tmp_path / "photos"


def test_images_are_left_out_by_name_or_number(photographs):
    source = open_source(f"folder:{photographs}", "val")
    np.testing.assert_array_equal(image_numbers(source), [2, 4, 5, 1, 3, 6])
    fewer = without(source, ["4", "ILSVRC2012_val_00000003.png", "ILSVRC2012_val_00000006"])
    assert [fewer.file_name(index)[-6:-4] for index in range(fewer.size)] == ["02", "05", "01"]
    assert [fewer[index][1] for index in range(3)] == [0, 0, 1]
    assert fewer.describe(1).endswith("00000005.png")
    config = DataConfig(name=f"folder:{photographs}", channels=1, evaluation_crop=Resize(size=8))
    split = open_split(config, left_out=["4"])
    assert split.size == 5
    np.testing.assert_array_equal(split.images[:, 0, 0, 0], [2, 5, 1, 3, 6])
    with pytest.raises(UserError, match=r"the 5 images of .* are not numbered from 1 to 5 .*_00000006.png has no such"):
        split.numbers()
    assert list(open_split(config).numbers()) == [2, 4, 5, 1, 3, 6]


def test_lists_of_images_that_are_wrong(photographs, tmp_path):
    source = open_source(f"folder:{photographs}", "val")
    with pytest.raises(
        UserError, match=r"'7' is in the list of images to leave out, and no images of .* have that name"
    ):
        without(source, ["7"])
    with pytest.raises(UserError, match=r"no image of .* is left"):
        without(source, list("123456"))
    (photographs / "val" / "a" / "other_1.png").write_bytes(
        (photographs / "val/b/ILSVRC2012_val_00000001.png").read_bytes()
    )
    with pytest.raises(UserError, match=r"'1' is in the list .* and 2 images of"):
        without(open_source(f"folder:{photographs}", "val"), ["1"])
    with pytest.raises(UserError, match="digits does not keep the names of its images' files"):
        without(open_source("digits", "test"), ["1"])
    with pytest.raises(UserError, match=r"the list .*nope cannot be read: No such file"):
        read_names(tmp_path / "nope")
    (tmp_path / "list").write_text("a\n\n b \n")
    assert read_names(tmp_path / "list") == ("a", "b")
    (tmp_path / "list").write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        read_names(tmp_path / "list")
