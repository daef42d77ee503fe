"""Data sets made of cut-outs: which files are cut-outs, who is in which split, and the same bytes after a kill."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxcnn.config import ConfigError
from jaxcnn.config.categories import CategoriesConfig
from jaxcnn.data.categories import Composition, compose, make_categories
from jaxcnn.data.chosen import class_names
from jaxcnn.data.cut_outs import find_categories, flat_share
from jaxcnn.data.sources import evaluation_split, open_source
from jaxcnn.errors import UserError

ROOT = str(Path(__file__).parents[2])
SMALL = CategoriesConfig(
    count=2, min_cut_outs=3, images=5, validation_images=3, size=16, grounds=("plain",), validation_share=0.3
)


def thing(seed, height=20, width=14, drawn=False):
    """A disc of noise on nothing; or of one colour."""
    rng = np.random.RandomState(seed)
    pixels = rng.randint(256, size=(height, width, 4)).astype(np.uint8)
    if drawn:
        pixels[..., :3] = pixels[0, 0, :3]
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    pixels[..., 3] = np.where(rows**2 + columns**2 < 0.8, 255, 0)
    return Image.fromarray(pixels)


@pytest.fixture
def stamps(tmp_path):
    folder = tmp_path / "stamps"
    for number, (category, count) in enumerate(
        (("animals/birds", 6), ("food/fruit", 4), ("food/hats", 3), ("hats", 1))
    ):
        (folder / category).mkdir(parents=True)
        for index in range(count):
            thing(100 * number + index).save(folder / category / f"{'abcdef'[index]}.png")
    return folder


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_no_cut_out_is_left_out_and_counted(stamps):
    birds = stamps / "animals" / "birds"
    thing(1, drawn=True).save(birds / "drawn.png")
    thing(2).convert("RGB").save(birds / "square.png")
    (birds / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (birds / "sketch.svg").write_text("<svg></svg>")
    shutil.copy(birds / "a.png", birds / "z.png")
    mirrored = ImageOps.expand(ImageOps.mirror(thing(3)), 2)  # birds/d.png, with a margin
    mirrored.save(birds / "zz.png")
    Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(birds / "nothing.png")
    (birds / "cartoon").mkdir()
    thing(77).save(birds / "cartoon" / "a.png")
    (birds / ".hidden").mkdir()
    thing(4).save(birds / ".hidden" / "a.png")
    found = {each.folder: each for each in find_categories(stamps, drawing_folders=("cartoon",), workers=2)}
    assert [cut_out.path for cut_out in found["animals/birds"].cut_outs] == [f"animals/birds/{n}.png" for n in "abcdef"]
    assert found["animals/birds"].left_out == {
        "drawing": 1,
        "without transparency": 1,
        "unreadable": 1,
        "copy": 2,
        "empty": 1,
    }
    assert found["animals/birds/cartoon"].left_out == {"drawing": 1}
    assert not found["animals/birds/cartoon"].cut_outs
    with_drawings = {each.folder: len(each.cut_outs) for each in find_categories(stamps, drawings=True, workers=0)}
    assert (with_drawings["animals/birds"], with_drawings["animals/birds/cartoon"]) == (7, 1)


def test_the_noise_of_a_photograph_tells_it_from_a_drawing():
    pixels = np.full((4, 5, 4), 255, np.uint8)
    assert flat_share(pixels) == 1
    pixels[..., 0] = np.arange(20).reshape(4, 5)
    assert flat_share(pixels) == 0
    pixels[..., 0] = np.arange(5)  # 15 equal pairs one above the other, and 16 that differ side by side
    assert flat_share(pixels) == 15 / 31
    pixels[1:, :, 3] = 0
    assert flat_share(pixels) == 0
    pixels[..., 3] = 0
    assert flat_share(pixels) == 1


def test_no_cut_out_is_in_both_splits_and_the_plan_says_where_each_is(stamps, tmp_path):
    made = make_categories(stamps, tmp_path / "data", SMALL, workers=2)
    assert made.cut_outs == {"birds": (4, 2), "fruit": (3, 1)}
    assert (made.images, made.was_there) == (16, False)
    plan = json.loads((tmp_path / "data" / "categories.json").read_text())
    assert plan["config"] == json.loads(json.dumps(dataclasses.asdict(SMALL)))
    for name, category in plan["categories"].items():
        shown = {
            split: {each["cut_out"] for path, each in plan["images"].items() if path.startswith(f"{split}/{name}/")}
            for split in ("train", "validation")
        }
        for split, cut_outs in shown.items():
            assert cut_outs == category[split].keys()
        assert not shown["train"] & shown["validation"]
    name = f"folder:{tmp_path / 'data'}"
    assert evaluation_split(name) == "validation"
    train, validation = (open_source(name, split) for split in ("train", "validation"))
    assert train.class_names == validation.class_names == ("birds", "fruit")
    assert (train.size, validation.size) == (10, 6)
    with Image.open(train.describe(0)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (16, 16), "RGB")
    assert files(tmp_path / "data").keys() == {*plan["images"], "categories.json"}


def test_the_seed_decides_and_the_number_of_threads_does_not(stamps, tmp_path):
    one, other = dataclasses.replace(SMALL, format="png"), dataclasses.replace(SMALL, format="png", seed=1)
    for name, config, workers in (("a", one, 0), ("b", one, 3), ("c", other, 0)):
        make_categories(stamps, tmp_path / name, config, workers)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    plans = [json.loads((tmp_path / name / "categories.json").read_text()) for name in "ac"]
    assert plans[0]["categories"] != plans[1]["categories"]
    assert all(plans[0]["images"].get(path) != each for path, each in plans[1]["images"].items())


def test_other_categories_change_nothing_in_a_category(stamps, tmp_path):
    make_categories(stamps, tmp_path / "two", SMALL)
    make_categories(stamps, tmp_path / "one", dataclasses.replace(SMALL, categories=("food/fruit",)))
    assert files(tmp_path / "one" / "train" / "fruit") == files(tmp_path / "two" / "train" / "fruit")


def test_a_command_that_was_killed_ends_in_the_same_bytes(stamps, tmp_path, monkeypatch):
    make_categories(stamps, tmp_path / "whole", SMALL, workers=0)
    replace, left = os.replace, iter(range(9))

    def killed(source, target):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            make_categories(stamps, tmp_path / "data", SMALL, workers=0)
    assert not (tmp_path / "data").exists()
    scratch = tmp_path / "incomplete.data"
    written = {path: path.stat().st_mtime_ns for path in scratch.rglob("*.jpg") if not path.name.startswith(".")}
    assert len(written) == 8
    assert [path.name for path in scratch.rglob(".*")]  # the file that was being written
    with pytest.raises(UserError, match=r"incomplete.data is left of a command with other options .*: remove it, or"):
        make_categories(stamps, tmp_path / "data", dataclasses.replace(SMALL, seed=5))
    assert not make_categories(stamps, tmp_path / "data", SMALL).was_there
    assert files(tmp_path / "data") == files(tmp_path / "whole")
    assert not scratch.exists()
    for path, modified in written.items():
        assert (tmp_path / "data" / path.relative_to(scratch)).stat().st_mtime_ns == modified


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_in_the_same_bytes(stamps, tmp_path):
    config = dataclasses.replace(SMALL, images=60, validation_images=30, size=96)
    make_categories(stamps, tmp_path / "whole", config)
    code = (
        "import sys; from pathlib import Path; from jaxcnn.config.categories import CategoriesConfig as C\n"
        "from jaxcnn.data.categories import make_categories\n"
        f"make_categories(Path('stamps'), Path('data'), {config!r}, 2)".replace("CategoriesConfig(", "C(")
    )
    rng, kills, scratch = np.random.RandomState(0), 0, tmp_path / "incomplete.data"
    # The last run is left to end.
    for wanted in [*(rng.randint(1, 40) + 18 * np.arange(8)).tolist(), None]:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": ROOT})
        while process.poll() is None and (wanted is None or len(list(scratch.glob("*/*/*.jpg"))) < wanted):
            time.sleep(0.01)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 5
    assert files(tmp_path / "data") == files(tmp_path / "whole")


def test_a_folder_that_is_there_is_never_changed(stamps, tmp_path):
    make_categories(stamps, tmp_path / "data", SMALL)
    before = files(tmp_path / "data")
    assert make_categories(stamps, tmp_path / "data", SMALL).was_there
    with pytest.raises(UserError, match="data exists already and is not what this would make: choose another --out"):
        make_categories(stamps, tmp_path / "data", dataclasses.replace(SMALL, images=6))
    assert files(tmp_path / "data") == before
    (tmp_path / "incomplete.other").mkdir()
    (tmp_path / "incomplete.other" / "mine.txt").write_text("")
    with pytest.raises(UserError, match=r"incomplete.other is in the way: remove it"):
        make_categories(stamps, tmp_path / "other", SMALL)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/data cannot be written: Not a directory: choose another --out"):
        make_categories(stamps, tmp_path / "file" / "data", SMALL)


def test_the_cut_out_lies_on_the_ground_where_the_plan_says():
    red = np.zeros((10, 5, 4), np.uint8)
    red[..., 0] = red[..., 3] = 255
    red[:, 0] = (0, 255, 0, 255)
    placed = Composition("a.png", "#0000ff", (0.0, 0.0, 1.0), 0.5, (1.0, 0.0), mirrored=True)
    image = compose(placed, red, None, 20)
    blue = (image == (0, 0, 255)).all(-1)
    assert (np.flatnonzero(~blue.all(0)).tolist(), np.flatnonzero(~blue.all(1)).tolist()) == (
        list(range(15, 20)),
        list(range(10)),
    )
    assert (image[:10, 19] == (0, 255, 0)).all()
    ground = np.zeros((8, 12, 3), np.uint8)
    ground[:, 8:] = 200
    right = dataclasses.replace(placed, ground="plain/x.png", window=(1.0, 0.0, 0.5))
    assert (compose(right, np.zeros((1, 1, 4), np.uint8), ground, 4) == 200).all()


def test_grounds_are_photographs_or_a_folder_of_ones_own(stamps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grounds").mkdir()
    Image.new("RGB", (40, 30), (9, 200, 90)).save(tmp_path / "grounds" / "green.png")
    config = dataclasses.replace(SMALL, grounds=("grounds", "photographs"), format="png", scale=(0.1, 0.2))
    make_categories(stamps, tmp_path / "data", config)
    plan = json.loads((tmp_path / "data" / "categories.json").read_text())
    assert plan["grounds"].keys() == {"grounds/green.png", "photographs/china.jpg", "photographs/flower.jpg"}
    for path, each in plan["images"].items():
        with Image.open(tmp_path / "data" / path) as image:
            most = np.median(np.asarray(image).reshape(-1, 3), axis=0)
        assert (most.tolist() == [9, 200, 90]) == (each["ground"] == "grounds/green.png")
    for ground, sentence in (("none", "no folder of grounds none"), ("stamps", "grounds stamps holds no images")):
        with pytest.raises(UserError, match=sentence):
            make_categories(stamps, tmp_path / "other", dataclasses.replace(SMALL, grounds=(ground,)))
    (tmp_path / "grounds" / "green.png").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"the ground grounds/green.png is not an image: remove it"):
        make_categories(stamps, tmp_path / "other", dataclasses.replace(config, seed=1))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"count": 3}, None),
        ({"count": 4}, r"stamps has 3 categories of at least 3 cut-outs, and 4 are wanted: lower --count .* --list"),
        ({"count": 1, "leave_out": ("food/*", "animals/b?rds")}, "stamps has 0 categories of at least 3"),
        ({"categories": ("animals/brids",)}, "has no category 'animals/brids': did you mean 'animals/birds'"),
        ({"categories": ("hats",)}, "the category 'hats' has 1 cut-outs that can be used, and needs one for each"),
    ],
)
def test_too_few_cut_outs_are_a_sentence(stamps, tmp_path, change, sentence):
    config = dataclasses.replace(SMALL, **change)
    if sentence is None:
        assert set(make_categories(stamps, tmp_path / "data", config).cut_outs) == {"birds", "fruit", "food_hats"}
        return
    with pytest.raises(UserError, match=sentence):
        make_categories(stamps, tmp_path / "data", config)
    assert not (tmp_path / "data").exists()


def test_no_folder_and_no_files_are_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*nowhere: check the path"):
        find_categories(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no PNG or WebP files: name a folder of cut-outs"):
        find_categories(tmp_path)


def test_classes_are_named_after_their_folders(stamps):
    names = class_names(find_categories(stamps))
    assert names == {"animals/birds": "birds", "food/fruit": "fruit", "food/hats": "food_hats", "hats": "hats"}


def test_a_cut_out_of_no_size_is_refused():
    with pytest.raises(ConfigError, match=r"scale must be above 0"):
        CategoriesConfig(scale=(0.0, 0.5))
