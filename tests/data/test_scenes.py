"""Scenes for detection: exact boxes, two layouts that agree, who is in which split, and the same bytes after a kill."""

import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcnn.config import ConfigError
from jaxcnn.config.scenes import ScenesConfig
from jaxcnn.data.grounds import ground_images
from jaxcnn.data.scenes import Scene, SceneObject, compose_scene, make_scenes, part_of, plan_scenes
from jaxcnn.data.things import Thing, Things, open_things
from jaxcnn.detection.sources import annotated_splits, open_annotated
from jaxcnn.errors import UserError
from tests.data.test_categories import files, thing

SMALL = ScenesConfig(images=5, validation_images=3, size=64, grounds=("plain",), format="png", min_cut_outs=3, count=2)


class Rectangles(Things):
    """Opaque rectangles, each of one colour that is its number."""

    class_names = ("rectangle",)
    are_ink = False

    def __init__(self, shapes):
        self._shapes = shapes

    def drawn(self, split, rng):
        raise NotImplementedError

    def shown(self, thing, side):
        number = int(thing.name)
        return np.full((*self._shapes[number], 4), (number + 1, 0, 0, 255), np.uint8)


@pytest.fixture
def stamps(tmp_path):
    folder = tmp_path / "stamps"
    for number, (category, count) in enumerate((("animals/birds", 5), ("food/fruit", 4))):
        (folder / category).mkdir(parents=True)
        for index in range(count):
            thing(100 * number + index).save(folder / category / f"{index}.png")
    return folder


def test_both_layouts_are_read_alike(stamps, tmp_path):
    made = make_scenes(str(stamps), tmp_path / "data", dataclasses.replace(SMALL, empty=0.3), workers=2)
    assert (made.scenes, made.was_there, list(made.things)) == ((5, 3), False, ["birds", "fruit"])
    names = [f"{kind}:{tmp_path / 'data'}" for kind in ("coco", "voc")]
    assert [annotated_splits(name) for name in names] == [("train", "validation")] * 2
    for split in ("train", "validation"):
        coco, voc = (open_annotated(name, split) for name in names)
        assert coco.class_names == voc.class_names == ("birds", "fruit")
        assert coco.category_ids == voc.category_ids
        assert len(coco) == len(voc) == made.scenes[split == "validation"]
        for one, other in zip(coco.images, voc.images, strict=True):
            for field in ("name", "image_id", "width", "height"):
                assert getattr(one, field) == getattr(other, field)
            for field in ("boxes", "labels", "difficult", "crowd"):
                np.testing.assert_array_equal(getattr(one.objects, field), getattr(other.objects, field))
            np.testing.assert_array_equal(one.read(), other.read())
        assert coco.fingerprint() == voc.fingerprint()
    counts = {len(image.objects) for name in ("train", "validation") for image in open_annotated(names[0], name).images}
    assert 0 in counts
    assert max(counts) >= 2


@pytest.mark.parametrize("things", ["digits", "stamps"])
def test_a_box_is_exactly_around_what_is_to_be_seen(stamps, tmp_path, things):
    config = dataclasses.replace(SMALL, objects=(1, 1))
    name = things if things == "digits" else str(stamps)
    make_scenes(name, tmp_path / "data", config)
    for split in ("train", "validation"):
        for image in open_annotated(f"coco:{tmp_path / 'data'}", split).images:
            pixels = image.read()
            corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
            ground = next(each for each in corners if (each == corners).all(1).sum() >= 3)
            rows, columns = (np.flatnonzero((pixels != ground).any((axis, 2))) for axis in (1, 0))
            around = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert image.objects.boxes.tolist() == [around]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 24), st.integers(1, 30)), min_size=1, max_size=6), st.integers(0, 10**6))
def test_boxes_are_of_the_part_that_nothing_hides(shapes, seed):
    objects = [
        SceneObject(Thing(str(number), "rectangle", ""), 30, (0, 0, 0), False, seed + number)
        for number in range(len(shapes))
    ]
    scene = Scene(0, 30, 24, "#000000", (0, 0, 1), tuple(objects))
    pixels, names, boxes = compose_scene(scene, Rectangles(shapes), None, max_overlap=1.0)
    expected = []
    for number in range(len(shapes)):
        rows, columns = np.nonzero(pixels[..., 0] == number + 1)
        if len(rows):
            expected.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert boxes.tolist() == expected
    assert names == ("rectangle",) * len(expected)
    pixels, _, boxes = compose_scene(scene, Rectangles(shapes), None, max_overlap=0.0)
    covered = np.zeros(pixels.shape[:2], int)
    for left, top, right, bottom in boxes:
        covered[top:bottom, left:right] += 1
    assert covered.max() == 1
    assert 1 <= len(boxes) <= len(shapes)


def test_no_thing_is_in_both_splits(stamps):
    for things, config in (("digits", ScenesConfig(size=64)), (str(stamps), SMALL)):
        shown = [set(), set()]
        for scene in plan_scenes(open_things(things, config, None, 0), config).values():
            shown[scene.split] |= {each.thing.sha256 for each in scene.objects}
        assert all(shown)
        assert not shown[0] & shown[1]


