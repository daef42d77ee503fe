"""Baselines that are killed at random moments, and those that two processes share, leave the files of one that is not.

Their work is long enough that the moments fall into all of its parts.
"""

import json
import signal

import pytest

from jaxcnn.cli.main import main
from jaxcnn.features.probing import TRIALS_FILE
from jaxcnn.trials.interruption import files_in, interrupt_command
from tests.classical.small import write_gratings
from tests.devices.two_processes import start_two

pytest.importorskip("cv2")
OWN = {
    "sift-fisher": ["--pca", "16", "--components", "8", "--tolerance", "1e-9", "--max-steps", "60"],
    "sparse-coding": ["--atoms", "32", "--batch", "64", "--passes", "4"],
}


def command(kind, images):
    """A baseline of about 400 images that takes some seconds beside its imports."""
    data = ["--data.name", f"folder:{images}", "--data.batch-size", "16", "--data.evaluation-crop.size", "24"]
    sift = ["--sift.step", "2", "--sift.bins", "2", "3", "--sample", "4000"]
    return ["baseline", kind, *data, *sift, *OWN[kind], "--probe.folds", "4", "--top-k", "1"]


def parts_done(workdir):
    """How far a baseline is: batches in the sample, images that are encoded, and fits of the classifier."""
    counts = [json.loads(path.read_text())["images"] for path in workdir.glob("unfinished/*.json")]
    whole = 1000 * len(list(workdir.glob("*.safetensors")))
    trials = workdir / TRIALS_FILE
    fits = len(json.loads(trials.read_text())) if trials.exists() else 0
    return len(list(workdir.glob("sample/*.safetensors"))) + sum(counts) + whole + fits


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gratings")
    write_gratings(folder, train=100, test=40)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number"),
    [("sift-fisher", signal.SIGKILL), ("sparse-coding", signal.SIGKILL), ("sift-fisher", signal.SIGTERM)],
)
def test_killed_ten_times_it_leaves_the_same_bytes(kind, number, images, tmp_path):
    outcome = interrupt_command(
        command(kind, images), tmp_path / "work", kills=10, number=number, seed=1, progress=parts_done
    )
    assert outcome.kills == 10
    assert not outcome.differing
    assert len(set(outcome.resumed_after) - {0}) >= 3, outcome


@pytest.mark.slow
@pytest.mark.parametrize("kind", OWN)
def test_two_processes_leave_the_bytes_of_one(kind, images, tmp_path):
    """And of one with other devices."""
    assert main([*command(kind, images), "--workdir", str(tmp_path / "one")]) == 0
    arguments = ["-m", "jaxcnn", *command(kind, images), "--workdir", tmp_path / "two"]
    codes, outputs = start_two([arguments] * 2, tmp_path)
    assert codes == [0, 0], outputs
    assert "top-1 error" in outputs[0]
    assert "top-1 error" not in outputs[1]
    assert files_in(tmp_path / "two") == files_in(tmp_path / "one")
