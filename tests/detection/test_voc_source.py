"""Folders in VOC's layout: what is read, and the sentence for each way in which one can be wrong."""

import pytest

from jaxcnn.detection.sources import annotated_splits, open_annotated
from jaxcnn.errors import UserError
from tests.detection.folders import save_image, voc_annotation, voc_folder, voc_object

PART = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
OBJECTS = [
    voc_object("dog", (1, 2, 1, 4), more=PART),
    voc_object("cat", (1, 1, 30, 20), difficult=1),
    voc_object("cat", (3.5, 2, 9, 12.25)),
    voc_object("cat", (5, 5, 4, 9)),
]


def test_boxes_count_from_one_and_include_their_end_and_difficult_objects_are_said(tmp_path):
    name = voc_folder(tmp_path, {"000012": voc_annotation(objects=OBJECTS), "000007": voc_annotation()})
    assert annotated_splits(name) == ("train",)
    split = open_annotated(name, "train")
    assert (split.class_names, split.category_ids) == (("cat", "dog"), (1, 2))
    first, second = split.images
    assert (first.name, first.image_id, first.width, first.height) == ("JPEGImages/000012.jpg", 12, 30, 20)
    assert first.objects.boxes.tolist() == [[0, 1, 1, 4], [0, 0, 30, 20], [2.5, 1, 9, 12.25]]
    assert first.objects.labels.tolist() == [1, 0, 0]
    assert first.objects.difficult.tolist() == [False, True, False]
    assert not first.objects.crowd.any()
    assert first.read().shape == (20, 30, 3)
    assert (second.image_id, len(second.objects)) == (7, 0)
    assert split.fingerprint().parts["JPEGImages"].files == 2


def test_classes_without_lists_are_those_of_all_annotations(tmp_path):
    one = {"a": voc_annotation(objects=[voc_object("zebra", (1, 1, 2, 2))])}
    name = voc_folder(tmp_path, one, split="train", classes=(), suffix=".png")
    other = {"b": voc_annotation(objects=[voc_object("ant", (1, 1, 2, 2))])}
    voc_folder(tmp_path, other, split="val", classes=(), suffix=".JPEG")
    splits = [open_annotated(name, split) for split in ("train", "val")]
    assert [split.class_names for split in splits] == [("ant", "zebra")] * 2
    assert [split.images[0].objects.labels.tolist() for split in splits] == [[1], [0]]
    assert [split.images[0].name for split in splits] == ["JPEGImages/a.png", "JPEGImages/b.JPEG"]


def test_images_are_numbered_where_a_name_is_no_number(tmp_path):
    name = voc_folder(tmp_path / "a", {"2008_000007": voc_annotation(), "2008_000003": voc_annotation()})
    assert [image.image_id for image in open_annotated(name, "train").images] == [1, 2]
    name = voc_folder(tmp_path / "b", {"07": voc_annotation(), "7": voc_annotation()})
    assert [image.image_id for image in open_annotated(name, "train").images] == [1, 2]


def test_a_split_with_an_underscore_is_no_class(tmp_path):
    name = voc_folder(tmp_path, {"1": voc_annotation()})
    (tmp_path / "ImageSets" / "Main" / "small_train.txt").write_text("1\n")
    assert annotated_splits(name) == ("small_train", "train")
    assert open_annotated(name, "small_train").class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", r"the annotation .*1.xml is not XML \(no element found.*\): copy it again"),
        ("{}", r"1.xml is not XML"),
        ("<?xml version='1.0' encoding='no'?><annotation/>", r"1.xml is not XML"),
        ("<annotation/>", r"1.xml has no size/width in its <annotation>: add it"),
        (voc_annotation(0, 20), r"1.xml says that its image has 0 by 20 pixels: correct it"),
        (voc_annotation("x"), r"1.xml says size/width 'x': give a number"),
        (voc_annotation(objects=["<object><bndbox/></object>"]), r"1.xml has no bndbox/xmin in its <object>"),
        (
            voc_annotation(objects=[voc_object("cat", ("nan", 1, 2, 2))]),
            r"1.xml says bndbox/xmin 'nan': give a number",
        ),
        (voc_annotation(objects=[voc_object(" ", (1, 1, 2, 2))]), r"1.xml has no name in its <object>"),
        (
            voc_annotation(objects=[voc_object("cot", (1, 1, 2, 2))]),
            r"1.xml has an object of the class 'cot', of which .* has no list .*CLASS_SPLIT.txt: did you mean 'cat'\?",
        ),
    ],
)
def test_a_wrong_annotation_is_a_sentence(tmp_path, content, sentence):
    name = voc_folder(tmp_path, {"1": content})
    with pytest.raises(UserError, match=sentence):
        open_annotated(name, "train")


def test_what_is_missing_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*/no: name a folder in VOC's layout"):
        annotated_splits(f"voc:{tmp_path}/no")
    name = voc_folder(tmp_path, {"1": voc_annotation()}, classes=())
    lists = tmp_path / "ImageSets" / "Main"
    (tmp_path / "Annotations" / "1.xml").unlink()
    with pytest.raises(UserError, match=r"the annotation .*1.xml cannot be read \(No such file.*\): make it readable"):
        open_annotated(name, "train")
    (tmp_path / "JPEGImages" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"train.txt names 1 images that .*JPEGImages does not hold, the first '1'"):
        open_annotated(name, "train")
    (lists / "train.txt").write_text("1\n2\n1\n")
    with pytest.raises(UserError, match=r"train.txt names '1' twice: remove one of the lines"):
        open_annotated(name, "train")
    (lists / "train.txt").write_text("\n")
    with pytest.raises(UserError, match=r"the split 'train' of voc:.* has no images: name another"):
        open_annotated(name, "train")
    (lists / "train.txt").unlink()
    with pytest.raises(UserError, match=r"Main holds no lists \*.txt of images"):
        annotated_splits(name)


def test_an_image_of_another_size_is_a_sentence(tmp_path):
    split = open_annotated(voc_folder(tmp_path, {"1": voc_annotation()}), "train")
    save_image(tmp_path / "JPEGImages" / "1.jpg", 20, 30)
    with pytest.raises(UserError, match=r"1.jpg has 20 by 30 pixels, and .*1.xml says 30 by 20"):
        split.images[0].read()