def test_no_ground_is_in_both_splits():
    ground = np.arange(60).reshape(6, 10, 1)
    parts = [part_of(ground, split, 0.4) for split in (0, 1)]
    assert [part.shape for part in parts] == [(6, 6, 1), (6, 4, 1)]
    assert not set(parts[0].ravel()) & set(parts[1].ravel())
    assert [part_of(ground.transpose(1, 0, 2), split, 0.0).shape for split in (0, 1)] == [(9, 6, 1), (1, 6, 1)]


def test_the_seed_decides_and_threads_and_kills_do_not(tmp_path, monkeypatch):
    make_scenes("digits", tmp_path / "whole", SMALL, workers=0)
    make_scenes("digits", tmp_path / "other", dataclasses.replace(SMALL, seed=1), workers=0)
    assert files(tmp_path / "whole") != files(tmp_path / "other")
    replace = os.replace
    for allowed in (1, 6, 20):
        left = iter(range(allowed))

        def killed(source, target, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            replace(source, target)

        with monkeypatch.context() as patched:
            patched.setattr("os.replace", killed)
            with pytest.raises(KeyboardInterrupt):
                make_scenes("digits", tmp_path / "data", SMALL, workers=0)
    assert not (tmp_path / "data").exists()
    with pytest.raises(UserError, match=r"incomplete.data is left of a command with other options or images"):
        make_scenes("digits", tmp_path / "data", dataclasses.replace(SMALL, empty=1.0))
    scratch = tmp_path / "incomplete.data"
    before = {path: path.stat().st_mtime_ns for path in scratch.glob("*/0000*") if not path.name.startswith(".")}
    assert not make_scenes("digits", tmp_path / "data", SMALL, workers=3).was_there
    assert files(tmp_path / "data") == files(tmp_path / "whole")
    assert len(before) == 16
    assert all((tmp_path / "data" / p.relative_to(scratch)).stat().st_mtime_ns == time for p, time in before.items())
    assert make_scenes("digits", tmp_path / "data", SMALL).was_there
    with pytest.raises(UserError, match="data exists already and is not what this would make"):
        make_scenes("digits", tmp_path / "data", dataclasses.replace(SMALL, size=65))
    assert files(tmp_path / "data") == files(tmp_path / "whole")


def test_a_scene_without_objects_is_one_in_both_layouts(tmp_path):
    make_scenes("digits", tmp_path / "data", dataclasses.replace(SMALL, empty=1.0))
    for kind in ("coco", "voc"):
        split = open_annotated(f"{kind}:{tmp_path / 'data'}", "validation")
        assert [len(image.objects) for image in split.images] == [0, 0, 0]
        assert len(split.class_names) == 10


def test_any_grey_data_set_is_ink_and_its_classes_are_named_for_files(tmp_path):
    for split, value in (("train", 255), ("test", 200)):
        for number, name in enumerate(("a b", "c")):
            (tmp_path / split / name).mkdir(parents=True)
            pixels = np.zeros((9, 9), np.uint8)
            pixels[2 + number : 7, 3:5] = value
            Image.fromarray(pixels).save(tmp_path / split / name / "1.png")
    made = make_scenes(f"folder:{tmp_path}", tmp_path / "data", SMALL)
    assert list(made.things) == ["a_b", "c"]
    assert {path.name for path in (tmp_path / "data" / "ImageSets" / "Main").iterdir()} == {
        f"{name}{split}.txt" for name in ("", "a_b_", "c_") for split in ("train", "validation")
    }


def test_a_photograph_is_the_ground_and_each_ground_can_be_chosen(tmp_path, monkeypatch):
    make_scenes("digits", tmp_path / "data", dataclasses.replace(SMALL, grounds=("photographs",)))
    plan = json.loads((tmp_path / "data" / "scenes.json").read_text())
    assert plan["grounds"].keys() == {"photographs/china.jpg", "photographs/flower.jpg"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="the grounds scikit-image need the package scikit-image: install it"):
        ground_images("scikit-image")


def test_of_scikit_images_pictures_the_photographs_are_taken(tmp_path, monkeypatch):
    (tmp_path / "skimage" / "data").mkdir(parents=True)
    (tmp_path / "skimage" / "__init__.py").write_text("")
    for name in ("chelsea.png", "text.png", "rocket.jpg"):
        Image.new("RGB", (20, 30)).save(tmp_path / "skimage" / "data" / name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "skimage", raising=False)
    assert ground_images("scikit-image") == ("scikit-image/chelsea.png", "scikit-image/rocket.jpg")


@pytest.mark.parametrize(
    ("things", "sentence"),
    [
        ("synthetic", r"is not ink on black in grey: name a data set such as digits, or a folder of cut-outs"),
        ("nowhere", r"there is no folder nowhere: check the path"),
    ],
)
def test_things_that_are_none_are_a_sentence(tmp_path, monkeypatch, things, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence):
        make_scenes(things, tmp_path / "data", SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"objects": (0, 3)}, "objects must be the fewest, of at least 1, then the most"),
        ({"objects": (4, 3)}, "objects must be the fewest, of at least 1, then the most"),
        ({"scale": (0.0, 0.3)}, "scale must be above 0"),
        ({"size": 8}, "size must be greater than or equal to 16"),
    ],
)
def test_wrong_options_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ScenesConfig(**options)
