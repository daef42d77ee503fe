"""Checkpoints: what goes in comes out, and whatever is wrong with one is noticed, named and passed over."""

import errno
import functools
import itertools
import logging
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import etils.epath
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcnn.evaluation.result import ranked_metrics
from jaxcnn.training import manifest
from jaxcnn.training.checkpoint import CheckpointError, CheckpointMismatch, Checkpoints, SaveError


@struct.dataclass
class State:
    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    average: Any = None


def make_state(step: int, channels: int = 1) -> State:
    """A state whose every value depends on the step."""
    params = {
        "conv1": {
            "kernel": jax.random.normal(jax.random.key(step), (5, 5, channels, 6)),
            "bias": jnp.full(6, step / 3),
        },
        "head": jax.random.normal(jax.random.key(step), (6, 10), jnp.bfloat16),
    }
    transformation = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.masked(optax.adam(0.1), {"conv1": True, "head": False}),
        optax.trace(0.9),
    )
    opt_state = transformation.init(params)
    _, opt_state = transformation.update(params, opt_state, params)
    return State(jnp.int32(step), params, {}, opt_state)


def assert_same(actual: Any, expected: Any) -> None:
    """Same structure, dtypes and bits."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for left, right in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert left.dtype == right.dtype
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A directory with checkpoints of steps 1, 2 and 3; tests copy it."""
    directory = tmp_path_factory.mktemp("written")
    with Checkpoints(directory) as checkpoints:
        for step, error in [(1, 0.5), (2, 0.25), (3, 0.125)]:
            checkpoints.save(step, make_state(step), {"top1_error": error})
    return directory


@pytest.fixture
def directory(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "checkpoints"))


def files_of(step_folder: Path) -> list[str]:
    return sorted(str(path.relative_to(step_folder)) for path in step_folder.rglob("*") if path.is_file())


@pytest.fixture
def newest_damaged(directory):
    """Restores from `directory` and returns the one sentence about step 3; what is restored must be step 2, whole."""

    def restore(step="latest") -> str:
        sentences = []
        with Checkpoints(directory, on_damage=sentences.append) as checkpoints:
            restored = checkpoints.restore(make_state(0), step)
        assert restored.step == 2
        assert restored.metrics == {"top1_error": 0.25}
        assert_same(restored.state, make_state(2))
        [sentence] = sentences
        assert sentence.startswith(f"checkpoint 3 in {directory} is damaged: ")
        assert sentence.endswith("; checkpoint 2 is used instead")
        return sentence

    return restore


def test_every_bit_comes_back(directory):
    with Checkpoints(directory) as checkpoints:
        assert checkpoints.steps() == [1, 2, 3]
        for step in 1, 2, 3:
            restored = checkpoints.restore(jax.eval_shape(functools.partial(make_state, 0)), step)
            assert restored.step == step
            assert_same(restored.state, make_state(step))
        assert checkpoints.restore(make_state(0)).step == 3


def test_nothing_saved(tmp_path):
    with Checkpoints(tmp_path / "absent") as checkpoints:
        assert checkpoints.steps() == []
        assert checkpoints.best() is None
        assert checkpoints.restore(make_state(0)) is None
        assert checkpoints.restore(make_state(0), "best") is None
    assert not (tmp_path / "absent").exists()


def test_a_step_that_is_not_there(directory):
    with (
        Checkpoints(directory) as checkpoints,
        pytest.raises(CheckpointError, match=r"no checkpoint 7.* steps are 1, 2, 3"),
    ):
        checkpoints.restore(make_state(0), 7)


def test_donation_right_after_save(tmp_path):
    mesh = Mesh(jax.devices()[:4], "data")
    split, copied = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())

    @functools.partial(jax.jit, donate_argnums=0)
    def overwrite(state):
        return {name: value * 0 - 7 for name, value in state.items()}

    def state(value):
        values = jnp.full((512, 512), value)
        return {"one": values + 0, "split": jax.device_put(values, split), "copied": jax.device_put(values, copied)}

    jax.block_until_ready(overwrite(state(0.0)))  # compiled beforehand, so that it races with the writing
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(1, 6):
            saved = state(float(step))
            checkpoints.save(step, saved)
            jax.block_until_ready(overwrite(overwrite(saved)))
            restored = checkpoints.restore(state(0.0))
            assert_same(restored.state, state(float(step)))
            donated_again = overwrite(restored.state)
            assert float(donated_again["one"][0, 0]) == -7


