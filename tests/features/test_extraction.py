"""Features are the same bytes however they come about, and are what the network computes."""

import dataclasses
import json
import logging
import os
import re
import signal

import jax
import numpy as np
import pytest
import safetensors.numpy

from jaxcnn.config import ConfigError
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import MachineError, UserError
from jaxcnn.features.extraction import extract, layers
from jaxcnn.features.layers import choose
from jaxcnn.features.store import Features, Writer, file_of, splits_in
from tests.devices.evaluation_job import CLASSES, IMAGES, UNREADABLE
from tests.devices.two_processes import start_two
from tests.features import features_job
from tests.features.features_job import prepared, run


@pytest.fixture(autouse=True)
def _counted_after_each_batch(monkeypatch):
    monkeypatch.setattr("jaxcnn.features.streaming.COMMIT_SECONDS", 0.0)


def over(monkeypatch, count):
    some = DataParallel.over(jax.devices()[:count])
    monkeypatch.setattr(DataParallel, "over_all_devices", lambda: some)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The features that one device extracts undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        over(patch, 1)
        assert run(folder)
    return folder


def test_features_are_what_the_network_computes(whole):
    found, network = Features(file_of(whole, "test"), "test"), prepared()
    split = network.open_split(dataclasses.replace(network.data, residence="stream"))
    expected = network.predictions(split, batch_size=64)
    assert found.layers == {"conv": (4, 4, 8), "dense:input": (8,), "logits": (CLASSES,)}
    assert found.class_names == split.class_names
    np.testing.assert_array_equal(found.known, expected.known)
    np.testing.assert_allclose(found.values("logits")[found.known], expected.scores[found.known], rtol=1e-5, atol=1e-6)
    dense = network.variables["params"]["dense"]
    logits = found.values("dense:input") @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
    np.testing.assert_allclose(logits[found.known], found.values("logits")[found.known], rtol=1e-4, atol=1e-5)
    maps = found.values("conv").reshape(-1, 4, 4, 8)
    np.testing.assert_allclose(np.maximum(maps, 0).mean((1, 2)), found.values("dense:input"), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.values("conv", slice(990, 1003)), found.values("conv")[990:])


def test_a_file_names_its_images_and_what_cannot_be_read_is_masked_and_named(whole):
    found = Features(file_of(whole, "test"), "test")
    assert found.names() == [f"image {index}" for index in range(IMAGES)]
    assert np.flatnonzero(~found.known).tolist() == list(UNREADABLE)
    np.testing.assert_array_equal(found.labels, np.where(found.known, np.arange(IMAGES) % CLASSES, -1))
    assert not found.values("conv")[list(UNREADABLE)].any()
    told = json.loads((whole / "test.safetensors.json").read_text())
    assert [each["image"] for each in told["unreadable"]] == [f"image {index}" for index in UNREADABLE]
    assert all(each["reason"] for each in told["unreadable"])
    # Any reader of safetensors opens it.
    plain = safetensors.numpy.load_file(file_of(whole, "test"))
    np.testing.assert_array_equal(plain["label"], found.labels)
    assert sorted(path.name for path in whole.iterdir()) == [
        "config.json",
        "data.json",
        "lowerings.json",
        "test.safetensors",
        "test.safetensors.json",
    ]


def test_eight_devices_write_the_bytes_of_one(whole, tmp_path, monkeypatch):
    over(monkeypatch, 8)
    assert run(tmp_path)
    assert contents(tmp_path) == contents(whole)


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one(whole, tmp_path):
    codes, outputs = start_two([[features_job.__file__, tmp_path / "two"]] * 2, tmp_path)
    assert codes == [0, 0], outputs
    assert contents(tmp_path / "two") == contents(whole)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_they_go_on(whole, tmp_path):
    command = [features_job.__file__, tmp_path / "two"]
    codes, outputs = start_two([command, [*command, "--signalled"]], tmp_path)
    assert codes == [75, 75], outputs
    count = json.loads((tmp_path / "two" / "unfinished" / "test.safetensors.json").read_text())
    assert 0 < count["images"] < IMAGES
    codes, outputs = start_two([command] * 2, tmp_path)
    assert codes == [0, 0], outputs
    assert contents(tmp_path / "two") == contents(whole)


