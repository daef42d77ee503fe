"""Data sets in folders: what is an image, what is a class, and what is passed over and counted."""

import contextlib
import io
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcnn.cli.main import main
from jaxcnn.config import DataConfig, Resize
from jaxcnn.data.check import check
from jaxcnn.data.opening import open_data, open_split
from jaxcnn.data.sources import check_same_classes, evaluation_split, open_source, split_names
from jaxcnn.errors import UserError


def encoded(value: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(file, kind)
    return file.getvalue()


def png(value: int) -> bytes:
    return encoded(value)


def make(root: Path, *paths: str | bytes) -> str:
    """Writes a picture of its own to each path; returns the name of the data set."""
    for value, path in enumerate(paths):
        file = os.path.join(os.fsencode(root), os.fsencode(path))
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb") as stream:
            stream.write(png(value))
    return f"folder:{root}"


@pytest.fixture
def photos(tmp_path):
    for split, classes in (("train", ("ant", "bee")), ("val", ("ant", "bee"))):
        for label, name in enumerate(classes):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(3):
                (tmp_path / split / name / f"{index}.png").write_bytes(png(10 * label + index))
    return tmp_path


def test_folder_classes_are_its_sorted_folders(photos):
    (photos / "train" / "ant" / ".DS_Store").write_bytes(b"x")
    (photos / "train" / "bee" / "Thumbs.db").write_bytes(b"x")
    name = f"folder:{photos}"
    assert split_names(name) == ("train", "val")
    assert evaluation_split(name) == "val"
    source = open_source(name, "train")
    assert source.class_names == ("ant", "bee")
    assert [source[index] for index in range(6)] == [(png(10 * (i // 3) + i % 3), i // 3) for i in range(6)]
    assert source.describe(4) == str(photos / "train" / "bee" / "1.png")
    assert source.bad == ()


def test_folder_leaves_out_and_names_what_is_no_image(photos):
    ant = photos / "train" / "ant"
    (ant / "text.jpg").write_text("<html>not found</html>")
    (ant / "empty.jpg").touch()
    (ant / "gone.jpg").symlink_to(photos / "nowhere")
    source = open_source(f"folder:{photos}", "train", max_bad_share=0.5)
    assert len(source) == 6
    assert [(os.path.basename(path), reason) for path, reason in source.bad] == [
        ("empty.jpg", "is empty"),
        ("gone.jpg", "cannot be opened (No such file or directory)"),
        ("text.jpg", "is not an image"),
    ]
    with pytest.raises(UserError, match=r"3 of 9 images .*33.33%; max_bad_share allows 30.00%.*empty.jpg is empty"):
        open_source(f"folder:{photos}", "train", max_bad_share=0.3)


def test_folder_says_what_is_missing(photos):
    with pytest.raises(UserError, match="there is no folder"):
        open_source(f"folder:{photos}/nowhere", "train")
    with pytest.raises(UserError, match="has no split 'tain': did you mean 'train'"):
        open_source(f"folder:{photos}", "tain")
    (photos / "test").mkdir()
    with pytest.raises(UserError, match="holds no class folders"):
        open_source(f"folder:{photos}", "test")
    (photos / "test" / "ant").mkdir()
    with pytest.raises(UserError, match="is empty"):
        open_source(f"folder:{photos}", "test")
    with pytest.raises(UserError, match=r"neither a 'validation' nor a 'test' split.*choose from 'ant', 'bee'"):
        evaluation_split(f"folder:{photos}/train")


def files_of(source) -> list[str]:
    """The path of each image below the split."""
    return [source.describe(index).partition(f"/{source.split}/")[2] for index in range(source.size)]


def test_images_are_found_at_any_depth_in_the_order_of_imagefolder(tmp_path):
    """The order is that of `sorted(os.walk(...))`, which torchvision takes."""
    name = make(
        tmp_path,
        "train/n2/images/n2_0.JPEG",  # as in Tiny-ImageNet
        "train/n1/z.png",
        "train/n1/more/a.png",
        "train/n1/more/deep/er/b.png",
        "train/n1/more-b/c.png",
        "train/n1/.hidden/d.png",
        "train/n1/__MACOSX/e.png",
    )
    (tmp_path / "train/n2/n2_boxes.txt").write_text("n2_0.JPEG 0 0 5 5")
    source = open_source(name, "train")
    assert source.class_names == ("n1", "n2")
    assert files_of(source) == [
        "n1/z.png",
        "n1/more/a.png",
        "n1/more-b/c.png",
        "n1/more/deep/er/b.png",
        "n2/images/n2_0.JPEG",
    ]
    theirs = [
        os.path.join(folder, file).partition("/train/")[2]
        for folder, _, files in sorted(os.walk(tmp_path / "train" / "n1"))
        for file in sorted(files)
        if ".hidden" not in folder and "__MACOSX" not in folder
    ]
    assert files_of(source)[:4] == theirs
    assert [source[index][1] for index in range(5)] == [0, 0, 0, 0, 1]
    assert source.file_name(4) == "n2_0.JPEG"
    assert dict(source.passed_over) == {".txt": 1}


def test_links_are_followed_and_do_not_lead_in_circles(tmp_path):
    name = make(tmp_path / "set", "train/ant/1.png", "train/bee/2.png")
    make(tmp_path / "elsewhere", "cat/3.png", "cat/more/4.png")
    (tmp_path / "set/train/cat").symlink_to(tmp_path / "elsewhere/cat")
    (tmp_path / "set/train/ant/up").symlink_to(tmp_path / "set/train/ant")
    (tmp_path / "set/train/bee/twice").symlink_to(tmp_path / "elsewhere/cat/more")
    source = open_source(name, "train")
    assert source.class_names == ("ant", "bee", "cat")
    assert files_of(source) == ["ant/1.png", "bee/2.png", "bee/twice/4.png", "cat/3.png", "cat/more/4.png"]


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [
        ("train valid test", "valid"),
        ("train test val", "val"),
        ("test train validation val", "validation"),
        ("train Val Test", "Val"),
        ("Train dev test", "dev"),
        ("testing train", "testing"),
    ],
)
def test_a_validation_split_comes_before_a_test_split(tmp_path, caplog, splits, chosen):
    name = make(tmp_path, *(f"{split}/ant/1.png" for split in splits.split()))
    with caplog.at_level("INFO", "jaxcnn"):
        assert evaluation_split(name) == chosen
        assert check(name, ("train",) if "train" in splits else ("Train",)).whole
    said = f"{name} has no split for validation, so its split 'testing' is used"
    assert [record.getMessage() for record in caplog.records] == ([said] if chosen == "testing" else [])


def test_a_run_is_measured_on_the_validation_split(tmp_path, caplog):
    name = make(tmp_path, "train/ant/1.png", "train/bee/2.png", "valid/ant/3.png", "valid/bee/4.png", "test/ant/5.png")
    (tmp_path / "test/bee").mkdir()
    crop = Resize(size=8)
    config = DataConfig(name=name, train_crop=crop, evaluation_crop=crop)
    assert open_data(config).evaluation.name == f"{name}, split 'valid'"
    assert open_split(config).size == 2
    (tmp_path / "valid").rename(tmp_path / "more")
    with caplog.at_level("INFO", "jaxcnn"):
        assert open_split(config).size == 1
    assert "has no split for validation, so its split 'test' is used" in caplog.text


def test_files_of_other_kinds_are_passed_over_and_counted(photos):
    ant = photos / "train" / "ant"
    for name in ("desktop.ini", "thumbs.db", "Thumbs.db", ".DS_Store", "._0.png", "README", "index.HTML"):
        (ant / name).write_bytes(b"\0\1x")
    for index in range(3):
        (ant / f"{index}.png.json").write_text("{}")
        (ant / f"{index}.txt").write_text("P3 Python #define")
    (photos / "train" / "labels.csv").write_text("0.png,ant")
    (photos / "train" / "loose.png").write_bytes(png(5))
    os.mkfifo(ant / "pipe.txt")
    source = open_source(f"folder:{photos}", "train", max_bad_share=0.0)
    assert source.size == 6
    assert source.bad == ()
    counts = {".ini": 1, ".db": 2, "hidden": 2, "readme": 1, ".html": 1, ".json": 3, ".txt": 4, ".csv": 1}
    assert dict(source.passed_over) == counts | {"beside the class folders": 1}
    report = check(f"folder:{photos}")
    assert report.whole
    line = "           16  files passed over: 4 .txt, 3 .json, 2 .db, 2 hidden, 1 .csv, 1 .html, 1 .ini, 1 beside the "
    assert next(each for each in str(report).splitlines() if "passed over" in each).startswith(line)


def test_a_picture_by_its_content_or_its_name_is_never_passed_over(photos):
    bee = photos / "val" / "bee"
    (bee / "picture.dat").write_bytes(png(7))
    (bee / "no_suffix").write_bytes(png(8))
    (bee / "raw.xyz").write_bytes(b"\0\0\0\x18ftypcrx ")
    (bee / "broken.webp").write_bytes(b"<html>")
    (bee / "half").write_bytes(b"no picture")
    os.mkfifo(bee / "pipe.png")
    source = open_source(f"folder:{photos}", "val", max_bad_share=1.0)
    assert source.size == 8
    assert [(os.path.basename(path), reason) for path, reason in source.bad] == [
        ("broken.webp", "is not an image"),
        ("half", "is not an image"),
        ("pipe.png", "is no ordinary file"),
        ("raw.xyz", "is a camera's raw file, which the installed Pillow cannot read, so convert it to JPEG or PNG"),
    ]


@pytest.mark.parametrize(
    "name", ["__MACOSX", "__macosx", "$RECYCLE.BIN", "@eaDir", "lost+found", "System Volume Information", ".git"]
)
def test_folders_of_systems_are_no_classes_and_no_splits(photos, name):
    for folder in (photos, photos / "train"):
        (folder / name).mkdir()
        (folder / name / "0.png").write_bytes(png(1))
    assert split_names(f"folder:{photos}") == ("train", "val")
    source = open_source(f"folder:{photos}", "train")
    assert source.class_names == ("ant", "bee")
    assert source.not_classes == (() if name.startswith(".") else (name,))
    report = check(f"folder:{photos}")
    assert report.whole
    expected = "" if name.startswith(".") else f"train: not classes, and left out: {name}"
    assert "".join(note for note in report.notes if "not classes" in note) == expected


def test_a_folder_of_other_files_is_no_class(photos):
    (photos / "train" / "annotations").mkdir()
    (photos / "train" / "annotations" / "0.xml").write_text("<annotation/>")
    (photos / "train" / "cat").mkdir()  # a class without images, as there are in parts of ILSVRC
    (photos / "train" / "cat" / "desktop.ini").touch()
    source = open_source(f"folder:{photos}", "train")
    assert source.class_names == ("ant", "bee", "cat")
    assert source.not_classes == ("annotations",)
    assert "train: not classes, and left out: annotations" in check(f"folder:{photos}").notes
    for image in (photos / "val" / "bee").iterdir():
        image.rename(image.with_suffix(".json"))
    with pytest.raises(UserError, match=r"only 'train' has 'bee', 'cat' \(there are no images in 'bee' of 'val'\)"):
        check_same_classes(source, open_source(f"folder:{photos}", "val"))


def test_a_split_without_images_says_what_it_holds_instead(tmp_path):
    for index in range(2):
        (tmp_path / "train" / "ant").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / "ant" / f"{index}.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    sentence = r"0.heic is HEIF \(HEIC\), which the installed Pillow cannot read, so convert it to JPEG or PNG"
    with pytest.raises(UserError, match=f"2 of 2 images .*cannot be read.*{sentence}"):
        open_source(f"folder:{tmp_path}", "train")
    with pytest.raises(UserError, match=f"is empty .*{sentence}; 2 files in all"):
        check(f"folder:{tmp_path}", ("train",))


@pytest.mark.parametrize("kind", ["PPM", "AVIF", "JPEG2000", "TGA", "QOI"])
def test_a_folder_of_other_formats_is_read(tmp_path, kind):
    suffix = {"JPEG2000": "jp2"}.get(kind, kind.lower())
    try:
        content = encoded(9, kind)
    except (OSError, KeyError):
        pytest.skip(f"the installed Pillow does not write {kind}")
    (tmp_path / "val" / "ant").mkdir(parents=True)
    (tmp_path / "val" / "ant" / f"q.{suffix}").write_bytes(content)
    (tmp_path / "val" / "ant" / "unnamed").write_bytes(content)
    report = check(f"folder:{tmp_path}", ("val",))
    assert report.whole
    assert {name: found.count for name, found in report.splits[0].encodings.items()} == {f"RGB {kind}": 2}
    split = open_split(DataConfig(name=f"folder:{tmp_path}", evaluation_crop=Resize(size=4), max_pixels=48))
    np.testing.assert_allclose(split.images.astype(int), 9, atol=2)
    with pytest.raises(UserError, match=r"claims 8 by 6 pixels, more than max_pixels=47 allows: --max-pixels"):
        open_split(DataConfig(name=f"folder:{tmp_path}", evaluation_crop=Resize(size=4), max_pixels=47))


def test_names_that_are_not_utf8_are_escaped_wherever_they_are_shown(tmp_path, capsys):
    name = make(
        tmp_path, b"train/k\xe4fer/br\xf6ken.png", "train/[old]/[b].png", b"val/k\xe4fer/1.png", "val/[old]/2.png"
    )
    source = open_source(name, "train")
    assert source.class_names == ("[old]", r"k\xe4fer")
    assert files_of(source) == ["[old]/[b].png", r"k\xe4fer/br\xf6ken.png"]
    assert source.file_name(1) == r"br\xf6ken.png"
    assert source[1] == (png(0), 1)
    assert source.title.isprintable()
    with open(os.path.join(os.fsencode(tmp_path), b"train/k\xe4fer/tr\xfcb\n\x1b[2J.png"), "wb") as file:
        file.write(b"no picture")
    assert main(["data", "check", name]) == 1
    printed = capsys.readouterr().out
    assert r"/train/k\xe4fer/tr\xfcb\n\x1b[2J.png is not an image" in printed
    assert "\x1b" not in printed


def test_a_data_set_whose_path_is_not_utf8_can_be_checked_and_packed(tmp_path, capsys):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bl\xfcten"))
    name = make(root, "train/ant/1.png", "train/bee/2.png", "test/ant/3.png", "test/bee/4.png")
    assert main(["data", "check", name]) == 0
    options = ("--short-side", "4", "--data-dir", str(tmp_path / "prepared"))
    assert main(["data", "pack", name, *options, "--packed-name", "blooms"]) == 0
    metadata = next((tmp_path / "prepared").glob("blooms/*/metadata.json")).read_text()
    assert r"bl\\xfcten" in metadata
    assert main(["data", "check", f"{name}/nowhere"]) == 2
    assert r"there is no folder " in capsys.readouterr().err


def test_a_normal_name_in_any_script_stays_as_it_is(tmp_path):
    names = ["größer", "猫", unicodedata.normalize("NFD", "é"), "a b", "👩‍🔬"]
    source = open_source(make(tmp_path, *(f"train/{name}/{name}.png" for name in names)), "train")
    assert source.class_names == tuple(sorted(names))
    assert source.bad == ()


@contextlib.contextmanager
def forbidden(monkeypatch, *paths):
    """Denies this process, which may be root's, to list some folders."""
    scandir = os.scandir

    def refusing(path):
        if Path(path) in paths:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refusing)
        yield


@pytest.mark.parametrize("path", [".", "train", "train/ant", "train/ant/more"])
def test_a_folder_without_permission_is_a_sentence(photos, monkeypatch, capsys, path):
    (photos / "train/ant/more").mkdir()
    with forbidden(monkeypatch, photos / path):
        assert main(["data", "check", f"folder:{photos}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: the folder {photos / path}")
    assert error.endswith("cannot be read (Permission denied): make it readable, or name another\n")


@pytest.mark.parametrize("name", ["a" * 300, "x\0y", "~nobody_of_this_name/z", "nowhere"])
def test_a_path_that_cannot_be_is_a_sentence(name):
    with pytest.raises(UserError, match=r"there is no folder|cannot be read"):
        split_names(f"folder:{name}")


def test_differing_classes_are_named(photos):
    train = open_source(f"folder:{photos}", "train")
    check_same_classes(train, open_source(f"folder:{photos}", "val"))
    (photos / "val" / "bee").rename(photos / "val" / "wasp")
    with pytest.raises(UserError, match="only 'train' has 'bee' and only 'val' has 'wasp'"):
        check_same_classes(train, open_source(f"folder:{photos}", "val"))


def test_the_listing_tells_what_a_split_is_made_of(photos):
    before = list(open_source(f"folder:{photos}", "train").listing())
    assert before[0] == f"ant/0.png {len(png(0))}"
    assert len(before) == 6
    assert before == list(open_source(f"folder:{photos}", "train").listing())
    (photos / "train/ant/0.png").rename(photos / "train/ant/9.png")
    assert list(open_source(f"folder:{photos}", "train").listing()) != before
