"""Probes in their folder: fitted to one split, measured on another, resumed, and refused in a sentence."""

import json
import os
import re
import shutil
import signal

import numpy as np
import pytest

from jaxcnn.cli.main import main
from jaxcnn.config import ConfigError, DataConfig
from jaxcnn.config.features import FeaturesConfig, ProbeConfig
from jaxcnn.data.fingerprint import Fingerprint
from jaxcnn.errors import UserError
from jaxcnn.evaluation.details import wilson_interval
from jaxcnn.features.extraction import identity
from jaxcnn.features.probes import fit
from jaxcnn.features.probing import StoredTrials, probe
from jaxcnn.features.store import Features, Writer, file_of
from jaxcnn.work_folder import WorkFolder
from tests.features.test_probes import blobs

CLASSES = ("ant", "bee", "cat", "dog")
GRID = (0.03, 0.3, 3.0)


def write_features(folder, splits, layers=("head:input",), pooling="average"):
    """Writes features as an extraction does; by split features and labels, of which the first image is unreadable."""
    config = FeaturesConfig("net", "0" * 64, tuple(layers), pooling, data=DataConfig(name="folder:/photos"))
    prints = {split: Fingerprint(split, len(found[1]), CLASSES, {}) for split, found in splits.items()}
    with WorkFolder(folder, FeaturesConfig, "extraction") as own:
        own.claim(config, prints, images_of="photos")
        own.begin()
    for split, (values, labels) in splits.items():
        facts = {"split": split, "class_names": json.dumps(CLASSES), "extraction": identity(config)}
        writer = Writer(folder, split, len(labels), {layer: values.shape[1:] for layer in layers}, facts)
        writer.open(f"{index}.png" for index in range(len(labels)))
        known = np.arange(len(labels)) > 0
        writer.write(0, {**dict.fromkeys(layers, values), "label": np.where(known, labels, -1), "known": known})
        writer.finish()
        writer.close()
    return folder


@pytest.fixture
def features(tmp_path):
    return write_features(tmp_path / "features", {"train": blobs(), "test": blobs(60, seed=1)})


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_probe_is_measured_as_a_network_is(features, capsys):
    assert main(["probe", str(features), "--regularization", *map(str, GRID), "--folds", "3"]) == 0
    printed = capsys.readouterr().out
    (values, labels), (unseen, truth) = blobs(), blobs(60, seed=1)
    expected = fit(values[1:], labels[1:], ProbeConfig(regularization=GRID, folds=3))
    wrong = 100 * (expected.scores(unseen[1:]).argmax(1) != truth[1:]).mean()
    low, high = wilson_interval(wrong, 59)
    assert (
        f"top-1 error {wrong:.2f} % (95 % interval by Wilson's score: {low:.2f} to {high:.2f})\n59 images\n" in printed
    )
    assert len(re.findall(r"^regularization [\d.]+: top-1 error in cross-validation [\d.]+ %", printed, re.M)) == 3
    assert printed.count("  chosen\n") == 1
    report = json.loads((features / "probes" / "svm-head:input-train-test" / "result.json").read_text())
    assert report["top1_error"] == pytest.approx(wrong)
    assert [report[name] for name in ("layer", "fitted_to", "measured_on")] == ["head:input", "train", "test"]
    assert [each["class"] for each in report["classes"]] == list(CLASSES)
    assert report["chosen"] == expected.chosen
    details = np.load(features / "probes" / "svm-head:input-train-test" / "details.npz")
    np.testing.assert_array_equal(details["image"], np.arange(1, 60))
    np.testing.assert_array_equal(details["top"][:, 0], expected.scores(unseen[1:]).argmax(1))


