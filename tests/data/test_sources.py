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
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from jaxcnn.config import DataConfig, Resize
from jaxcnn.data.opening import open_data, open_split
from jaxcnn.data.sources import (
    Source,
    SourceRequest,
    evaluation_split,
    open_source,
    refuse_bad,
    register_source,
    registry,
    source_kinds,
    split_names,
)
from jaxcnn.data.sources.digits import _digits
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


@pytest.fixture(autouse=True)
def own_kinds(monkeypatch):
    """The kinds of this package alone, whatever else tests have registered in this process; none is left behind."""
    kinds = {name: kind for name, kind in registry._KINDS._kinds.items() if kind.open.__module__.startswith("jaxcnn.")}
    monkeypatch.setattr(registry._KINDS, "_kinds", kinds)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("tfds"))
    for builder in (Tiny, Pixels, NoImage):
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


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


@pytest.mark.parametrize(
    ("shape", "encoding"),
    [
        *(((5, 4, channels), encoding) for channels in (1, 3) for encoding in ("none", "bytes", "zlib")),
        *(((None, None, 3), encoding) for encoding in ("bytes", "zlib")),
    ],
)
def test_tfds_gives_arrays_however_they_are_stored(tmp_path, shape, encoding):
    array = np.random.RandomState(0).randint(256, size=(5, 4, shape[-1])).astype(np.uint8)

    class Stored(Tiny, skip_registration=True):
        """The same pixels three times."""

        FEATURES = {  # noqa: RUF012
            "image": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding=encoding),
            "label": tfds.features.ClassLabel(num_classes=2),
        }

        def _records(self, count, labels=(0, 1)):
            for index in range(3):
                yield index, {"image": array, "label": labels[1]}

    Stored(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    image, label = open_source("tfds:stored", "train", str(tmp_path))[2]
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, array)
    assert (label, type(label)) == (1, int)


def test_a_data_set_without_permission_is_a_sentence(prepared, monkeypatch):
    def refusing(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(tfds, "builder_from_directory", refusing)
    with pytest.raises(UserError, match=r"tfds:tiny in .*tiny/1.0.0 cannot be read \(Permission denied\): make its"):
        open_source("tfds:tiny", "train", prepared)


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


def test_tfds_takes_a_folder_whose_name_is_a_pattern(prepared, tmp_path):
    shutil.copytree(f"{prepared}/tiny", tmp_path / "[old]*" / "tiny")
    source = open_source("tfds:tiny:1.*.*", "train", str(tmp_path / "[old]*"))
    assert len({source[index][0] for index in range(source.size)}) == 7


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
    ("wanted", "found"),
    [
        ("1.*.*", "1.10.1"),
        ("1.2.*", "1.2.10"),
        ("*.*.*", "2.0.0"),
        ("*.0.*", "2.0.0"),
        ("*.2.9", "1.2.9"),
        ("2.0.0", "2.0.0"),
    ],
)
def test_tfds_takes_the_newest_version_that_fits(prepared, tmp_path, wanted, found):
    for version in ("1.2.9", "1.2.10", "1.10.0", "1.10.1", "2.0.0"):
        folder = tmp_path / "tiny" / version
        shutil.copytree(f"{prepared}/tiny/1.0.0", folder)
        info = folder / "dataset_info.json"
        info.write_text(info.read_text().replace('"1.0.0"', f'"{version}"'))
        fits = tfds.core.Version(version).match(wanted)
        assert fits or version != found
        assert not (fits and tfds.core.Version(version) > found)
    source = open_source(f"tfds:tiny:{wanted}", "train", str(tmp_path))
    assert source.size == 7
    assert next(iter(source.listing())) == f"version {found}"


@pytest.mark.parametrize(
    ("name", "split", "sentence"),
    [
        ("tfds:tiny:2.*.*", "train", "not prepared in version '2.*.*': .*'1.0.0'"),
        ("tfds:tiny:1.*", "train", "not prepared in version '1.*': .*'1.0.0'"),
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


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("digit", "did you mean 'digits'"),
        ("cifar", "choose from 'digits', 'folder:PATH', 'idx:FOLDER', 'synthetic', 'tfds:NAME'"),
        ("synthetic:ten", "must end in a number of classes"),
    ],
)
def test_unknown_names(name, sentence):
    with pytest.raises(UserError, match=sentence):
        open_source(name, "train")


def test_digits_are_not_sliced():
    with pytest.raises(UserError, match=r"digits has no split 'train\[:10\]': did you mean 'train'"):
        open_source("digits", "train[:10]")


def test_the_limit_on_bad_images_is_inclusive():
    refuse_bad([("a", "is empty")], 100, 0.01, "there")
    with pytest.raises(UserError, match=r"1 of 99 images of there cannot be read .*a is empty$"):
        refuse_bad([("a", "is empty")], 99, 0.01, "there")


