"""A folder of resumable work of any kind: its lock, and what it refuses to go on with."""

import dataclasses
import json
import os

import pytest

from jaxcnn.config import ConfigError, DataConfig, option_group
from jaxcnn.data.fingerprint import Fingerprint, Part
from jaxcnn.errors import MachineError, UserError
from jaxcnn.ops.lowering_rules import followed, following
from jaxcnn.ops.rules import KINDS, Rules, Trees, earlier
from jaxcnn.work_folder import WorkFolder, by_writer, kept_rules


@option_group
class Options:
    """What some work depends on."""

    words: int = 64
    workers: int | None = None
    data: DataConfig = DataConfig(name="folder:/here")


def prints(files=3, split="train", use="training"):
    return {use: Fingerprint(split, files, ("a",), {"a": Part(files, f"sha of {files}")})}


ORIGINAL = Options()


def sit(path, config=ORIGINAL, fingerprints=None, images_of="folder:/here"):
    with WorkFolder(path, Options, "extraction", free={"workers"}) as folder:
        folder.claim(config, fingerprints or prints(), images_of=images_of)
        folder.begin()


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_same_work_goes_on_and_other_work_is_refused_with_nothing_changed(tmp_path):
    sit(tmp_path / "work")
    before = contents(tmp_path / "work")
    assert before.keys() == {"config.json", "data.json", "lowerings.json"}
    sit(tmp_path / "work")
    with pytest.raises(
        ConfigError,
        match=r"work holds an extraction of another config, in which words is 64 and not 65: choose another --workdir, "
        "or delete the folder",
    ):
        sit(tmp_path / "work", Options(words=65))
    with pytest.raises(
        UserError,
        match=r"the images of folder:/here for training are not those that the extraction in .*work began with: 'a' "
        "has 4 files and had 3; put them back, or choose another --workdir",
    ):
        sit(tmp_path / "work", fingerprints=prints(files=4))
    assert contents(tmp_path / "work") == before


def test_what_changes_no_bit_and_the_place_of_the_same_files_may_change(tmp_path):
    sit(tmp_path)
    moved = dataclasses.replace(Options(workers=2), data=DataConfig(name="folder:/there"))
    sit(tmp_path, moved)
    assert json.loads((tmp_path / "config.json").read_text())["data"]["name"] == "folder:/there"
    with pytest.raises(ConfigError, match=r"in which data.name is 'folder:/there' and not 'tfds:mnist': choose"):
        sit(tmp_path, Options(data=DataConfig(name="tfds:mnist")))


def test_further_splits_join_those_that_the_folder_knows(tmp_path):
    sit(tmp_path)
    sit(tmp_path, fingerprints=prints(5, "test", "test"))
    assert json.loads((tmp_path / "data.json").read_text()).keys() == {"training", "test"}
    with pytest.raises(UserError, match="for training are not those"):
        sit(tmp_path, fingerprints=prints(files=4))


def test_one_program_at_a_time_and_a_folder_that_nothing_began_in_goes_away(tmp_path):
    with WorkFolder(tmp_path / "work", Options, "extraction") as folder:
        folder.claim(Options(), prints(), images_of="x")
        with pytest.raises(UserError, match=rf"work is in use by process {os.getpid()} on "):
            sit(tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_damaged_file_is_named(tmp_path):
    sit(tmp_path)
    (tmp_path / "data.json").write_text("[")
    with pytest.raises(ConfigError, match=r"data.json cannot be read: it is not what was written there; restore it"):
        sit(tmp_path)


def test_what_the_writer_refuses_all_processes_raise(monkeypatch):
    def refuse():
        raise MachineError("the disk is full")

    monkeypatch.setattr("jaxcnn.work_folder.is_writer", lambda: False)
    monkeypatch.setattr("jaxcnn.work_folder.gather", lambda value: [{"error": "no room", "of_the_machine": True}, {}])
    with pytest.raises(MachineError, match="no room"):
        by_writer(refuse)
    monkeypatch.setattr("jaxcnn.work_folder.gather", lambda value: [{"result": [3]}, {}])
    assert by_writer(refuse) == [3]


OTHER_RULES = Rules(tuple(Trees("shift", "shift", "shift") for _ in KINDS))
LATER_RULES = Rules(tuple(Trees("gemm", "gemm", "gemm") for _ in KINDS))


def rules_inside(path):
    with WorkFolder(path, Options, "extraction") as folder:
        folder.claim(Options(), prints(), images_of="x")
        folder.begin()
        return followed()


def test_work_goes_on_with_the_rules_of_lowering_that_it_began_with(tmp_path):
    before = followed()
    assert rules_inside(tmp_path / "before") == before
    with following(OTHER_RULES):  # as if the machine had been tuned meanwhile
        assert rules_inside(tmp_path / "before") == before
        assert rules_inside(tmp_path / "tuned") == OTHER_RULES
        assert followed() == OTHER_RULES
    with following(LATER_RULES):
        assert rules_inside(tmp_path / "tuned") == OTHER_RULES
    assert rules_inside(tmp_path / "tuned") == OTHER_RULES
    assert kept_rules(tmp_path / "tuned") == OTHER_RULES
    assert kept_rules(tmp_path / "before") == before
    assert kept_rules(tmp_path / "nowhere") is None
    (tmp_path / "tuned" / "lowerings.json").unlink()  # as in a folder of an earlier release
    assert rules_inside(tmp_path / "tuned") == earlier()
    assert followed() == before


def test_rules_that_cannot_be_read_are_refused_and_the_folder_is_free_afterwards(tmp_path):
    with following(OTHER_RULES):
        sit(tmp_path)
    kept = tmp_path / "lowerings.json"
    whole = kept.read_text()
    kept.write_text("{}")
    with pytest.raises(ConfigError, match=r"lowerings.json cannot be read: .*; restore it, or choose another"):
        sit(tmp_path)
    kept.write_text(whole)
    sit(tmp_path)
