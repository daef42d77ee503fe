"""Packed copies: the same images, smaller, read without TensorFlow, and nothing half written."""

import io
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from jaxcnn.config import CenterCrop, DataConfig
from jaxcnn.data import pack as packing
from jaxcnn.data.check import check
from jaxcnn.data.decode import decode
from jaxcnn.data.folders import check_room, complete_or_absent, sole_writer
from jaxcnn.data.opening import open_data
from jaxcnn.data.pack import pack
from jaxcnn.data.sources import open_source
from jaxcnn.errors import UserError


def photo(value, height, width, kind="JPEG", mode="RGB"):
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows + 9 * value, columns, rows + columns], axis=-1) % 256
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(file, kind)
    return file.getvalue()


FILES = {
    "train/ant/0.jpg": photo(0, 60, 90),
    "train/ant/1.jpg": photo(1, 90, 50),
    "train/ant/2.jpg": photo(2, 70, 70)[:500],
    "train/bee/3.png": photo(3, 50, 41, "PNG"),
    "train/bee/4.jpg": photo(4, 20, 90),
    "train/bee/5.jpg": photo(5, 64, 64, mode="L"),
    "train/bee/6.jpg": b"<html>",
    "val/ant/7.jpg": photo(7, 80, 60),
    "val/bee/8.jpg": photo(8, 41, 90, mode="CMYK"),
}


@pytest.fixture
def photos(tmp_path):
    for path, content in FILES.items():
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / path).write_bytes(content)
    return f"folder:{tmp_path / 'photos'}"


@pytest.fixture
def data_dir(tmp_path):
    return str(tmp_path / "tfds")


def read(name, split, data_dir):
    source = open_source(name, split, data_dir)
    return [source[index] for index in range(len(source))]


@pytest.mark.parametrize("format", ["raw", "jpeg"])
def test_a_copy_is_small_in_order_and_accounts_for_what_is_left_out(photos, data_dir, format):
    packed = pack(photos, 40, format=format, data_dir=data_dir, workers=3)
    assert packed.name == f"tfds:photos_40_{format}"
    train, val = packed.splits
    assert (train.split, train.images, val.split, val.images) == ("train", 5, "val", 2)
    assert [os.path.basename(path) for path, _ in train.left_out] == ["6.jpg", "2.jpg"]
    assert train.left_out[0][1] == "is not an image"
    assert train.left_out[1][1].startswith("cannot be decoded")
    assert val.left_out == ()

    images, labels = zip(*read(packed.name, "train", data_dir), strict=True)
    assert labels == (0, 0, 1, 1, 1)
    pixels = [decode(image, 3, 1 << 20) if format == "jpeg" else image for image in images]
    assert [image.shape for image in pixels] == [(40, 60, 3), (72, 40, 3), (48, 40, 3), (20, 90, 3), (40, 40, 3)]
    assert open_source(packed.name, "val", data_dir).class_names == ("ant", "bee")
    assert check(packed.name, (), data_dir, workers=2).whole
    assert "tensorflow" not in sys.modules


def test_from_a_raw_copy_a_centre_crop_is_the_same_to_the_bit(photos, data_dir):
    pack(photos, 40, format="raw", interpolation="bicubic", data_dir=data_dir)
    crop = CenterCrop(size=32, resize=40, interpolation="bicubic")
    original, copy = (
        open_data(DataConfig(name=name, data_dir=data_dir, train_crop=crop, evaluation_crop=crop, max_bad_share=1.0))
        for name in (photos, "tfds:photos_40_raw")
    )
    assert copy.train.size == 5
    np.testing.assert_array_equal(original.train.images, copy.train.images)
    np.testing.assert_array_equal(original.train.labels, copy.train.labels)
    np.testing.assert_array_equal(original.evaluation.images, copy.evaluation.images)


