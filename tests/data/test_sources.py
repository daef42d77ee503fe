"""Data sets by name: what they hold, and the sentence for each way of asking for what is not there."""

import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.linear_model import LogisticRegression

from jaxcnn.data.sources import check_same_classes, evaluation_split, open_source, refuse_bad, split_names
from jaxcnn.errors import UserError


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


class Tiny(tfds.core.GeneratorBasedBuilder):
    """Seven training and three validation images, or test images without labels."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES = None

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 3))
        label = tfds.features.ClassLabel(names=["cat", "dog"])
        features = self.FEATURES or {"image": image, "mask": image, "label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, download_manager):
        return {"train": self._records(7), "validation": self._records(3), "test": self._records(2, labels=(-1, -1))}

    def _generate_examples(self):
        raise NotImplementedError

    def _records(self, count, labels=(0, 1)):
        for index in range(count):
            record = {
                "image": io.BytesIO(png(index)),
                "mask": io.BytesIO(b"never decoded"),
                "label": labels[index % 2],
            }
            yield index, {key: record[key] for key in self.info.features}


class Pixels(Tiny):
    """Arrays instead of files, with their names."""

    FEATURES = {  # noqa: RUF012
        "image": tfds.features.Tensor(shape=(None, None, 3), dtype=np.uint8, encoding="bytes"),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
        "file_name": tfds.features.Text(),
    }

    def _records(self, count, labels=(0, 1)):
        for index in range(count):
            pixels = np.full((6, 8 + index, 3), index, np.uint8)
            yield index, {"image": pixels, "label": labels[index % 2], "file_name": f"{index}.jpg"}


class NoImage(Tiny):
    """What cannot be classified."""

    FEATURES = {"label": tfds.features.ClassLabel(num_classes=2)}  # noqa: RUF012


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("tfds"))
    for builder in (Tiny, Pixels, NoImage):
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture
def photos(tmp_path):
    for split, classes in (("train", ("ant", "bee")), ("val", ("ant", "bee"))):
        for label, name in enumerate(classes):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(3):
                (tmp_path / split / name / f"{index}.png").write_bytes(png(10 * label + index))
    return tmp_path


def test_digits_are_the_same_for_good():
    train, test = (open_source("digits", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (1437, 360)
    assert train.class_names == tuple("0123456789")
    assert np.bincount([test[index][1] for index in range(360)]).tolist() == [36, 36, 36, 36, 37, 36, 36, 36, 35, 36]
    image, label = train[0]
    assert (image.shape, image.dtype, label) == ((8, 8, 1), np.uint8, 1)
    assert image[0, :, 0].tolist() == [0, 0, 0, 191, 207, 80, 0, 0]
    assert {train.describe(index) for index in range(1437)}.isdisjoint(test.describe(index) for index in range(360))


def test_digits_out_of_range():
    with pytest.raises(IndexError, match="1437 images of digits"):
        open_source("digits", "train")[1437]


def test_synthetic_is_a_function_of_split_and_index():
    source = open_source("synthetic", "test", image_size=24)
    image, label = source[13]
    assert (len(source), image.shape, image.dtype, label) == (320, (24, 24, 3), np.uint8, 3)
    np.testing.assert_array_equal(image, open_source("synthetic", "test", image_size=24)[13][0])
    assert (image != open_source("synthetic", "train", image_size=24)[13][0]).any()
    assert image[0, :3].tolist() == [[181, 170, 213], [241, 209, 231], [168, 171, 222]]


def test_synthetic_can_be_learned():
    def spectra(split, count):
        source = open_source("synthetic", split, image_size=16)
        pairs = [source[index] for index in range(count)]
        images = np.stack([image for image, _ in pairs]).mean(-1)
        return np.abs(np.fft.rfft2(images)).reshape(count, -1) / 1e4, [label for _, label in pairs]

    model = LogisticRegression().fit(*spectra("train", 200))
    assert model.score(*spectra("test", 100)) > 0.95


def test_synthetic_classes():
    source = open_source("synthetic:1000", "train", image_size=8)
    assert len(source.class_names) == 1000
    assert source[1001][1] == 1


def test_tfds_gives_encoded_bytes_and_labels(prepared):
    assert split_names("tfds:tiny", prepared) == ("test", "train", "validation")
    assert evaluation_split("tfds:tiny", prepared) == "validation"
    source = open_source("tfds:tiny:1.0.0", "train", prepared)
    assert source.class_names == ("cat", "dog")
    records = [source[index] for index in range(len(source))]
    assert sorted(image for image, _ in records) == sorted(map(png, range(7)))
    assert [label for _, label in records].count(1) == 3
    assert source.describe(4) == "record 4"


def test_tfds_gives_arrays_and_names(prepared):
    source = open_source("tfds:pixels", "train", prepared)
    assert sorted(map(source.file_name, range(source.size))) == sorted(f"{index}.jpg" for index in range(source.size))
    for index in range(7):
        image, label = source[index]
        value = image[0, 0, 0]
        assert image.dtype == np.uint8
        assert image.shape == (6, 8 + value, 3)
        assert (image == value).all()
        assert label == value % 2
        assert source.describe(index) == f"record {index} ({value}.jpg)"


def test_a_damaged_record_is_an_error_of_its_own(prepared, tmp_path):
    shutil.copytree(f"{prepared}/pixels", tmp_path / "pixels")
    (shard,) = tmp_path.glob("pixels/*/pixels-train.array_record-*")
    content = bytearray(shard.read_bytes())
    content[content.index(b"3.jpg")] ^= 1
    shard.write_bytes(content)
    source = open_source("tfds:pixels", "train", str(tmp_path))
    said = []
    for index in range(7):
        try:
            source[index]
        except OSError as error:
            said.append((source.describe(index), str(error)))
    ((description, sentence),) = said
    assert re.fullmatch(r"record \d", description)
    assert "hash mismatch" in sentence


def test_tfds_takes_slices(prepared):
    whole = open_source("tfds:tiny", "train", prepared)
    sliced = open_source("tfds:tiny", "train[2:5]", prepared)
    assert [sliced[index] for index in range(len(sliced))] == [whole[index] for index in (2, 3, 4)]


def test_tfds_folder_may_come_from_the_environment(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", prepared)
    assert len(open_source("tfds:tiny", "validation")) == 3


def test_tfds_takes_the_newest_version_and_the_only_config(prepared, tmp_path):
    for version in ("9.0.0", "10.0.0"):
        (tmp_path / "moved" / "plain").mkdir(parents=True, exist_ok=True)
        os.symlink(f"{prepared}/tiny/1.0.0", tmp_path / "moved" / "plain" / version)
    assert len(open_source("tfds:moved/plain:9.0.0", "train", str(tmp_path))) == 7
    assert len(open_source("tfds:moved", "train", str(tmp_path))) == 7
    os.rename(tmp_path / "moved" / "plain" / "9.0.0", tmp_path / "moved" / "plain" / "11.0.0")
    (tmp_path / "moved" / "plain" / "11.0.0").unlink()
    assert len(open_source("tfds:moved:10.0.0", "train", str(tmp_path))) == 7
    os.symlink(tmp_path / "moved" / "plain", tmp_path / "moved" / "second")
    with pytest.raises(UserError, match="several configs, so name one, as in tfds:moved/plain"):
        open_source("tfds:moved", "train", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "split", "sentence"),
    [
        ("tfds:tinny", "train", "did you mean 'tiny'.*tfds build tinny"),
        ("tfds:imagenet2012", "train", "jaxcnn data prepare imagenet2012 --archives DIR"),
        ("tfds:tiny:2.0.0", "train", "not prepared in version '2.0.0': .*'1.0.0'"),
        ("tfds:tiny", "trian", "'trian': did you mean 'train'"),
        ("tfds:tiny", "train[:nine]", "no images in a split"),
        ("tfds:tiny", "train[5:2]", "no images in a split"),
        ("tfds:tiny", "train[:0]", "no images in a split"),
        ("tfds:no_image", "train", "no Image feature called 'image'"),
    ],
)
def test_tfds_says_what_is_missing(prepared, name, split, sentence):
    with pytest.raises(UserError, match=sentence):
        open_source(name, split, prepared)


def test_tfds_says_when_nothing_is_prepared(tmp_path):
    with pytest.raises(UserError, match="nothing is"):
        split_names("tfds:mnist", str(tmp_path))


def test_tfds_without_random_access_names_the_conversion(prepared, tmp_path):
    folder = tmp_path / "tiny" / "1.0.0"
    folder.mkdir(parents=True)
    original = Path(prepared, "tiny", "1.0.0")
    for file in os.listdir(original):
        if file.endswith((".json", ".txt")):
            text = (original / file).read_text()
            (folder / file).write_text(text.replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match=f"tfds convert_format --dataset_version_dir={folder} --out_file_format="):
        open_source("tfds:tiny", "train", str(tmp_path))


def test_tfds_says_when_a_split_has_no_labels(prepared):
    with pytest.raises(UserError, match="has no labels"):
        open_source("tfds:tiny", "test", prepared)[0]


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


def test_differing_classes_are_named(photos):
    train = open_source(f"folder:{photos}", "train")
    check_same_classes(train, open_source(f"folder:{photos}", "val"))
    (photos / "val" / "bee").rename(photos / "val" / "wasp")
    with pytest.raises(UserError, match="only 'train' has 'bee' and only 'val' has 'wasp'"):
        check_same_classes(train, open_source(f"folder:{photos}", "val"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("digit", "did you mean 'digits'"),
        ("cifar", "choose from 'digits', 'folder:PATH', 'synthetic', 'tfds:NAME'"),
        ("synthetic:ten", "must end in a number of classes"),
    ],
)
def test_unknown_names(name, sentence):
    with pytest.raises(UserError, match=sentence):
        open_source(name, "train")


def test_only_tfds_is_sliced():
    with pytest.raises(UserError, match=r"digits has no split 'train\[:10\]': did you mean 'train'"):
        open_source("digits", "train[:10]")


def test_the_limit_on_bad_images_is_inclusive():
    refuse_bad([("a", "is empty")], 100, 0.01, "there")
    with pytest.raises(UserError, match=r"1 of 99 images of there cannot be read .*a is empty$"):
        refuse_bad([("a", "is empty")], 99, 0.01, "there")
