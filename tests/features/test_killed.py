"""Extractions and probes that are killed at random moments leave the files of those that are not."""

import contextlib
import json
import signal

import numpy as np
import pytest
import safetensors.numpy

from jaxcnn.features.probing import TRIALS_FILE
from jaxcnn.trials.interruption import interrupt_command
from jaxcnn.weights import load
from tests.features.test_probes import blobs
from tests.features.test_probing import CLASSES, write_features


def images_done(workdir):
    """The number of images that are counted, or in a whole file."""
    done = 0
    for path in (*workdir.glob("unfinished/*.json"), *workdir.glob("*.safetensors.json")):
        with contextlib.suppress(FileNotFoundError):  # it has just been finished
            done += json.loads(path.read_text())["images"]
    return done


def while_at_work(progress, most, seed):
    """Returns a function for `interrupt_command`: a signal is due once some more is done, drawn up to ``most``."""
    random = np.random.default_rng(seed)

    def moment(workdir):
        due = progress(workdir) + random.integers(1, most + 1)
        return lambda: progress(workdir) >= due

    return moment


def trials_done(workdir):
    file = workdir / TRIALS_FILE
    return len(json.loads(file.read_text())) if file.exists() else 0


@pytest.fixture
def weights(tmp_path):
    """A file of random weights of ResNet-20, whose features of 1,600 images take some seconds."""
    random, shapes = np.random.default_rng(0), load.variable_shapes("resnet20_cifar", {})
    state = {name: random.uniform(0.1, 0.3, leaf.shape).astype(np.float32) for name, leaf in shapes.items()}
    safetensors.numpy.save_file(state, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_extraction_that_is_killed_ten_times_leaves_the_same_bytes(weights, tmp_path, number):
    command = ["features", "resnet20_cifar", "--weights", str(weights), "--layer", "stage._block1|head/dense:input"]
    command += ["--pooling", "none", "--images-at-once", "8", "--data.name", "synthetic:4", "--splits", "train", "test"]
    outcome = interrupt_command(
        command,
        tmp_path / "work",
        kills=10,
        number=number,
        moment=while_at_work(images_done, 400, seed=number),
        progress=images_done,
    )
    assert outcome.kills == 10
    assert not outcome.differing
    assert len(set(outcome.resumed_after) - {0}) >= 2, outcome


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["svm", "softmax", "knn"])
def test_a_probe_that_is_killed_ten_times_leaves_the_same_bytes(tmp_path, kind):
    splits = {"train": blobs(4000, values=400, classes=len(CLASSES)), "test": blobs(400, values=400, seed=1)}
    folder = write_features(tmp_path / "features", splits)
    command = ["probe", str(folder), "--kind", kind, "--neighbours", "1", "2", "3", "5", "8", "13", "21", "34"]
    outcome = interrupt_command(
        command,
        tmp_path / "work",
        kills=10,
        number=signal.SIGKILL,
        moment=while_at_work(trials_done, 12, seed=0),
        progress=trials_done,
    )
    assert outcome.kills == 10
    assert not outcome.differing
    assert len(set(outcome.resumed_after) - {0}) >= 2, outcome
