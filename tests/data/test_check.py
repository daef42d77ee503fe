"""Whether a data set is whole: each thing that can be wrong with it is found, named, and told from what is only odd."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxcnn.config import DataConfig, Resize
from jaxcnn.data.check import ILSVRC_IMAGES, check, ilsvrc_classes
from jaxcnn.data.opening import open_data
from jaxcnn.errors import UserError


def encode(value, kind="JPEG", mode="RGB"):
    file = io.BytesIO()
    pixels = np.random.RandomState(value).randint(256, size=(12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


class Whole(tfds.core.GeneratorBasedBuilder):
    """Eight training and four validation images of two of ILSVRC's classes."""

    VERSION = tfds.core.Version("1.0.0")
    NAMES = ("n01440764", "n01443537")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=list(self.NAMES)),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, download_manager):
        return {"train": self._records(range(8)), "validation": self._records(range(10, 14))}

    def _generate_examples(self):
        raise NotImplementedError

    def _records(self, values):
        for value in values:
            name = ("n01440764", "n01443537")[value % 2]
            yield value, {"image": io.BytesIO(self._image(value)), "label": name, "file_name": f"{name}_{value}.JPEG"}

    def _image(self, value):
        return encode(value)


class Odd(Whole):
    """As the archives and the world have them: a PNG, CMYK, grey, half a file, and a copy in the other split."""

    def _image(self, value):
        made = {2: encode(2, "PNG"), 3: encode(3, mode="CMYK"), 4: encode(4, mode="L"), 5: encode(5)[:400]}
        return made.get(value) or encode(7 if value == 12 else value)


class Shuffled(Whole):
    """Labels that do not count the sorted ids."""

    NAMES = ("n01443537", "n01440764")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("tfds"))
    for builder in (Whole, Odd, Shuffled):
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def test_a_whole_data_set(prepared):
    report = check("tfds:whole", (), prepared, workers=2)
    assert report.whole
    assert report.notes == ()
    assert str(report).splitlines() == [
        "train: 8 of 8 images of 2 classes",
        "            8  RGB JPEG",
        "validation: 4 of 4 images of 2 classes",
        "            4  RGB JPEG",
        "the data set is whole",
    ]


def test_what_is_odd_is_named_and_what_is_broken_is_a_problem(prepared):
    report = check("tfds:odd", (), prepared, workers=2)
    train, validation = report.splits
    assert {kind: found.count for kind, found in train.encodings.items()} == {
        "RGB JPEG": 4,
        "RGB PNG": 1,
        "CMYK JPEG": 1,
        "grey JPEG": 1,
    }
    assert {kind: found.count for kind, found in validation.encodings.items()} == {"RGB JPEG": 4}
    (problem,) = report.problems
    assert problem.startswith("train: 1 unreadable: record ")
    assert "(n01443537_5.JPEG) cannot be decoded" in problem
    notes = "\n".join(report.notes)
    assert "(n01440764_2.JPEG)" in notes  # the PNG
    assert "(n01443537_3.JPEG)" in notes  # the CMYK file
    assert "_4.JPEG" not in notes  # grey files are nothing odd
    assert "1 images occur more than once, 1 of them with different labels and 1 in more than one split" in notes
    assert "n01443537_7.JPEG" in notes
    assert "n01440764_12.JPEG" in notes
    assert str(report).endswith("the data set is NOT whole")


def test_ids_out_of_order(prepared):
    report = check("tfds:shuffled", (), prepared, workers=1)
    assert report.problems == ("the classes are WordNet ids, but not in sorted order",)


def test_labels_that_contradict_their_files_names(prepared, tmp_path):
    folder = tmp_path / "whole" / "1.0.0"
    shutil.copytree(Path(prepared, "shuffled", "1.0.0"), folder)
    labels = folder / "label.labels.txt"
    labels.write_text("\n".join(sorted(labels.read_text().split())))  # as if someone had sorted them afterwards
    for file in list(folder.iterdir()):
        if file.name.startswith("shuffled"):
            file.rename(folder / file.name.replace("shuffled", "whole"))
    (folder / "dataset_info.json").write_text((folder / "dataset_info.json").read_text().replace("shuffled", "whole"))
    report = check("tfds:whole", ("train",), str(tmp_path), workers=1)
    (problem,) = report.problems
    assert problem.startswith("train: labels that contradict their files' names: ")
    assert ".JPEG) is labelled n01440764" in problem
    assert ".JPEG) is labelled n01443537" in problem