def test_jpeg_files_that_are_small_already_are_kept_as_they_are(photos, data_dir):
    packed = pack(photos, 40, data_dir=data_dir)
    images = [image for image, _ in read(packed.name, "train", data_dir)]
    assert images[3] == FILES["train/bee/4.jpg"]
    scaled = Image.open(io.BytesIO(FILES["train/ant/0.jpg"])).resize((60, 40), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    scaled.save(file, "JPEG", quality=95)
    assert images[0] == file.getvalue()


def test_many_shards(data_dir, monkeypatch):
    monkeypatch.setattr(packing, "_SHARD_BYTES", 30_000)
    packed = pack("synthetic", 16, format="raw", data_dir=data_dir, splits=("test",), packed_name="gratings")
    assert len(list(packed.folder.glob("gratings-test.array_record-*"))) > 5
    original = open_source("synthetic", "test", image_size=32)
    copy = open_source("tfds:gratings", "test", data_dir)
    assert len(copy) == 320
    for index in (0, 100, 319):
        assert copy[index][1] == original[index][1]
        assert copy[index][0].shape == (16, 16, 3)
    assert check("tfds:gratings", ("test",), data_dir).whole


def test_a_slice_is_stored_under_its_splits_name(data_dir):
    pack("synthetic", 16, format="raw", data_dir=data_dir, packed_name="gratings")
    packed = pack("tfds:gratings", 8, splits=("train[:7]",), data_dir=data_dir)
    assert packed.name == "tfds:gratings_8_jpeg"
    assert len(open_source(packed.name, "train", data_dir)) == 7
    with pytest.raises(UserError, match=r"would be stored under one name"):
        pack("tfds:gratings", 8, splits=("train[:7]", "train[7:]"), data_dir=data_dir)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"packed_name": "Two words"}, "'Two words' cannot be a data set's name"),
        ({"quality": 0}, "quality must be from 1 to 100, not 0"),
        ({"short_side": 0}, "short_side must be at least 1 pixel, not 0"),
        ({"splits": ("trian",)}, "no split 'trian': did you mean 'train'"),
    ],
)
def test_what_cannot_be_packed(data_dir, options, sentence):
    with pytest.raises(UserError, match=sentence):
        pack(**{"name": "synthetic", "short_side": 16, "data_dir": data_dir} | options)
    assert not os.path.exists(data_dir)


def test_nothing_is_overwritten_and_nothing_remains_of_an_interrupted_copy(data_dir, monkeypatch):
    def interrupted(*arguments):
        (folder,) = packed.folder.parent.iterdir()
        assert folder.name == "incomplete.PACKED_1.0.0"
        raise KeyboardInterrupt

    options = {"format": "raw", "data_dir": data_dir, "splits": ("test",)}
    packed = pack("synthetic", 16, **options)
    with pytest.raises(UserError, match=r"synthetic_16_raw/1.0.0 exists already: remove it"):
        pack("synthetic", 16, **options)
    shutil.rmtree(packed.folder)
    with monkeypatch.context() as patch:
        patch.setattr(packing._Writer, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack("synthetic", 16, **options)
    assert not packed.folder.parent.exists()
    # A killed one cannot tidy up.
    left = packed.folder.parent / "incomplete.PACKED_1.0.0"
    left.mkdir(parents=True)
    (left / "half").touch()
    assert pack("synthetic", 16, **options) == packed
    assert os.listdir(packed.folder.parent) == ["1.0.0"]


def test_only_what_tfds_leaves_incomplete_is_removed(tmp_path):
    for name in ("incomplete.AB12CD_5.1.0", "5.0.0", "incomplete.notes", "incomplete.AB12CD_5.1.0.txt"):
        (tmp_path / name).mkdir()
    (tmp_path / "incomplete.ZZZZZZ_1.0.0").touch()  # a file is not what it leaves
    with sole_writer(tmp_path):
        pass
    names = {"5.0.0", "incomplete.notes", "incomplete.AB12CD_5.1.0.txt", "incomplete.ZZZZZZ_1.0.0"}
    assert set(os.listdir(tmp_path)) == names


def test_one_writer_at_a_time(tmp_path):
    with sole_writer(tmp_path), pytest.raises(UserError, match="another process is writing to"), sole_writer(tmp_path):
        pass


def test_a_version_is_complete_or_absent(tmp_path):
    with pytest.raises(OSError, match="half"), complete_or_absent(tmp_path / "1.0.0") as folder:
        (folder / "half").rmdir()
    assert os.listdir(tmp_path) == []


def test_room_is_made_sure_of(photos, data_dir, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(UserError, match=r"the copy photos_40_raw needs about 0.\d MB in .* and 0.0 MB are free there"):
        pack(photos, 40, format="raw", data_dir=data_dir)
    assert not os.path.exists(f"{data_dir}/photos_40_raw")
    check_room("/", 10_000, "this")
    with pytest.raises(UserError, match="this needs"):
        check_room("/", 10_001, "this")
