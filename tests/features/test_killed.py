"""Extractions and probes that are killed at random moments leave the files of those that are not."""

import json
import signal

import pytest

from jaxcnn.cli.main import main
from jaxcnn.features.probing import TRIALS_FILE
from jaxcnn.trials.interruption import interrupt_command
from tests.features.test_probes import blobs
from tests.features.test_probing import CLASSES, write_features


def images_done(workdir):
    """The number of images that are counted, or in a whole file."""
    counts = [json.loads(path.read_text())["images"] for path in workdir.glob("unfinished/*.json")]
    return sum(counts) + sum(json.loads(path.read_text())["images"] for path in workdir.glob("*.safetensors.json"))


def trials_done(workdir):
    file = workdir / TRIALS_FILE
    return len(json.loads(file.read_text())) if file.exists() else 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of an untrained network whose features take some seconds."""
    folder = tmp_path_factory.mktemp("run") / "run"
    arguments = ("--model.name", "resnet20_cifar", "--data.channels", "3", "--epochs", "0.01", "--workdir", str(folder))
    crop = ("--data.train-crop.size", "32", "--data.evaluation-crop.size", "32")
    assert main(["train", "resnet20_digits", *arguments, *crop]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_extraction_that_is_killed_ten_times_leaves_the_same_bytes(run, tmp_path, number):
    command = ["features", str(run), "--layer", "stage._block1|head/dense:input", "--pooling", "none"]
    command += ["--images-at-once", "8", "--data.name", "synthetic:4", "--splits", "train", "test"]
    outcome = interrupt_command(command, tmp_path / "work", kills=10, number=number, progress=images_done)
    assert outcome.kills == 10
    assert not outcome.differing
    assert len(set(outcome.resumed_after) - {0}) >= 2, outcome


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["svm", "softmax", "knn"])
def test_a_probe_that_is_killed_ten_times_leaves_the_same_bytes(tmp_path, kind):
    splits = {"train": blobs(4000, values=400, classes=len(CLASSES)), "test": blobs(400, values=400, seed=1)}
    folder = write_features(tmp_path / "features", splits)
    command = ["probe", str(folder), "--kind", kind, "--neighbours", "1", "2", "3", "5", "8", "13", "21", "34"]
    outcome = interrupt_command(command, tmp_path / "work", kills=10, number=signal.SIGKILL, progress=trials_done)
    assert outcome.kills == 10
    assert not outcome.differing
    assert len(set(outcome.resumed_after) - {0}) >= 2, outcome