@pytest.fixture
def copied(prepared, tmp_path):
    """A copy of the whole data set, to be damaged, and its training shard."""
    folder = tmp_path / "whole" / "1.0.0"
    shutil.copytree(Path(prepared, "whole", "1.0.0"), folder)
    return str(tmp_path), folder / "whole-train.array_record-00000-of-00001"


def test_a_shard_that_is_gone(copied):
    data_dir, shard = copied
    shard.unlink()
    report = check("tfds:whole", (), data_dir, workers=1)
    assert report.problems[0] == "whole-train.array_record-00000-of-00001 is missing"
    assert report.problems[1].startswith("train: 8 unreadable: record 0 cannot be read (open() failed")


def test_a_shard_that_is_cut_short(copied):
    data_dir, shard = copied
    shard.write_bytes(shard.read_bytes()[:-1000])
    report = check("tfds:whole", (), data_dir, workers=1)
    assert report.problems[0].startswith("whole-train.array_record-00000-of-00001 ")
    assert "train: 8 unreadable" in report.problems[1]


def test_a_flipped_bit_costs_one_record(copied):
    data_dir, shard = copied
    content = bytearray(shard.read_bytes())
    name = content.index(b"n01440764_4.JPEG")
    content[name] ^= 1
    shard.write_bytes(content)
    report = check("tfds:whole", ("train",), data_dir, workers=1)
    assert [split.unreadable.count for split in report.splits] == [1]
    assert "hash mismatch" in report.problems[0]
    # A run goes on without it, or stops in a sentence.
    crop = Resize(size=8)
    config = DataConfig(
        name="tfds:whole",
        data_dir=data_dir,
        train_crop=crop,
        evaluation_crop=crop,
        residence="stream",
        max_bad_share=0.2,
    )
    train = open_data(config).train
    assert sum(len(batch["label"]) for batch in train.training_batches(0, 4, 0, 2)) == 8
    ((what, reason),) = train.bad
    assert what.startswith("record ")
    assert "hash mismatch" in reason
    with pytest.raises(UserError, match=r"1 of 8 images of tfds:whole, split 'train' cannot be read"):
        list(open_data(dataclasses.replace(config, max_bad_share=0.01)).train.training_batches(0, 4, 0, 2))


def test_a_shard_of_other_records(copied):
    data_dir, _ = copied
    info = Path(data_dir, "whole", "1.0.0", "dataset_info.json")
    facts = json.loads(info.read_text())
    next(split for split in facts["splits"] if split["name"] == "train")["shardLengths"] = ["7"]
    info.write_text(json.dumps(facts))
    report = check("tfds:whole", (), data_dir, workers=1)
    assert report.problems == ("whole-train.array_record-00000-of-00001 holds 8 records instead of 7",)


def test_a_folder(tmp_path):
    for index, path in enumerate(("train/ant/a.jpg", "train/bee/b.jpg", "val/ant/c.jpg", "val/bee/d.jpg")):
        file = tmp_path / path
        file.parent.mkdir(parents=True)
        file.write_bytes(encode(index))
    assert check(f"folder:{tmp_path}").whole
    (tmp_path / "train/ant/text.jpg").write_text("<html>")
    (tmp_path / "train/ant/copy.jpg").write_bytes(encode(0))
    (tmp_path / "val/bee").rename(tmp_path / "val/wasp")
    report = check(f"folder:{tmp_path}")
    assert [split.images for split in report.splits] == [4, 2]
    assert "only 'train' has 'bee'" in report.problems[0]
    assert report.problems[1].endswith("text.jpg is not an image")
    (note,) = report.notes
    assert note.startswith("1 images occur more than once, 0 of them with different labels and 0 in more than one")


def test_ilsvrc_is_counted(tmp_path):
    for split in ("train", "val"):
        for name in ilsvrc_classes():
            (tmp_path / split / name).mkdir(parents=True)
        (tmp_path / split / name / "a.jpg").write_bytes(encode(0))
    report = check(f"folder:{tmp_path}", thorough=False)
    assert report.problems == (
        "train has 1 images instead of 1,281,167",
        "val has 1 images instead of 50,000",
    )
    assert len(ilsvrc_classes()) == 1000
    assert ILSVRC_IMAGES["train"] == 1_281_167
