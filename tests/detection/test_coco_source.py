"""Folders in COCO's layout: what is read, and the sentence for each way in which one can be wrong."""

import json

import pytest

from jaxcnn.detection.sources import absolute_annotated_name, annotated_splits, open_annotated, register_annotated
from jaxcnn.errors import UserError
from tests.detection.folders import coco_content, coco_folder, save_image

ANNOTATIONS = [(4, 20, (1, 2, 3.5, 4)), (4, 10, (0, 0, 30, 20), 1), (4, 20, (5, 5, 0, 3))]


def test_images_objects_and_crowds_are_read(tmp_path):
    name = coco_folder(tmp_path, coco_content(annotations=ANNOTATIONS))
    split = open_annotated(name, "train")
    assert (split.name, split.split, split.class_names, split.category_ids) == (name, "train", ("cat", "dog"), (10, 20))
    first, second = split.images
    assert (first.name, first.image_id, first.width, first.height) == ("images/4.png", 4, 30, 20)
    assert first.objects.boxes.tolist() == [[1, 2, 4.5, 6], [0, 0, 30, 20]]  # the one without width is left out
    assert first.objects.labels.tolist() == [1, 0]
    assert first.objects.crowd.tolist() == [False, True]
    assert not first.objects.difficult.any()
    assert first.read().shape == (20, 30, 3)
    assert (second.name, len(second.objects)) == ("images/9.png", 0)
    assert split.fingerprint().parts["images"].files == 2
    assert open_annotated(name, "train").fingerprint() == split.fingerprint()


def test_labels_are_in_the_order_of_the_categories_numbers(tmp_path):
    content = coco_content(annotations=ANNOTATIONS)
    content["categories"].reverse()
    assert open_annotated(coco_folder(tmp_path, content), "train").class_names == ("cat", "dog")


@pytest.mark.parametrize("place", ["train2017", "images/train2017", "images", "."])
def test_the_layout_of_coco_itself_and_its_relatives(tmp_path, place):
    name = coco_folder(tmp_path, split="instances_train2017", images=place)
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    assert annotated_splits(name) == ("train2017",)
    split = open_annotated(name, "train2017")
    assert split.images[0].name == ("4.png" if place == "." else f"{place}/4.png")
    assert split.images[1].read().shape == (40, 10, 3)


def test_no_annotation_at_all_is_a_split_without_objects(tmp_path):
    split = open_annotated(coco_folder(tmp_path, coco_content(annotations=())), "train")
    assert [len(image.objects) for image in split.images] == [0, 0]


def change(**parts):
    return lambda content: content | parts


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (change(images=[]), r"the split 'train' of coco:.* has no images: name another"),
        (change(annotations=None), r"train.json has no list of objects 'annotations', as COCO's .*: name a folder"),
        (change(categories=[3]), r"train.json has no list of objects 'categories'"),
        (change(images=[{"id": "4"}]), r"train.json has one of its images whose id is '4': give a whole number"),
        (change(categories=[{"id": 1}]), r"train.json has one of its categories whose name is None: give a text"),
        (lambda c: c | {"images": c["images"] * 2}, r"train.json has two of its images with one id: give each an id"),
        (
            change(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]),
            r"train.json names two categories 'cat': give each a name of its own",
        ),
        (
            lambda c: coco_content(annotations=[(5, 10, (0, 0, 1, 1))]),
            r"train.json has an annotation whose image_id 5 is not in it: correct it",
        ),
        (
            lambda c: coco_content(annotations=[(4, 30, (0, 0, 1, 1))]),
            r"train.json has an annotation whose category_id 30 is not in it: correct it",
        ),
        (
            lambda c: coco_content(annotations=[(4, 10, (0, 0, 1))]),
            r"train.json has a bbox \[0, 0, 1\] of image 4: give four numbers",
        ),
        (
            lambda c: coco_content(annotations=[(4, 10, (0, 0, 1, float("nan")))]),
            r"train.json has a bbox \[0, 0, 1, nan\] of image 4: give four numbers",
        ),
        (
            lambda c: c | {"images": [c["images"][0] | {"width": 0}]},
            r"train.json says that image 4 has 0 by 20 pixels: correct it",
        ),
        (
            lambda c: c | {"images": [c["images"][0] | {"file_name": "gone.png"}]},
            r"train.json names 1 images that are not there, the first .*images/gone.png: copy the images there",
        ),
        (
            lambda c: c | {"images": [c["images"][0] | {"file_name": "gone.png"}, c["images"][1]]},
            r"train.json names 1 images that are not there, the first .*images/gone.png: copy the images there",
        ),
    ],
)
def test_a_wrong_file_is_a_sentence(tmp_path, damage, sentence):
    name = coco_folder(tmp_path)
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(damage(coco_content())))
    with pytest.raises(UserError, match=sentence):
        open_annotated(name, "train")


@pytest.mark.parametrize("content", ["", "[", "<annotation/>", "[" * 100_000], ids=["empty", "cut", "xml", "deep"])
def test_an_empty_or_cut_off_file_is_a_sentence(tmp_path, content):
    name = coco_folder(tmp_path)
    (tmp_path / "annotations" / "train.json").write_text(content)
    with pytest.raises(UserError, match=r"train.json is not JSON \(.*\): copy it again"):
        open_annotated(name, "train")


def test_what_is_not_there_is_a_sentence(tmp_path):
    for name, sentence in (
        ("coca:x", r"'coca:x' is not a data set for detection: choose from 'coco:FOLDER'"),
        (f"coco:{tmp_path}/no", r"there is no folder .*/no: name a folder in COCO's layout"),
        (f"coco:{tmp_path}", r"there is no folder .*/annotations: name a folder in COCO's layout"),
    ):
        with pytest.raises(UserError, match=sentence):
            annotated_splits(name)
    (tmp_path / "annotations").mkdir()
    with pytest.raises(UserError, match=r"annotations holds no \*.json"):
        annotated_splits(f"coco:{tmp_path}")
    with pytest.raises(UserError, match=r"has no split 'trian': did you mean 'train'"):
        open_annotated(coco_folder(tmp_path), "trian")


def test_an_image_that_cannot_be_read_or_is_of_another_size_is_a_sentence(tmp_path):
    split = open_annotated(coco_folder(tmp_path), "train")
    save_image(tmp_path / "images" / "4.png", 20, 30)
    with pytest.raises(UserError, match=r"4.png has 20 by 30 pixels, and .*train.json says 30 by 20: put the file"):
        split.images[0].read()
    (tmp_path / "images" / "4.png").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"4.png is not an image: put the right file in its place"):
        split.images[0].read()
    (tmp_path / "images" / "4.png").unlink()
    with pytest.raises(UserError, match=r"4.png cannot be read \(No such file or directory\): make it readable"):
        split.images[0].read()
    with pytest.raises(UserError, match=r"the files of coco:.* cannot be listed"):
        split.fingerprint()


def test_names_are_kept_absolute_and_kinds_are_added_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_annotated_name("coco:here") == f"coco:{tmp_path}/here"
    with pytest.raises(UserError, match="a kind of annotated data set named 'coco' already"):
        register_annotated("coco", open=lambda request: None, splits=lambda rest, data_dir: ())
    with pytest.raises(UserError, match="'a b' cannot be a kind of data set"):
        register_annotated("a b", open=lambda request: None, splits=lambda rest, data_dir: ())