def test_saved_on_any_number_of_devices_restored_on_any_other(tmp_path):
    """All pairs, of leaves that are copied to the devices and leaves that are split over them."""
    values = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    numbers = [1, 2, 4, 8]

    def on(devices: int):
        mesh = Mesh(jax.devices()[:devices], "data")
        return {
            "split": jax.ShapeDtypeStruct(
                values.shape, values.dtype, sharding=NamedSharding(mesh, PartitionSpec("data"))
            ),
            "copied": jax.ShapeDtypeStruct(values.shape, values.dtype, sharding=NamedSharding(mesh, PartitionSpec())),
        }

    with Checkpoints(tmp_path, keep=4) as checkpoints:
        for saved_on in numbers:
            checkpoints.save(saved_on, jax.tree.map(lambda leaf: jax.device_put(values, leaf.sharding), on(saved_on)))
        for saved_on, restored_on in itertools.product(numbers, numbers):
            state = checkpoints.restore(on(restored_on), saved_on).state
            for name, leaf in on(restored_on).items():
                assert state[name].sharding == leaf.sharding
                assert state[name].dtype == values.dtype
                assert np.asarray(state[name]).tobytes() == values.tobytes()


def test_uncommitted_stays_uncommitted(tmp_path):
    committed = jax.device_put(jnp.ones(3), jax.devices()[5])
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"step": jnp.int32(1), "kernel": committed})
        restored = checkpoints.restore({"step": jax.ShapeDtypeStruct((), jnp.int32), "kernel": committed}).state
    assert not restored["step"].committed
    assert restored["kernel"].devices() == {jax.devices()[5]}
    assert float(restored["step"] + restored["kernel"][0]) == 2


def test_killed_before_the_rename(directory, newest_damaged):
    shutil.copytree(directory / "3", directory / "tmp.4")
    shutil.copytree(directory / "1", directory / "trash.0")
    (directory / "tmp.3.json").write_text("{")
    (directory / "3" / "manifest.json").unlink()
    assert "manifest.json is missing" in newest_damaged()
    with Checkpoints(directory) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        assert (directory / "tmp.4").exists(), "one who only reads must not sweep: another may be writing"
        checkpoints.save(3, make_state(3))
    assert sorted(path.name for path in directory.iterdir()) == ["1", "2", "3"]


def test_flipped_bits(directory, newest_damaged):
    randomness = random.Random(0)
    for name in files_of(directory / "3"):
        whole = (directory / "3" / name).read_bytes()
        for offset in [0, len(whole) - 1, randomness.randrange(len(whole)), randomness.randrange(len(whole))]:
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << randomness.randrange(8)
            (directory / "3" / name).write_bytes(damaged)
            assert f" {name} is not what was written: its SHA-256 differs" in newest_damaged()
        (directory / "3" / name).write_bytes(whole)


def test_every_bit_of_the_manifest(directory):
    file = directory / "3" / "manifest.json"
    whole = file.read_bytes()
    for offset in range(len(whole)):
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << offset % 8
        file.write_bytes(damaged)
        with pytest.raises(manifest.Damage):
            manifest.read_manifest(directory / "3")


def test_cut_short_and_deleted(directory, newest_damaged):
    for name in files_of(directory / "3"):
        path = directory / "3" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        said = newest_damaged()
        if name == "manifest.json":
            assert "manifest.json is not what was written" in said
        else:
            assert f" {name} has {len(whole) - 1} bytes where {len(whole)} were written" in said
        path.unlink()
        assert f" {name} is missing" in newest_damaged()
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["manifest.json", "state/_METADATA"])
def test_best_falls_back_to_the_next_best(directory, newest_damaged, name):
    (directory / "3" / name).write_text("")
    assert name in newest_damaged("best")


def test_damage_warns_by_default(directory):
    (directory / "3" / "state" / "_METADATA").unlink()
    with Checkpoints(directory) as checkpoints, pytest.warns(RuntimeWarning, match="checkpoint 2 is used instead"):
        checkpoints.restore(make_state(0))


def test_nothing_whole(directory):
    for step in "123":
        (directory / step / "state" / "_METADATA").unlink()
    with Checkpoints(directory) as checkpoints:
        with pytest.raises(
            CheckpointError, match=r"checkpoint 3 .*missing; checkpoint 2 .*missing; checkpoint 1 .*missing"
        ):
            checkpoints.restore(make_state(0))
        with pytest.raises(CheckpointError, match=r"checkpoint 2 in .* is damaged: state/_METADATA is missing$"):
            checkpoints.restore(make_state(0), 2)


