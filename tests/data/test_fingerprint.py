"""What a run knows of its images without reading them, and what it says when they have changed."""

import dataclasses
import json
import shutil

import pytest

from jaxcnn.data.fingerprint import Fingerprint, Part, difference, fingerprint
from jaxcnn.data.sources import open_source
from tests.data.batch_digests import write_photographs


@pytest.fixture
def photographs(tmp_path):
    write_photographs(tmp_path / "photos")
    return tmp_path / "photos"


def of(folder, split="train"):
    return fingerprint(open_source(f"folder:{folder}", split, max_bad_share=1.0))


def test_a_copy_elsewhere_is_the_same(photographs, tmp_path):
    found = of(photographs)
    shutil.copytree(photographs, tmp_path / "copy")
    assert of(tmp_path / "copy") == found
    assert Fingerprint.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert difference(found, of(tmp_path / "copy")) is None
    assert sum(part.files for part in found.parts.values()) == found.images
    assert tuple(found.parts) == found.class_names


def changed(folder, change):
    before = of(folder)
    change(folder / "train")
    return difference(before, of(folder))


def test_what_has_changed_is_said(photographs):
    images = len(list((photographs / "train" / "a").iterdir()))
    first, second = sorted((photographs / "train" / "a").iterdir())[:2]
    assert changed(photographs, lambda train: (train / "b").rename(train / "c")) == (
        "the class 'b' is gone and the class 'c' is new"
    )
    assert changed(photographs, lambda train: first.rename(train / "a" / "zz.jpg")) == (
        "the files of 'a' have other names, sizes or contents"
    )
    assert changed(photographs, lambda train: second.unlink()) == f"'a' has {images - 1} files and had {images}"
    third = sorted((photographs / "train" / "a").iterdir())[0]
    assert changed(photographs, lambda train: third.write_bytes(third.read_bytes() + b"\0")) == (
        "the files of 'a' have other names, sizes or contents"
    )
    (photographs / "train/a/deep").mkdir()
    assert changed(photographs, lambda train: third.rename(train / "a/deep" / third.name)) == (
        "the files of 'a' have other names, sizes or contents"
    )


def test_kinds_without_files_are_known_by_their_classes_and_their_number():
    digits = fingerprint(open_source("digits", "train"))
    assert (digits.images, digits.parts) == (1437, {})
    fewer = dataclasses.replace(digits, images=1400)
    assert difference(digits, fewer) == "it has 1,400 images and had 1,437"
    assert difference(digits, fingerprint(open_source("digits", "test"))) == "the split is 'test' and was 'train'"
    turned = dataclasses.replace(digits, class_names=digits.class_names[::-1])
    assert difference(digits, turned) == "its classes are in another order"
    more = dataclasses.replace(digits, class_names=(*digits.class_names, "a", "b", "c", "d"))
    assert difference(digits, more) == "the classes 'a', 'b', 'c' and 1 more are new"


def test_shards_of_tfds_are_in_no_folder():
    before = Fingerprint("train", 5, ("x",), {"": Part(2, "0")})
    for part in (Part(2, "1"), Part(3, "0")):
        other = dataclasses.replace(before, parts={"": part})
        assert difference(before, other) == "its files have other names, sizes or contents"
    assert difference(before, dataclasses.replace(before, parts={})) is None  # nothing is known of it
