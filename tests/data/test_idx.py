"""The files of MNIST's form: whatever they are called, compressed or not, and a sentence for each way to be wrong."""

import gzip
import hashlib
import os
import shutil
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.config import DataConfig, Pad
from jaxcnn.data.check import check
from jaxcnn.data.fingerprint import difference, fingerprint
from jaxcnn.data.opening import open_data
from jaxcnn.data.pack import pack
from jaxcnn.data.sources import absolute_name, evaluation_split, open_source, split_names
from jaxcnn.data.sources.idx import KNOWN_LABELS, read_idx
from jaxcnn.data.sources.slices import pieces
from jaxcnn.errors import UserError

RNG = np.random.RandomState(0)
IMAGES = {"train": RNG.randint(256, size=(23, 5, 6)).astype(np.uint8), "t10k": RNG.randint(256, size=(7, 5, 6))}
LABELS = {"train": np.arange(23) % 4, "t10k": np.array([0, 5, 1, 2, 3, 0, 1])}


def idx(array, kind=8):
    array = np.asarray(array)
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder, prefix="", dot="-", packed=False):
    folder.mkdir(exist_ok=True)
    for split in ("train", "t10k"):
        for what, array in (("images", IMAGES[split]), ("labels", LABELS[split])):
            name = f"{prefix}{split}-{what}{dot}idx{array.ndim}-ubyte"
            content = idx(array)
            (folder / f"{name}{'.gz' * packed}").write_bytes(gzip.compress(content, mtime=0) if packed else content)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "digits")
    return tmp_path / "digits"


@pytest.mark.parametrize("dot", "-.")
@pytest.mark.parametrize("packed", [False, True])
def test_images_and_labels_are_those_of_the_files(tmp_path, dot, packed):
    write(tmp_path / "made", dot=dot, packed=packed)
    name = f"idx:{tmp_path / 'made'}"
    assert split_names(name) == ("test", "train")
    assert evaluation_split(name) == "test"
    for split, stored in (("train", "train"), ("test", "t10k")):
        source = open_source(name, split)
        with ThreadPoolExecutor(4) as pool:
            images, labels = zip(*pool.map(source.__getitem__, range(source.size)), strict=True)
        np.testing.assert_array_equal(np.stack(images)[..., 0], IMAGES[stored])
        assert images[0].dtype == np.uint8
        assert list(labels) == LABELS[stored].tolist()
        # As many classes in one split as in the other, although label 5 is in one alone.
        assert source.class_names == tuple("012345")
        assert source.describe(3).startswith(f"image 3 of {tmp_path / 'made' / stored}-images{dot}idx3-ubyte")


def test_a_slice_is_the_one_of_tfds(folder):
    infos = tfds.core.splits.SplitDict([tfds.core.SplitInfo("train", [23], 0), tfds.core.SplitInfo("test", [7], 0)])
    sizes = {name: info.num_examples for name, info in infos.items()}
    for split in ("train[:5]", "train[5:]", "train[-5:]", "train[10%:]", "train[:33%]", "train+test", "test[2:]+train"):
        wanted = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
        stored = {"train": "train", "test": "t10k"}
        expected = [IMAGES[stored[each.splitname]][each.from_ : each.to] for each in wanted]
        source = open_source(f"idx:{folder}", split)
        found = np.stack([source[index][0][..., 0] for index in range(source.size)])
        np.testing.assert_array_equal(found, np.concatenate(expected))
    assert "tensorflow" not in sys.modules
    assert [(each.split, each.indices) for each in pieces("idx", "all", sizes)] == [
        ("train", range(23)),
        ("test", range(7)),
    ]


@pytest.mark.parametrize("split", ["trian", "train[5:2]", "train[:nine]", "all[:5]", "train[50:60]", "train[:0]", ""])
def test_a_split_that_is_not_there_is_a_sentence(folder, split):
    with pytest.raises(UserError, match=r"digits has no images in a split '.*': (did you mean|choose from) 'te?[sr]"):
        open_source(f"idx:{folder}", split)