def test_a_damaged_step_is_written_again(directory):
    (directory / "3" / "state" / "_METADATA").unlink()
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(3, make_state(3), {"top1_error": 0.125})
        assert_same(checkpoints.restore(make_state(0)).state, make_state(3))


def test_another_model(directory):
    target = make_state(0)
    kernel = "params/conv1/kernel"
    renamed = target.replace(params={**target.params, "new": jnp.zeros(3)})
    without = target.replace(params={"conv1": target.params["conv1"]})
    cast = target.replace(step=jnp.float32(0))
    with Checkpoints(directory) as checkpoints:
        for other, sentence in [
            (make_state(0, 3), f"{kernel} is float32[5,5,1,6] in the checkpoint and float32[5,5,3,6] in the model"),
            (renamed, "params/new is missing in the checkpoint and float32[3] in the model"),
            (without, "params/head is bfloat16[6,10] in the checkpoint and missing in the model"),
            (cast, "step is int32[] in the checkpoint and float32[] in the model"),
        ]:
            with pytest.raises(CheckpointMismatch, match=re.escape(sentence)):
                checkpoints.restore(other)


def test_keeps_the_newest_and_the_best(tmp_path):
    errors = [0.5, 0.25, 0.25, float("nan"), float("-inf"), 0.75, 0.5]
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, error in enumerate(errors):
            checkpoints.save(step, {"step": jnp.int32(step)}, {"top1_error": error, "loss": float("inf")})
        checkpoints.wait()
        assert checkpoints.best() == 1
        assert checkpoints.steps() == [1, 5, 6]
        restored = checkpoints.restore({"step": jnp.int32(0)}, "best")
    assert (restored.step, int(restored.state["step"])) == (1, 1)
    assert restored.metrics == {"top1_error": 0.25, "loss": float("inf")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "5", "6"]


def test_other_errors_rank_where_they_are_asked_for(tmp_path):
    with Checkpoints(tmp_path, keep=1, ranked=ranked_metrics((5, 1))) as checkpoints:
        for step, error in enumerate([0.5, 0.25, 0.75]):
            checkpoints.save(step, {"step": jnp.int32(step)}, {"top1_error": step, "top5_error": error})
        checkpoints.wait()
        assert (checkpoints.best(), checkpoints.steps()) == (1, [1, 2])
        assert checkpoints.restore({"step": jnp.int32(0)}, "best").step == 1


def test_the_best_of_the_moving_average_is_another_and_is_kept_too(tmp_path):
    errors = [(0.5, 0.5), (0.25, 0.75), (0.75, 0.125), (0.5, 0.25), (0.5, 0.5)]
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        for step, (raw, ema) in enumerate(errors):
            metrics = {"top1_error": raw, "ema_top1_error": ema}
            checkpoints.save(step, {"step": jnp.int32(step)}, metrics)
        checkpoints.wait()
        assert checkpoints.steps() == [1, 2, 4]
        assert (checkpoints.best(), checkpoints.best("ema_top1_error")) == (1, 2)
        assert checkpoints.restore({"step": jnp.int32(0)}, "best").step == 1
        assert checkpoints.restore({"step": jnp.int32(0)}, "best", metric="ema_top1_error").step == 2
        (tmp_path / "2" / "manifest.json").unlink()
        with pytest.warns(RuntimeWarning, match="checkpoint 4 is used instead"):
            assert checkpoints.restore({"step": jnp.int32(0)}, "best", metric="ema_top1_error").step == 4


def test_no_best_of_a_moving_average_that_was_not_measured(directory):
    with (
        Checkpoints(directory) as checkpoints,
        pytest.raises(CheckpointError, match="holds no checkpoint with a finite ema_top1_error: its steps are 1, 2, 3"),
    ):
        checkpoints.restore(make_state(0), "best", metric="ema_top1_error")


def test_going_back_does_not_delete_the_ground(directory):
    for step in "23":
        (directory / step / "manifest.json").write_text("")
    with Checkpoints(directory, keep=1, on_damage=lambda sentence: None) as checkpoints:
        assert checkpoints.restore(make_state(0)).step == 1
        checkpoints.save(2, make_state(2))
        assert checkpoints.restore(make_state(0)).step == 2