@pytest.mark.parametrize("kind", ["svm", "knn"])
def test_a_probe_that_was_interrupted_goes_on_to_the_same_bytes(features, tmp_path, monkeypatch, capsys, kind):
    config = ProbeConfig(kind=kind, regularization=GRID, neighbours=(1, 3, 5), folds=3)
    whole = probe(features, config, workdir=tmp_path / "whole")
    stored = StoredTrials.__setitem__

    def interrupted(self, key, trial):
        stored(self, key, trial)
        if len(self) in (2, 5):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(StoredTrials, "__setitem__", interrupted)
    command = ["probe", str(features), "--workdir", str(tmp_path / "again"), "--kind", kind, "--folds", "3"]
    command += ["--regularization", *map(str, GRID), "--neighbours", "1", "3", "5"]
    assert [main(command) for _ in range(3)] == [75, 75, 0]
    assert capsys.readouterr().out.startswith(
        "stopped as asked, everything so far is saved; the same command goes on\n"
    )
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")
    # What is done is read, and measured again.
    monkeypatch.setattr("jaxcnn.features.folds.Interrupted", None)
    again = probe(features, config, workdir=tmp_path / "again")
    assert again.result == whole.result
    assert again.probe.table == whole.probe.table
    with pytest.raises(ConfigError, match=r"again holds a probe of another config, in which probe.seed is 0 and not 1"):
        probe(features, ProbeConfig(**{**vars(config), "seed": 1}), workdir=tmp_path / "again")


def test_features_that_do_not_belong_together_are_refused(features, tmp_path):
    other = write_features(tmp_path / "other", {"train": blobs(), "test": blobs(60, seed=1)}, pooling="max")
    config = ProbeConfig(regularization=(1.0,))
    shutil.copy(file_of(features, "train"), file_of(features, "test"))
    with pytest.raises(
        UserError, match=r"test.safetensors holds the features of the split 'train' and not of 'test': p"
    ):
        probe(features, config)
    shutil.copy(file_of(other, "test"), file_of(features, "test"))
    with pytest.raises(
        UserError, match=r"test.safetensors is of another extraction than .*config.json says, with other"
    ):
        probe(features, config)
    file_of(features, "test").write_bytes(file_of(other, "test").read_bytes()[:500])
    with pytest.raises(
        UserError, match=r"test.safetensors cannot be read: it is not a whole file of features: extract"
    ):
        probe(features, config)


def test_which_split_and_which_layer_is_asked_where_it_is_not_clear(features, tmp_path):
    config = ProbeConfig(regularization=(1.0,))
    with pytest.raises(
        UserError, match=r"/nothing holds no features: extract some with `jaxcnn features NETWORK --wor"
    ):
        probe(tmp_path / "nothing", config)
    with pytest.raises(
        UserError, match=r"no features of a split 'tset' that are whole: did you mean 'test'\? `jaxcnn fe"
    ):
        probe(features, config, measure_on="tset")
    with pytest.raises(UserError, match="the probe would be measured on the images of 'train', which it is fitted to"):
        probe(features, config, fit_on="train", measure_on="train")
    with pytest.raises(UserError, match="holds no layer 'head:inputs': did you mean 'head:input'"):
        probe(features, config, layer="head:inputs")
    many = {"train[:60]": blobs(60), "a": blobs(40, seed=1), ".b/c": blobs(40, seed=2)}
    folder = write_features(tmp_path / "many", many, layers=("head:input", "stage4"))
    with pytest.raises(UserError, match=r"holds 2 layers, so it is not clear which to take: give --layer NAME; choose"):
        probe(folder, config, measure_on="a")
    with pytest.raises(
        UserError, match=r"those of '.b/c', 'a', 'train\[:60\]', so the split to measure on is not clear"
    ):
        probe(folder, config, layer="stage4")
    with pytest.raises(UserError, match=r"so the split to fit to is not clear: give --fit-on SPLIT"):
        probe(folder, config, layer="stage4", measure_on="train[:60]")
    found = probe(folder, config, layer="stage4", measure_on=".b/c", details=tmp_path / "details")
    assert found.result.images == 39
    assert (tmp_path / "details" / "result.json").is_file()
    assert Features(file_of(folder, ".b/c"), ".b/c").names()[:2] == ["0.png", "1.png"]
    with pytest.raises(UserError, match=r"holds no layer 'stage3': did you mean 'stage4'"):
        Features(file_of(folder, "a"), "a").values("stage3")