def test_a_run_trains_on_a_slice_and_is_measured_on_another(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    crop = Pad(size=8)
    config = DataConfig(
        name="idx:digits",
        channels=1,
        train_split="train[:20]",
        evaluation_split="train[20:]",
        train_crop=crop,
        evaluation_crop=crop,
    )
    data = open_data(config)
    assert (data.train.size, data.evaluation.size, data.train.resident) == (20, 3, True)
    np.testing.assert_array_equal(data.evaluation.images[:, 1:6, 1:7, 0], IMAGES["train"][20:])
    assert absolute_name("idx:digits") == f"idx:{folder}"
    assert absolute_name("idx:") == f"idx:{folder.parent}"


def test_one_of_several_data_sets_is_named_by_its_prefix(tmp_path):
    for prefix in ("emnist-letters-", "emnist-digits-"):
        write(tmp_path / "emnist", prefix, packed=True)
    assert split_names(f"idx:{tmp_path}/emnist/emnist-letters") == ("test", "train")
    assert open_source(f"idx:{tmp_path}/emnist/emnist-digits", "test").size == 7
    with pytest.raises(UserError, match=r"emnist holds 2 data sets: .* as in idx:.*/emnist/emnist-digits$"):
        open_source(f"idx:{tmp_path}/emnist", "train")
    with pytest.raises(UserError, match="begin with 'emnist-leters': did you mean 'emnist-letters'"):
        open_source(f"idx:{tmp_path}/emnist/emnist-leters", "train")
    shutil.rmtree(tmp_path / "emnist")
    write(tmp_path / "emnist", "emnist-letters-")
    assert open_source(f"idx:{tmp_path}/emnist", "train").size == 23


def test_classes_are_named_by_a_file_or_by_what_is_known_of_the_labels(folder, monkeypatch):
    known = hashlib.sha256(LABELS["train"].astype(np.uint8).tobytes()).hexdigest()
    monkeypatch.setitem(KNOWN_LABELS, known, ("shirt", "shoe", "bag", "coat", "dress", "boot"))
    assert open_source(f"idx:{folder}", "train").class_names == ("shirt", "shoe", "bag", "coat", "dress", "boot")
    assert open_source(f"idx:{folder}", "test").class_names == tuple("012345")
    (folder / "class_names.txt").write_text("a\nb\nc\nd\ne\nf\ng\n")
    assert open_source(f"idx:{folder}", "test").class_names == tuple("abcdefg")
    (folder / "class_names.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"class_names.txt names 2 classes, and there is a label 5: give a line for"):
        open_source(f"idx:{folder}", "train")
    (folder / "class_names.txt").write_bytes(b"\xff\n")
    with pytest.raises(UserError, match=r"class_names.txt cannot be read \(it is not text in UTF-8\)"):
        open_source(f"idx:{folder}", "train")


def test_the_names_of_fashion_mnist_are_those_of_its_readme():
    assert len(KNOWN_LABELS) == 2
    for names in KNOWN_LABELS.values():
        assert (len(names), names[0], names[9]) == (10, "T-shirt/top", "Ankle boot")


def test_the_fingerprint_is_of_the_content(folder, tmp_path):
    before = fingerprint(open_source(f"idx:{folder}", "train"))
    write(tmp_path / "packed", dot=".", packed=True)
    assert fingerprint(open_source(f"idx:{tmp_path / 'packed'}", "train")) == before
    content = bytearray((folder / "train-labels-idx1-ubyte").read_bytes())
    content[-1] ^= 1
    (folder / "train-labels-idx1-ubyte").write_bytes(content)
    after = fingerprint(open_source(f"idx:{folder}", "train"))
    assert difference(before, after) == "its files have other names, sizes or contents"


def test_it_is_checked_and_packed(folder, tmp_path):
    report = check(f"idx:{folder}", workers=2)
    assert report.whole
    assert [split.images for split in report.splits] == [23, 7]
    packed = pack(f"idx:{folder}", 4, format="raw", data_dir=str(tmp_path / "tfds"), workers=2)
    assert packed.name == "tfds:digits_4_raw"
    assert [split.images for split in packed.splits] == [23, 7]


IMAGE_FILE, LABEL_FILE = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
WHOLE, WHOLE_LABELS = idx(IMAGES["train"]), idx(LABELS["train"])


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        (
            IMAGE_FILE,
            WHOLE[:-1],
            r"train-images-idx3-ubyte holds less than the 23 x 5 x 6 bytes that .*: copy it again",
        ),
        (IMAGE_FILE, WHOLE + b"x", "holds more than the 23 x 5 x 6 bytes"),
        (IMAGE_FILE, WHOLE[:9], "train-images-idx3-ubyte ends within its header: copy it again"),
        (IMAGE_FILE, b"", "train-images-idx3-ubyte is not in the IDX format: put the file that has this name"),
        (IMAGE_FILE, b"<html>" * 9, "is not in the IDX format"),
        (IMAGE_FILE, WHOLE_LABELS, "holds uint8 in 1 dimensions, and not uint8 in 3: put the file"),
        (IMAGE_FILE, idx(IMAGES["train"], 13), "holds float32 in 3 dimensions, and not uint8 in 3"),
        (IMAGE_FILE, idx(IMAGES["train"][:22]), "holds 22 images, and train-labels-idx1-ubyte 23 labels: put the two"),
        (IMAGE_FILE, idx(np.zeros((23, 0, 6))), "holds images without pixels"),
        (IMAGE_FILE, idx(np.zeros(0))[:4] + b"\xff" * 4, "holds uint8 in 1 dimensions"),
        (IMAGE_FILE, idx(np.zeros((0, 0, 0)))[:4] + b"\xff" * 12, "holds less than the 4294967295 x 4294967295"),
        (
            IMAGE_FILE,
            gzip.compress(WHOLE, mtime=0)[:-20],
            r"train-images-idx3-ubyte is damaged \(Compressed file ended before",
        ),
        (IMAGE_FILE, gzip.compress(WHOLE, mtime=0)[:-8] + b"\0" * 8, r"is damaged \(CRC check failed"),
        (IMAGE_FILE, gzip.compress(WHOLE + b"x", mtime=0), "holds more than"),
        (IMAGE_FILE, gzip.compress(WHOLE[:4] + b"\xff" * 12, mtime=0), "holds less than the 4294967295 x 4294967295"),
        (LABEL_FILE, WHOLE, "train-labels-idx1-ubyte holds uint8 in 3 dimensions, and not uint8 in 1"),
        (LABEL_FILE, None, f"{IMAGE_FILE} has no {LABEL_FILE}.* beside it: put both files there"),
        (IMAGE_FILE, None, f"{LABEL_FILE} has no {IMAGE_FILE}.* beside it"),
    ],
)
def test_each_way_to_be_wrong_is_a_sentence(folder, file, content, sentence):
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        open_source(f"idx:{folder}", "train")