def test_metrics_of_a_step_that_exists(directory):
    before = {name: (directory / "1" / name).stat().st_mtime_ns for name in files_of(directory / "1")}
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(1, make_state(9), {"top1_error": 0.0625, "loss": float("nan")})
        assert checkpoints.best() == 1
        restored = checkpoints.restore(make_state(0), 1)
    assert restored.metrics == pytest.approx({"top1_error": 0.0625, "loss": float("nan")}, nan_ok=True)
    assert_same(restored.state, make_state(1))
    after = {name: (directory / "1" / name).stat().st_mtime_ns for name in files_of(directory / "1")}
    assert {name for name in before if before[name] != after[name]} == {"manifest.json"}


def test_sums_come_back_to_the_bit_and_may_be_missing(tmp_path):
    sums = {"loss": jnp.float32(0.1), "images": jnp.int32(2**24 + 1), "greatest": jnp.float32(np.inf)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"kernel": jnp.zeros(1)})
        checkpoints.save(2, {"kernel": jnp.zeros(1)}, {"top1_error": 0.5}, sums)
        for step, expected in ((1, {}), (2, {name: float(value) for name, value in sums.items()})):
            assert checkpoints.restore({"kernel": jnp.zeros(1)}, step).sums == expected
        assert jnp.float32(expected["loss"]) == jnp.float32(0.1)
        # As an earlier release wrote it.
        written = {name: part for name, part in manifest.read_manifest(tmp_path / "2").items() if name != "sums"}
        manifest.write_manifest(tmp_path / "2" / "manifest.json", written)
        restored = checkpoints.restore({"kernel": jnp.zeros(1)})
    assert (restored.step, restored.metrics, restored.sums) == (2, {"top1_error": 0.5}, {})


@pytest.mark.parametrize(("module", "function"), [(os, "rename"), (manifest, "_sha256")])
@pytest.mark.parametrize("learnt_at", ["save", "wait", "close"])
def test_a_full_disk(directory, monkeypatch, module, function, learnt_at):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints = Checkpoints(directory)
    calls = {"save": lambda: checkpoints.save(5, make_state(5)), "wait": checkpoints.wait, "close": checkpoints.close}
    with monkeypatch.context() as patch:
        patch.setattr(module, function, full)
        checkpoints.save(4, make_state(4))
        with pytest.raises(
            SaveError, match=r"checkpoint 4 could not be saved .*No space left.* goes on from the checkpoint before"
        ):
            calls[learnt_at]()
    assert sorted(path.name for path in directory.iterdir()) == ["1", "2", "3"]
    if learnt_at != "close":
        checkpoints.save(6, make_state(6))
        assert checkpoints.restore(make_state(0)).step == 6
        checkpoints.close()


def test_a_full_disk_is_said_in_a_sentence_and_not_in_tracebacks_of_orbax(directory, monkeypatch):
    write = etils.epath.Path.write_text

    def full(path, *arguments, **options):
        if path.name == "_METADATA":  # which orbax writes in the background
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *arguments, **options)

    shown = []
    monkeypatch.setattr(etils.epath.Path, "write_text", full)
    monkeypatch.setattr(logging.getLogger("absl"), "callHandlers", shown.append)
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(4, make_state(4))
        with pytest.raises(SaveError, match=r"checkpoint 4 could not be saved .*No space left"):
            checkpoints.wait()
    assert not [record for record in shown if record.levelno >= logging.ERROR]


_PROCESS = """
import os, sys, jax.numpy as jnp
from jaxcnn.training.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
for step in 1, 2, 3:
    checkpoints.save(step, {"kernel": jnp.full((1000, 1000), float(step))}, {"top1_error": 0.5})
if sys.argv[2] == "leave":
    os._exit(9)
checkpoints.close()
"""


@pytest.mark.parametrize("way", ["leave", "close"])
def test_at_most_the_newest_is_lost_and_nothing_is_said(tmp_path, way):
    command = [sys.executable, "-c", _PROCESS, str(tmp_path), way]
    process = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert process.stderr == ""
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore({"kernel": jnp.zeros((1000, 1000))})
    assert restored.step in ([2, 3] if way == "leave" else [3])
    assert (restored.state["kernel"] == restored.step).all()


@pytest.mark.parametrize("name", ["[old]", "run*", "what?", "a [b] c"])
def test_a_folder_whose_name_is_a_pattern(tmp_path, name):
    """Orbax looks for its own files by patterns, and must not take the folder's name for one."""
    state = {"step": jnp.int32(3), "weight": jnp.arange(6.0)}
    with Checkpoints(tmp_path / name, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state)
    with Checkpoints(tmp_path / name) as checkpoints:
        assert checkpoints.steps() == [2, 3]
        restored = checkpoints.restore(state)
    np.testing.assert_array_equal(restored.state["weight"], state["weight"])
