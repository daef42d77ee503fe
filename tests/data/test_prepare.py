"""From the two archives to a data set: what is refused beforehand, and, where TensorFlow is, the whole way."""

import importlib.util
import io
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from jaxcnn.data.check import check
from jaxcnn.data.prepare import ARCHIVES, check_archives, prepare_imagenet2012, progress_logged
from jaxcnn.data.sources import open_source
from jaxcnn.errors import UserError

needs_tensorflow = pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason="needs TensorFlow")


@pytest.fixture
def official(tmp_path):
    """Archives of the official sizes that take no room: all holes."""
    for name, size in ARCHIVES.items():
        with open(tmp_path / name, "wb") as file:
            file.truncate(size)
    return tmp_path


def test_archives_of_the_official_sizes(official):
    assert check_archives(official, allow_other_sizes=False) == ARCHIVES


def test_archives_that_are_not_there(official):
    (official / "ILSVRC2012_img_val.tar").unlink()
    with pytest.raises(UserError, match=r"does not hold ILSVRC2012_img_val.tar: image-net.org gives"):
        check_archives(official, allow_other_sizes=True)
    with pytest.raises(UserError, match=r"does not hold ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar"):
        check_archives(official / "nowhere", allow_other_sizes=True)


def test_archives_of_other_sizes(official):
    os.truncate(official / "ILSVRC2012_img_train.tar", 1000)
    sentence = r"ILSVRC2012_img_train.tar has 1,000 bytes instead of 147,897,477,120, .*pass --allow-other-sizes"
    with pytest.raises(UserError, match=sentence):
        check_archives(official, allow_other_sizes=False)
    found = check_archives(official, allow_other_sizes=True)
    assert found == ARCHIVES | {"ILSVRC2012_img_train.tar": 1000}


def test_room_is_made_sure_of(official, tmp_path, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=150_000_000_000))
    with pytest.raises(UserError, match=r"imagenet2012 needs about 157.8 GB in .* and 150.0 GB are free there"):
        prepare_imagenet2012(official, str(tmp_path / "tfds"))


def test_without_tensorflow(official, tmp_path, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=160_000_000_000))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match="needs TensorFlow, which is not installed: install the extra tf"):
        prepare_imagenet2012(official, str(tmp_path / "tfds"))
    assert os.listdir(tmp_path / "tfds") == []


def test_progress_is_read_off_the_files(tmp_path, caplog):
    folder = tmp_path / "incomplete.AB12CD_5.1.0"
    folder.mkdir()
    (folder / "bucket_x_001.tmp").write_bytes(bytes(300_000))
    (folder / "imagenet2012-train.array_record-00000-of-00001").write_bytes(bytes(200_000))
    with caplog.at_level(logging.INFO, "jaxcnn"), progress_logged(tmp_path, 10_000_000, 0.01):
        deadline = time.monotonic() + 10
        while len(caplog.messages) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert caplog.messages[1] == "imagenet2012: 0.3 MB gathered, 0.2 MB written, of about 10.0 MB"


def image(seed, kind="JPEG", mode="RGB"):
    file = io.BytesIO()
    pixels = np.random.RandomState(seed).randint(256, size=(30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def write_tar(file, members):
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


def write_archives(folder, train, validation):
    """The official layout: a tar of each class's tar, and a tar of validation images."""
    folder.mkdir()
    classes = {f"{name}.tar": write_tar(io.BytesIO(), files).getvalue() for name, files in train.items()}
    for name, members in zip(ARCHIVES, (classes, validation), strict=True):
        with open(folder / name, "wb") as file:
            write_tar(file, members)
    return folder


def validation_files(count):
    return {f"ILSVRC2012_val_{index + 1:08d}.JPEG": image(index) for index in range(count)}


def command(archives, data_dir):
    arguments = ("prepare", "imagenet2012", "--archives", archives, "--data-dir", data_dir, "--allow-other-sizes")
    return [sys.executable, "-m", "jaxcnn", "data", *map(str, arguments)]


@needs_tensorflow
def test_the_whole_way(tmp_path):
    train = {
        "n01739381": {"n01739381_1309.JPEG": image(1, mode="CMYK"), "n01739381_2.JPEG": image(2)},
        "n02105855": {"n02105855_2933.JPEG": image(3, "PNG"), "n02105855_4.JPEG": image(4, mode="CMYK")},
    }
    archives = write_archives(tmp_path / "archives", train, validation_files(5))
    data_dir = str(tmp_path / "tfds")
    for _ in range(2):  # the second time, it is there already
        answer = subprocess.run(command(archives, data_dir), capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.splitlines() == [
            "train: 4 of 4 images of 1,000 classes",
            "validation: 5 of 5 images of 1,000 classes",
            "counts and classes are right",
        ]
    assert "5.1.0 is there already" in answer.stderr
    assert os.listdir(data_dir) == ["imagenet2012"]
    assert os.listdir(f"{data_dir}/imagenet2012") == ["5.1.0"]
    # tfds converts the CMYK and PNG files that it knows by name, and no others.
    report = check("tfds:imagenet2012", (), data_dir)
    assert {kind: found.count for kind, found in report.splits[0].encodings.items()} == {"RGB JPEG": 3, "CMYK JPEG": 1}
    assert "(n02105855_4.JPEG)" in "\n".join(report.notes)
    assert report.problems == (
        "train has 4 images instead of 1,281,167",
        "validation has 5 images instead of 50,000",
    )


@needs_tensorflow
@pytest.mark.parametrize("size", [600, 3000, 5000])
def test_a_damaged_archive(tmp_path, size):
    archives = write_archives(tmp_path / "archives", {"n01739381": {"n01739381_2.JPEG": image(2)}}, validation_files(5))
    os.truncate(archives / "ILSVRC2012_img_val.tar", size)
    answer = subprocess.run(command(archives, tmp_path / "tfds"), capture_output=True, text=True)
    assert answer.returncode == 2, answer.stderr
    assert re.search("archives is damaged .*: download it again", answer.stderr)
    assert not list((tmp_path / "tfds").glob("imagenet2012/*"))


@pytest.mark.slow
@needs_tensorflow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_random_moments_it_starts_again_cleanly(tmp_path, number):
    names = ("n01440764", "n01443537", "n01484850")
    train = {name: {f"{name}_{i}.JPEG": image(i) for i in range(400)} for name in names}
    archives = write_archives(tmp_path / "archives", train, validation_files(100))
    data_dir = tmp_path / "tfds"
    folder = data_dir / "imagenet2012"
    rng = random.Random(number)
    for _ in range(5):
        process = subprocess.Popen(command(archives, data_dir), stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not list(folder.glob("incomplete.*")):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(number)
        _, said = process.communicate()
        if number == signal.SIGINT and process.returncode != -number:  # that is Python's own, when it is leaving
            assert process.returncode in (0, 130)
            assert said.endswith("interrupted; the same command starts again cleanly\n") == (process.returncode == 130)
    answer = subprocess.run(command(archives, data_dir), capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert os.listdir(folder) == ["5.1.0"]
    source = open_source("tfds:imagenet2012", "train", str(data_dir))
    images = {source[index] for index in range(len(source))}
    assert len(source) == 1200
    assert images == {(image(i), names.index(name)) for name in names for i in range(400)}
