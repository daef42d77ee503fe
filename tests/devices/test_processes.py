"""Several processes train as one, stop as one, and go on after one of them was killed."""

import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxcnn import loading
from jaxcnn.cli import train
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.processes import AgreedStop, Processes, check_same, gather
from jaxcnn.errors import UserError
from jaxcnn.recipes import load_config
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.report import read_metrics
from tests.data.batch_digests import write_photographs
from tests.devices import spread_state
from tests.devices.two_processes import ROOT, start_two
from tests.training import hooked_train

TINY = ROOT / "tests" / "recipes" / "tiny.py"


def train_command(workdir, *options):
    return ["-m", "jaxcnn", "train", TINY, "--workdir", workdir, *options]


def train_here(monkeypatch, workdir, *options):
    """Trains in this process, with as many devices as two processes have together."""
    four = DataParallel.over(jax.devices()[:4])
    monkeypatch.setattr(DataParallel, "over_all_devices", lambda: four)
    assert train.main(list(map(str, train_command(workdir, *options)[3:]))) == 0


def hooked_command(moment, name, marker, workdir, *options):
    return [hooked_train.__file__, moment, name, marker, *train_command(workdir, *options)[3:]]


def final_state(workdir):
    load_config(TINY)  # registers its model
    return loading.restore_state(workdir)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def lines(workdir, kind):
    return [line for line in read_metrics(workdir / "metrics.jsonl") if line["kind"] == kind]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of two processes that nobody disturbs."""
    folder = tmp_path_factory.mktemp("two")
    codes, outputs = start_two([train_command(folder / "run")] * 2, folder)
    assert codes == [0, 0], outputs
    return folder / "run", outputs


@pytest.mark.slow
def test_two_processes_train_as_one_with_all_devices(tmp_path, monkeypatch):
    options = ("--epochs", "0.6")
    codes, (first, second) = start_two([train_command(tmp_path / "two", *options)] * 2, tmp_path)
    assert codes == [0, 0], first + second
    train_here(monkeypatch, tmp_path / "one", *options)

    two, one = final_state(tmp_path / "two"), final_state(tmp_path / "one")
    assert two.step == one.step == 14
    assert two.metrics == pytest.approx(one.metrics, rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), two.state, one.state)
    for mine, expected in zip(lines(tmp_path / "two", "train"), lines(tmp_path / "one", "train"), strict=True):
        assert mine["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    # One writer, one speaker. On CPUs, the library that connects the processes says that it does, lines mixed.
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    assert lines(tmp_path / "two", "start")[0]["processes"] == 2
    assert first.splitlines()[-1].endswith("(360 images)")
    assert not re.search("epoch|error|=", second)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["training", "evaluation", "compilation", "saving"])
def test_a_signal_to_one_process_stops_both_at_one_step(undisturbed, tmp_path, moment):
    workdir, signalled = tmp_path / "run", tmp_path / "signalled"
    commands = [train_command(workdir), hooked_command(moment, "SIGTERM", signalled, workdir)]
    if moment == "saving":  # only the first process saves
        commands = [hooked_command(moment, "SIGTERM", signalled, workdir), train_command(workdir)]
    codes, outputs = start_two(commands, tmp_path)
    assert codes == [75, 75], outputs
    assert signalled.exists()
    saved = final_state(workdir)
    if moment == "training":
        assert saved.step == hooked_train.STEP + 3  # STEPS_IN_FLIGHT later than one process alone would stop
    assert outputs[0].splitlines()[-1].startswith("stopped as asked, everything is saved")
    codes, outputs = start_two([train_command(workdir)] * 2, tmp_path)
    assert codes == [0, 0], outputs
    assert f"going on from step {saved.step} of 45" in outputs[0]
    assert_same(final_state(workdir), final_state(undisturbed[0]))
    assert lines(workdir, "evaluation") == lines(undisturbed[0], "evaluation")


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_one_process_killed_under_supervision(undisturbed, tmp_path, killed):
    """The other ends by itself, both are started again, and end in the bits of a run that nobody disturbed."""
    commands = []
    for number in range(2):
        marker = tmp_path / f"killed{number}"
        if number != killed:
            marker.touch()
        command = [sys.executable, *hooked_command("training", "SIGKILL", marker, tmp_path / "run")]
        commands.append(["-m", "jaxcnn", "supervise", "--first-pause", "0.5", "--", *command])
    codes, outputs = start_two(commands, tmp_path)
    assert codes == [0, 0], outputs
    assert "jaxcnn supervise: the command was ended by SIGKILL; starting it again from step " in outputs[killed]
    # JAX ends it, or a collective that fails.
    ended = "jaxcnn supervise: the command (was ended by SIGABRT|ended with exit code 1); starting it again"
    assert re.search(ended, outputs[1 - killed])
    assert_same(final_state(tmp_path / "run"), final_state(undisturbed[0]))


@pytest.mark.slow
def test_unreadable_images_are_counted_and_told_whoever_finds_them(tmp_path, monkeypatch):
    """Each process reads two of the four images that are evaluated, one of which is cut short."""
    photos = tmp_path / "photos"
    write_photographs(photos)
    for name in ("a/00.jpg", "b/01.jpg"):
        shutil.copy(photos / "val" / name, photos / "val" / f"{name[0]}/02.jpg")
    for name in ("train/a/04.jpg", "val/a/02.jpg", "val/b/02.jpg"):
        (photos / name).write_bytes((photos / name).read_bytes()[:-300])
    options = ["--data.name", f"folder:{photos}", "--data.residence", "stream", "--data.batch-size", "8"]
    options += ["--data.max-bad-share", "0.5", "--evaluation.top-k", "1", "--evaluation.batch-size", "4"]
    codes, outputs = start_two([train_command(tmp_path / "two", *options)] * 2, tmp_path)
    assert codes == [0, 0], outputs
    train_here(monkeypatch, tmp_path / "one", *options)
    for workdir in (tmp_path / "two", tmp_path / "one"):
        told = [file["file"][-8:] for line in lines(workdir, "bad_files") for file in line["files"]]
        assert sorted(told) == ["a/02.jpg", "a/04.jpg", "b/02.jpg"]
        assert [line["images"] for line in lines(workdir, "evaluation")] == [2, 2]
    two, one = final_state(tmp_path / "two"), final_state(tmp_path / "one")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), two.state, one.state)
    # Each process sees but a part of too many.
    codes, outputs = start_two([train_command(tmp_path / "no", *options, "--data.max-bad-share", "0.49")] * 2, tmp_path)
    assert codes == [2, 2]
    assert all("2 of 4 images of folder:" in output for output in outputs), outputs


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["hand", "slurm", "open mpi"])
def test_a_state_spread_over_processes_is_saved_whole_and_all_restore_the_same_step(tmp_path, launcher):
    codes, outputs = start_two([[spread_state.__file__, tmp_path / "saved"]] * 2, tmp_path, launcher)
    assert codes == [0, 0], outputs
    for output in outputs:
        assert re.findall(r"restored (\d)", output) == ["2", "1"]
        assert "checkpoint 2 in" in output
        assert "is damaged: state/d is missing; checkpoint 1 is used instead" in output
    with Checkpoints(tmp_path / "saved") as checkpoints:
        for leaf in checkpoints.restore(spread_state.state_of(0, DataParallel.over_all_devices())).state.values():
            np.testing.assert_array_equal(leaf, 2 * spread_state.VALUES)


@pytest.mark.slow
def test_a_mistake_of_one_process_ends_both(tmp_path):
    commands = [train_command(tmp_path / "run"), train_command(tmp_path / "run", "--seed", "1")]
    codes, outputs = start_two(commands, tmp_path)
    assert codes == [2, 2]
    for output in outputs:
        assert "error: process 1 has another config than process 0: start all with the same" in output


def joined(**options):
    with Processes(**options).joined():
        pass


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_processes": 2}, "--coordinator-address and --process-id are missing: give --coordinator-address, --num"),
        ({"coordinator_address": "a:1", "process_id": 0}, "--num-processes is missing"),
        ({"coordinator_address": "host", "num_processes": 2, "process_id": 0}, "must be HOST:PORT, not 'host'"),
        (
            {"coordinator_address": "a:1", "num_processes": 2, "process_id": 2},
            "--process-id 2 is not one of 2",
        ),
        (
            {"coordinator_address": "a:1", "num_processes": 0, "process_id": 0},
            "--process-id 0 is not one of 0",
        ),
        ({"distributed": "auto", "process_id": 2}, "--distributed auto finds out by itself what --process-id says"),
        ({"heartbeat_timeout_seconds": 0}, "--heartbeat-timeout-seconds must be at least 1, not 0"),
    ],
)
def test_processes_that_cannot_be(options, sentence):
    with pytest.raises(UserError, match=sentence):
        joined(**options)


def test_one_process_needs_no_options():
    joined()
    assert gather({"a": 1}) == [{"a": 1}]
    check_same("config", "a")


def test_auto_finds_nothing_here():
    code = "from jaxcnn.devices.processes import Processes\nwith Processes(distributed='auto').joined(): pass"
    environment = {name: value for name, value in os.environ.items() if "SLURM" not in name and "OMPI" not in name}
    environment |= {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert "--distributed auto finds neither SLURM nor Open MPI" in ended.stderr.splitlines()[-1]


def test_an_agreed_stop_comes_later_and_stays():
    asked = []
    stop = AgreedStop(lambda: bool(asked), DataParallel.over_all_devices(), 3)
    assert not any(stop() for _ in range(5))
    asked.append(True)
    assert [stop() for _ in range(5)] == [False, False, False, True, True]
    asked.clear()
    assert stop()


def test_processes_that_differ_are_told(monkeypatch):
    monkeypatch.setattr("jaxcnn.devices.processes.gather", lambda value: [value, value, "other"])
    with pytest.raises(UserError, match="process 2 has another data set than process 0: start all with the same"):
        check_same("data set", "this")