def test_an_extraction_that_is_stopped_or_dies_goes_on_with_other_devices_and_ends_in_the_same_bytes(
    whole, tmp_path, monkeypatch, caplog
):
    write, written = Writer.write, []

    def interrupted(self, first, rows):
        written.append(first)
        if len(written) == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        if len(written) == 20:
            raise RuntimeError("as if killed")
        write(self, first, rows)

    monkeypatch.setattr(Writer, "write", interrupted)
    over(monkeypatch, 1)
    assert not run(tmp_path)
    assert not splits_in(tmp_path)
    over(monkeypatch, 4)
    with pytest.raises(RuntimeError, match="as if killed"):
        run(tmp_path)
    over(monkeypatch, 2)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        assert run(tmp_path)
    assert re.search(r"test: going on from image \d+ of 1,003", caplog.text)
    assert min(written[-5:]) > 0
    assert contents(tmp_path) == contents(whole)
    written.clear()
    assert run(tmp_path)
    assert not written


def test_what_was_written_but_not_counted_is_computed_again(whole, tmp_path, monkeypatch):
    over(monkeypatch, 1)
    commit = Writer.commit
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "commit", lambda self, done: commit(self, min(done, 320)))
        patch.setattr(Writer, "finish", lambda self: os.kill(os.getpid(), signal.SIGTERM) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path)
    partial = tmp_path / "unfinished" / "test.safetensors"
    size, damaged = partial.stat().st_size, partial.read_bytes()
    half = size // 4  # of the largest layer, the first; what comes later in it is not counted
    partial.write_bytes(damaged[: 2 * half] + bytes(100) + damaged[2 * half + 100 :])
    assert run(tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_further_splits_join_and_other_features_are_refused(whole, tmp_path, monkeypatch):
    over(monkeypatch, 1)
    assert run(tmp_path, ("train",))
    assert run(tmp_path, ("train", "test"))
    assert splits_in(tmp_path) == ["test", "train"]
    assert file_of(tmp_path, "test").read_bytes() == file_of(whole, "test").read_bytes()
    before = contents(tmp_path)
    for options, option in (
        ({"layer": "conv"}, "layers"),
        ({"pooling": "max"}, "pooling"),
        ({"images_at_once": 8}, ""),
    ):
        with pytest.raises(ConfigError, match=f"holds an extraction of another config, in which {option}.* and not "):
            run(tmp_path, **options)
    other = prepared()
    other = dataclasses.replace(other, variables=jax.tree.map(lambda leaf: 2 * leaf, other.variables))
    with pytest.raises(ConfigError, match=r"another config, in which weights_sha256 is '\w{64}' and not '\w{64}'"):
        extract(other, tmp_path, ("test",), name="small", layer=features_job.LAYERS, pooling="none", images_at_once=16)
    assert contents(tmp_path) == before


def test_a_full_disk_loses_nothing(whole, tmp_path, monkeypatch):
    over(monkeypatch, 1)
    with monkeypatch.context() as patch:
        pwrite, calls = os.pwrite, []

        def full(*arguments):
            calls.append(arguments)
            if len(calls) == 100:
                raise OSError(28, "No space left on device")
            return pwrite(*arguments)

        patch.setattr(os, "pwrite", full)
        with pytest.raises(
            MachineError, match=r"unfinished/test.safetensors cannot be written: No space left on device"
        ):
            run(tmp_path)
    assert run(tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_a_layer_that_is_not_there_is_answered_with_the_nearest_names():
    known = layers(prepared())
    assert [(layer.name, layer.shape) for layer in known] == [
        ("conv", (4, 4, 8)),
        ("dense:input", (8,)),
        ("dense", (CLASSES,)),
        ("logits", (CLASSES,)),
    ]
    assert [layer.name for layer in choose(known, None)] == ["dense:input"]
    assert [layer.name for layer in choose(known, "dense.*")] == ["dense:input", "dense"]
    with pytest.raises(
        UserError, match=r"there is no layer 'dence' in this network: did you mean 'dense'\? --layer li"
    ):
        choose(known, "dence")
    with pytest.raises(
        UserError, match=r"--layer '\*' is not a regular expression \(nothing to repeat at position 0\)"
    ):
        choose(known, "*")
    with pytest.raises(UserError, match="no dense layer whose input could be taken: name a layer with --layer"):
        choose(known[:1], None)
