"""Processes that decode and cut: the same batches, the same refusals, and none outlives the one that it works for."""

import io
import os
import select
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxcnn.config import CenterCrop, CenterCrops, DataConfig, RandomResizedCrop
from jaxcnn.data.cutter import Cutter, Draw, Uncut
from jaxcnn.data.opening import open_data, open_split
from jaxcnn.data.processes import CuttingProcesses
from jaxcnn.errors import UserError

RANDOM = RandomResizedCrop(size=16)
CENTER = CenterCrop(size=16, resize=20)


def encoded(value, format="JPEG", size=(30, 24)):
    columns, rows = size
    pixels = np.fromfunction(
        lambda row, column, channel: 8 * row + 5 * column + value * (channel + 1), (rows, columns, 3)
    )
    file = io.BytesIO()
    Image.fromarray((pixels % 256).astype(np.uint8)).save(file, format)
    return file.getvalue()


@pytest.fixture
def photos(tmp_path):
    """Twenty images to train on and nine to measure on, of two classes and formats; two of each cannot be decoded."""
    for split, count in (("train", 20), ("val", 9)):
        for index in range(count):
            folder = tmp_path / split / ("ant" if index < count // 2 else "bee")
            folder.mkdir(parents=True, exist_ok=True)
            content = encoded(11 * index, "PNG" if index % 3 else "JPEG")
            (folder / f"{index:02}.jpg").write_bytes(content[:-40] if index in (3, 6) else content)
    return tmp_path


def config(path, processes, **options):
    options = {"train_crop": RANDOM, "evaluation_crop": CENTER, "residence": "stream", "max_bad_share": 0.3, **options}
    return DataConfig(name=f"folder:{path}", processes=processes, **options)


def same(batches, others):
    batches, others = list(batches), list(others)
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        assert all(np.array_equal(batch[name], other[name]) for name in batch)


@pytest.fixture(scope="module")
def pool():
    """One process for all tests of this file."""
    found = CuttingProcesses(1)
    yield found
    found.close()


@pytest.mark.parametrize("workers", [None, 0, 1])
def test_batches_and_bad_images_are_the_same(photos, workers):
    threads, processes = (open_data(config(photos, count, workers=workers)) for count in (0, 2))
    same(threads.train.training_batches(3, 6, 1, 9), processes.train.training_batches(3, 6, 1, 9))
    rows = np.array([4, 1])
    same(threads.train.training_batches(3, 6, 1, 9, rows), processes.train.training_batches(3, 6, 1, 9, rows))
    same(threads.evaluation.evaluation_batches(4), processes.evaluation.evaluation_batches(4))
    assert threads.train.bad == processes.train.bad
    assert len(threads.train.bad) == 2
    assert threads.evaluation.unreadable == processes.evaluation.unreadable == (3, 6)


def test_views_are_cut_by_threads(photos, monkeypatch):
    """What a recipe registers is not known to another process."""
    views = CenterCrops(size=16, short_sides=(20,), flip=True)
    expected = open_split(config(photos, 0), views=views).evaluation_batches(4)
    monkeypatch.setattr(CuttingProcesses, "cut", lambda *_: pytest.fail("a process was asked"))
    same(expected, open_split(config(photos, 2), views=views).evaluation_batches(4))


def test_too_many_bad_images_are_refused_in_the_same_words(photos):
    said = []
    for processes in (0, 1):
        with pytest.raises(UserError, match=r"2 of 20 images of .* cannot be read") as error:
            list(
                open_data(config(photos, processes, max_bad_share=0.05, workers=1)).train.training_batches(0, 20, 0, 1)
            )
        said.append(str(error.value))
    assert said[0] == said[1]


def uncut(file, crop=CENTER, channels=3, draw=None):
    return Uncut(file, Cutter(channels, 10_000), crop, draw)


def test_a_process_cuts_what_is_given(pool):
    images = [
        uncut(encoded(7)),
        uncut(b"nothing of the kind"),
        uncut(encoded(9, size=(200, 100))),  # more pixels than are allowed
        uncut(encoded(8, size=(90, 70)), CenterCrop(size=40, resize=44), channels=1),
        uncut(encoded(9, "PNG"), RANDOM, draw=Draw(1, 2, 3)),
    ]
    into = [np.full((image.crop.size, image.crop.size, image.cutter.channels), 123, np.uint8) for image in images]
    assert pool.cut(images, into) == [True, False, False, True, True]
    for index in (0, 3, 4):
        np.testing.assert_array_equal(into[index], images[index].cut())
    assert all((into[index] == 123).all() for index in (1, 2))


def test_one_process_cuts_again_and_again_and_its_memory_grows(pool):
    numbers = set()
    for count, side in ((1, 16), (3, 64), (2, 16)):
        images = [uncut(encoded(index), CenterCrop(size=side, resize=side)) for index in range(count)]
        into = [np.empty((side, side, 3), np.uint8) for _ in images]
        assert pool.cut(images, into) == [True] * count
        for image, pixels in zip(images, into, strict=True):
            np.testing.assert_array_equal(pixels, image.cut())
        (process,) = pool._idle
        numbers.add(process._process.pid)
    assert len(numbers) == 1


def test_a_process_that_is_killed_is_said_and_replaced():
    pool, image, pixels = CuttingProcesses(1), uncut(encoded(1)), np.empty((16, 16, 3), np.uint8)
    pool.cut([image], [pixels])
    first = pool._idle[0]._process
    first.kill()
    first.wait()
    said = r"^a process that decodes images ended with signal 9 \(SIGKILL\): where memory ran out, set fewer "
    with pytest.raises(UserError, match=said):
        pool.cut([image], [pixels])
    assert pool.cut([image], [pixels]) == [True]
    second = pool._idle[0]._process
    assert second.pid != first.pid
    pool.close()
    assert second.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_asks_for_a_stop_does_not_end_it(pool, number):
    """The process that it works for may be asked too, and stops when it has saved."""
    image, pixels = uncut(encoded(1)), np.empty((16, 16, 3), np.uint8)
    pool.cut([image], [pixels])
    pool._idle[0]._process.send_signal(number)
    assert pool.cut([image], [pixels]) == [True]


def test_what_a_library_prints_there_is_no_answer(monkeypatch, capfd):
    noisy = """
from jaxcnn.data.cutter import Uncut
cut = Uncut.cut
Uncut.cut = lambda image: (print("a library's line", flush=True), cut(image))[1]
"""
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda command, **options: start([*command[:2], f"{noisy}\n{command[2]}"], **options),
    )
    pool, image, pixels = CuttingProcesses(1), uncut(encoded(1)), np.empty((16, 16, 3), np.uint8)
    assert pool.cut([image, image], [pixels, pixels]) == [True, True]
    np.testing.assert_array_equal(pixels, image.cut())
    pool.close()
    assert capfd.readouterr() == ("", "a library's line\na library's line\n")


PARENT = f"""
import sys
import numpy as np
from jaxcnn.config import CenterCrop
from jaxcnn.data.cutter import Cutter, Uncut
from jaxcnn.data.processes import cutting_processes
pool = cutting_processes(1)
image = Uncut({encoded(1)!r}, Cutter(3, 10_000), CenterCrop(size=16, resize=20), None)
assert pool.cut([image], [np.empty((16, 16, 3), np.uint8)]) == [True]
print(pool._idle[0]._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="it waits for a process that is not its own child")
@pytest.mark.parametrize("how", ["killed", "done"])
def test_none_outlives_the_process_that_it_works_for(how):
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PARENT], **options) as parent:
        number = os.pidfd_open(int(parent.stdout.readline()))
        if how == "killed":
            parent.kill()
        _, said = parent.communicate()
    assert said == ""
    assert parent.returncode == (-signal.SIGKILL if how == "killed" else 0)
    assert select.select([number], [], [], 30) == ([number], [], [])  # readable when it has ended
    os.close(number)