def bars_splits(rest, data_dir):
    if not rest.isdigit():
        raise UserError(f"bars:{rest} is not a number of images: write bars:7")
    return ("train", "test")


def open_bars(request):
    """Images of one bright row, which is their class; every third of the test images cannot be read."""

    def read(index):
        if request.split == "test" and index % 3 == 2:
            raise OSError("gone")
        image = np.zeros((request.image_size, request.image_size, 1), np.uint8)
        image[index % 4] = 200 + index
        return image, index % 4

    sizes = {"train": int(request.rest), "test": 5}
    return Source(
        request.name,
        request.split,
        class_names=("first", "second", "third", "fourth"),
        size=sizes[request.split],
        read=read,
        describe=lambda index: f"bar {index} in {request.data_dir}",
    )


@pytest.fixture
def bars():
    register_source("bars", open=open_bars, splits=bars_splits, example="bars:IMAGES")


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize("residence", ["device", "stream"])
def test_a_source_of_ones_own(residence):
    crop = Resize(size=6)
    options = {"train_crop": crop, "evaluation_crop": crop, "channels": 1, "max_bad_share": 0.4}
    config = DataConfig(name="bars:7", data_dir="here", residence=residence, **options)
    data = open_data(config)
    assert data.class_names == ("first", "second", "third", "fourth")
    assert data.train.size == 7
    batches = list(data.train.training_batches(0, 7, 0, 2))
    for batch in batches:
        if residence == "device":
            assert sorted(batch["index"]) == list(range(7))
            batch |= {"image": data.train.images[batch["index"]], "label": data.train.labels[batch["index"]]}
        assert sorted(batch["image"].max(axis=(1, 2, 3))) == [200, 201, 202, 203, 204, 205, 206]
        assert (batch["image"].argmax(axis=1)[:, 0, 0] == batch["label"]).all()
    split = open_split(config)
    (batch,) = split.evaluation_batches(5)
    assert batch["mask"].tolist() == [True, True, False, True, True]
    assert split.unreadable == (2,)
    assert split.bad == [("bar 2 in here", "cannot be read (gone)")]


@pytest.mark.usefixtures("bars")
def test_a_source_of_ones_own_is_refused_as_ours():
    assert {"bars", "digits", "folder", "idx", "synthetic", "tfds"} <= set(source_kinds())
    assert split_names("bars:3") == ("test", "train")
    assert evaluation_split("bars:3") == "test"
    with pytest.raises(UserError, match="choose from 'bars:IMAGES', 'digits', 'folder:PATH'"):
        open_source("baes:3", "train")
    with pytest.raises(UserError, match="bars:three is not a number of images"):
        open_source("bars:three", "train")
    with pytest.raises(UserError, match=r"bars:3 has no split 'train\[:2\]': did you mean 'train'"):
        open_source("bars:3", "train[:2]")
    with pytest.raises(UserError, match="split 'train' of bars:0 is empty"):
        open_source("bars:0", "train")
    with pytest.raises(UserError, match=r"1 of 5 images of bars:3, split 'test' cannot be read .*bar 2 in None"):
        list(open_split(DataConfig(name="bars:3", residence="stream")).evaluation_batches(5))


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize("kind", ["bars", "digits", "tfds"])
def test_a_kind_is_registered_once(kind):
    with pytest.raises(UserError, match=f"a kind of data set named '{kind}' already: register yours under another"):
        register_source(kind, open=open_bars, splits=bars_splits)


@pytest.mark.parametrize("kind", ["", "my bars", "bars:4", "4bars", "bars-4"])
def test_a_kind_is_an_identifier(kind):
    with pytest.raises(UserError, match=f"'{kind}' cannot be a kind of data set: take an identifier"):
        register_source(kind, open=open_bars, splits=bars_splits)
    assert kind not in source_kinds()


def test_what_opens_a_source_is_given_all_it_needs_and_must_return_one():
    requests = []
    register_source(
        "asked", open=requests.append, splits=lambda rest, data_dir: (f"{rest} in {data_dir}",), sliced=True
    )
    with pytest.raises(TypeError, match="opens asked:a:b returned NoneType, and must return a Source"):
        open_source("asked:a:b", "half", "there", image_size=48, max_bad_share=0.25)
    assert requests == [SourceRequest("asked:a:b", "a:b", "half", "there", image_size=48, max_bad_share=0.25)]
    assert split_names("asked:a:b", "there") == ("a:b in there",)


@pytest.mark.parametrize("is_there", [True, False])
def test_the_digits_are_scikit_learns(is_there, monkeypatch):
    digits = load_digits()
    monkeypatch.setattr("jaxcnn.data.sources.digits.Path.is_file", lambda path: is_there)
    images, target = _digits.__wrapped__()
    np.testing.assert_array_equal(images[..., 0], np.round(digits.images * 255 / 16))
    np.testing.assert_array_equal(target, digits.target)
    assert images.dtype == np.uint8