def test_what_is_no_data_set_is_a_sentence(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for rest, sentence in (
        (tmp_path / "nowhere", "there is no folder .*nowhere: name the folder of train-images-idx3-ubyte"),
        (tmp_path / "no" / "where", "there is no folder .*where: name the folder"),
        (tmp_path / "empty", "empty holds no images in the IDX format: name the folder"),
        (folder / IMAGE_FILE, "there is no folder .*/train-images-idx3-ubyte: name the folder"),
    ):
        with pytest.raises(UserError, match=sentence):
            split_names(f"idx:{rest}")


def test_what_cannot_be_read_is_a_sentence(folder, monkeypatch):
    (folder / IMAGE_FILE).unlink()
    (folder / IMAGE_FILE).mkdir()
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte cannot be read \(Is a directory\): make it readable"):
        open_source(f"idx:{folder}", "train")

    def refusing(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.iterdir", refusing)
    with pytest.raises(UserError, match=r"digits cannot be read \(Permission denied\): make it readable"):
        open_source(f"idx:{folder}", "train")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([b"\0\0\x08", b"\0\0\x0d", b"\0\0\x08", b"\0\1\x08"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.binary(max_size=12),
    st.booleans(),
)
def test_a_file_is_read_if_its_header_says_what_it_holds(tmp_path_factory, magic, sizes, content, packed):
    path = tmp_path_factory.getbasetemp() / f"{os.getpid()}.idx"
    whole = magic + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + content
    path.write_bytes(gzip.compress(whole, mtime=0) if packed else whole)
    if magic == b"\0\0\x08" and len(sizes) == 3 and len(content) == np.prod(sizes):
        array = read_idx(path, 3)
        assert (array.shape, array.tobytes()) == (tuple(sizes), content)
    else:
        with pytest.raises(UserError, match=str(path)):
            read_idx(path, 3)
