"""What a run folder is, who may be in it, and what may change there between two sittings of a run."""

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
import rich.console
from PIL import Image

import jaxcnn
from jaxcnn import loading, run_folder, runs
from jaxcnn.cli import train
from jaxcnn.cli.main import run_command
from jaxcnn.config import SGD, CheckpointConfig, ConfigError, EMAConfig, EvaluationConfig, TrainConfig
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import MachineError, UserError
from jaxcnn.ops.lowering_rules import following, read_rules
from jaxcnn.ops.rules import KINDS, Rules, Trees
from jaxcnn.paths import replace_whole
from jaxcnn.recipes import Recipe, load_config, load_recipe
from jaxcnn.run_changes import refuse_other_code
from jaxcnn.tables.recipe_results import result_of
from jaxcnn.training import checkpoint, lock
from jaxcnn.training.lock import FolderLock
from jaxcnn.training.report import MetricsLog, Reporter, read_metrics
from jaxcnn.training.tensorboard import ScalarLog

TINY = Path(__file__).parent / "recipes" / "tiny.py"


@pytest.fixture(autouse=True, scope="module")
def _one_device():
    one = DataParallel.over(jax.devices()[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataParallel, "over_all_devices", lambda: one)
        yield


def write_pictures(folder):
    """Eight 8x8 pictures to train on and four to measure on, of two classes."""
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate("ab"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 128, (8, 8)) + 100 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return folder


def small(pictures="pics", **changes):
    """Four steps, saved after each."""
    config = load_config(TINY)
    return dataclasses.replace(
        config,
        **{
            "data": dataclasses.replace(config.data, name=f"folder:{pictures}", batch_size=4),
            "optimizer": SGD(),
            "evaluation": EvaluationConfig(batch_size=4, top_k=(1,)),
            "checkpoint": CheckpointConfig(every_steps=1),
            **changes,
        },
    )


def go(config, workdir, **options):
    with Path("output.txt").open("a") as file:
        return runs.train(config, workdir, console=rich.console.Console(file=file, width=200), **options)


def stop_after(monkeypatch, last):
    """Has a run stop as by SIGTERM after a step."""
    advance = Reporter.advance

    def stopping(self, step):
        advance(self, step)
        if step == last:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Reporter, "advance", stopping)


def final_state(workdir):
    return jax.tree.map(np.asarray, loading.restore_state(Path(workdir)).state)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Pictures, a finished run on them, and the same run stopped after two steps."""
    folder = tmp_path_factory.mktemp("original")
    write_pictures(folder / "pics")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = go(small(), "done")
        stop_after(patch, 2)
        assert go(small(), "half") is None
    return folder, result


@pytest.fixture
def here(original, tmp_path, monkeypatch):
    """A copy of all that, as the working directory; its runs name the pictures where these were first."""
    shutil.copytree(original[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    for run in ("done", "half"):
        config = Path(run, "config.json")
        config.write_text(config.read_text().replace(str(original[0]), os.getcwd()))
    return tmp_path / "copy"


@pytest.mark.slow
def test_a_machine_that_is_tuned_meanwhile_changes_no_bit_of_a_run_that_goes_on(here):
    rules = Rules(tuple(Trees("gemm", "shift", "shift") for _ in KINDS))
    with following(rules):
        go(small(), "half")
        go(small(), "tuned")
    assert_same(final_state("half"), final_state("done"))
    assert not Path("half/lowerings.json").exists()
    assert read_rules(Path("tuned/lowerings.json").read_text())[1] == rules
    with pytest.raises(AssertionError):  # so these rules would have changed bits
        assert_same(final_state("tuned"), final_state("done"))
    shutil.rmtree("tuned/checkpoints")
    go(small(), "tuned-again")
    go(small(), "tuned")  # it begins anew, and with its own rules
    assert_same(final_state("tuned-again"), final_state("done"))
    with pytest.raises(AssertionError):
        assert_same(final_state("tuned"), final_state("done"))


# The images.


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda pics: (pics / "train/a").rename(pics / "train/c"), "have different classes"),
        (
            lambda pics: [(pics / split / "a").rename(pics / split / "c") for split in ("train", "test")],
            "for training are not those that the run in half began with: the class 'a' is gone and the class 'c' is",
        ),
        (
            lambda pics: (pics / "train/b/0.png").unlink(),
            "for training .*: 'b' has 3 files and had 4; put them back, or",
        ),
        (lambda pics: (pics / "test/b/0.png").unlink(), "for evaluation .*: 'b' has 1 files and had 2"),
        (
            lambda pics: (pics / "train/a/0.png").rename(pics / "train/a/9.png"),
            "for training .*: the files of 'a' have other names, sizes or contents",
        ),
        (
            lambda pics: shutil.copytree(pics / "test", pics / "validation"),
            "for evaluation .*: the split is 'validation' and was 'test'",
        ),
    ],
)
def test_other_images_are_refused_by_what_changed(here, change, sentence):
    before = contents(here / "half")
    change(here / "pics")
    with pytest.raises(UserError, match=sentence):
        go(small(), "half")
    assert contents(here / "half") == before


def test_the_same_images_may_lie_elsewhere(here, original, monkeypatch):
    (here / "pics").rename(here / "moved")
    assert go(small("moved"), "half") == original[1]
    assert_same(final_state("half"), final_state("done"))
    assert load_config(here / "half").data.name == f"folder:{here}/moved"


def test_relative_paths_are_made_absolute_when_the_run_begins(here, original, monkeypatch):
    assert load_config("half").data.name == f"folder:{here}/pics"
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    write_pictures(elsewhere / "pics")
    (elsewhere / "pics/train/a/0.png").unlink()  # other pictures by the same relative name
    monkeypatch.chdir(elsewhere)
    assert train.main([str(here / "half")]) == 0
    assert_same(final_state(here / "half"), final_state(here / "done"))
    network = loading.load(str(here / "half"))
    assert network.evaluate(network.data, batch_size=4, top_k=(1,)).errors == original[1].errors


def test_a_run_of_an_earlier_version_goes_on_and_keeps_a_fingerprint_from_then_on(here, original):
    (here / "half/data.json").unlink()
    config = here / "half/config.json"
    config.write_text(config.read_text().replace(f"{here}/pics", "pics"))
    assert go(small(), "half") == original[1]
    assert (here / "half/data.json").read_text() == (here / "done/data.json").read_text()
    assert load_config("half").data.name == f"folder:{here}/pics"


# What may change.


def test_what_changes_no_bit_may_change(here, original):
    config = small()
    changed = small(
        log_every_steps=1,
        max_bad_steps=2,
        name="renamed",
        data=dataclasses.replace(config.data, workers=2, max_bad_share=0.5),
        evaluation=EvaluationConfig(batch_size=2, top_k=(1,), every_epochs=2),
        checkpoint=CheckpointConfig(keep=1),
    )
    result = go(changed, "half")
    assert result.errors == original[1].errors
    assert_same(final_state("half"), final_state("done"))
    kept = load_config("half")
    assert (kept.log_every_steps, kept.data.workers, kept.checkpoint.keep, kept.name) == (1, 2, 1, "renamed")
    assert [line["step"] for line in read_metrics(here / "half/metrics.jsonl") if line["kind"] == "train"][-1] == 4
    assert len(list((here / "half/checkpoints").iterdir())) <= 2  # the newest and the best


@pytest.mark.parametrize(
    "changed",
    [
        small(seed=1),
        small(data=dataclasses.replace(small().data, batch_size=2)),
        small(model=dataclasses.replace(small().model, lowering="gemm")),
        small(data=dataclasses.replace(small().data, max_pixels=1000)),
    ],
)
def test_what_changes_bits_may_not_even_with_override(here, changed):
    for override in (False, True):
        with pytest.raises(ConfigError, match=r"half holds a run of another config, .*: choose another --workdir, or"):
            go(changed, "half", override=override)


def test_epochs_and_the_rate_may_with_override_which_is_written_down(here, capsys):
    changed = small(epochs=3.0, optimizer=SGD(learning_rate=0.05))
    before = contents(here / "done")
    with pytest.raises(
        ConfigError, match=r"in which epochs is 2.0 and not 3.0 \(and 1 more\): go on with the new value by --over"
    ):
        go(changed, "done")
    assert contents(here / "done") == before
    assert go(changed, "done", override=True).images == 4
    options = {"epochs": [2.0, 3.0], "optimizer.learning_rate": [0.1, 0.05]}
    assert json.loads((here / "done/overrides.json").read_text()) == [{"step": 4, "options": options}]
    starts = [line for line in read_metrics(here / "done/metrics.jsonl") if line["kind"] == "start"]
    assert starts[-1]["overrides"] == [{"step": 4, "options": options}]
    assert "overridden from step 4 on: epochs is 3.0 and was 2.0" in (here / "output.txt").read_text()
    assert loading.restore_state(here / "done").step == 6
    lines = [line for line in read_metrics(here / "done/metrics.jsonl") if line["kind"] == "train"]
    assert lines[-1]["step"] == 6
    # The schedule goes on as if its new values had held from the beginning: half a cosine over six steps.
    assert lines[-1]["learning_rate"] == pytest.approx(0.05 * (1 + np.cos(np.pi * 5 / 6)) / 2, rel=1e-4)
    # From then on it is the run's own config, without the option; and the commands know.
    assert train.main(["done"]) == 0
    with pytest.raises(UserError, match=r"done was changed while it ran \(done/overrides.json\): "):
        result_of(Path("done"), Path("."))
    # Back, and before where it is.
    with pytest.raises(UserError, match="done is at step 6, and 1 epochs end at step 2: raise epochs"):
        go(small(epochs=1.0, optimizer=SGD(learning_rate=0.05)), "done", override=True)
    assert load_config("done").epochs == 3.0


def test_a_state_of_another_layout_cannot_go_on(here):
    before = contents(here / "half")
    with pytest.raises(UserError, match="is of another model: "):
        go(small(ema=EMAConfig(decay=0.9)), "half", override=True)
    assert contents(here / "half") == before


@pytest.mark.slow
def test_another_top_k_is_measured_anew(here):
    config = small(model=dataclasses.replace(small().model, num_classes=3))
    go(config, "three")
    again = go(dataclasses.replace(config, evaluation=EvaluationConfig(batch_size=4, top_k=(1, 2))), "three")
    assert set(again.errors) == {1, 2}


# The folder.


def test_a_config_file_stands_for_its_run(here, original):
    assert load_recipe("half/config.json").run == Path("half")
    assert train.main(["half/config.json"]) == 0
    assert_same(final_state("half"), final_state("done"))
    assert not Path("runs").exists()
    network = loading.load("half/config.json")
    assert network.evaluate(network.data, batch_size=4, top_k=(1,)).errors == original[1].errors
    start = dataclasses.replace(load_config("half"), init_from="half/config.json")
    assert_same(loading.initial_variables(start)["params"], final_state("half").params)


@pytest.mark.parametrize("name", ["..", ".", "", "...", ".hidden", "-x", "a/b", "a\n", "a b", "x" * 101])
def test_a_name_is_a_plain_folder_name(name):
    with pytest.raises(ConfigError, match=r"^name "):
        TrainConfig(name=name)
    assert TrainConfig(name="r50.v2-final_3").name == "r50.v2-final_3"


def make_file(path):
    path.write_text("")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_file, "run is a file and not a folder: choose another --workdir"),
        (
            lambda path: path.symlink_to("nowhere"),
            "run is a link to nowhere, which does not exist: make that folder, or",
        ),
        (lambda path: path.symlink_to("run"), "run is a link to run, which does not exist"),
        (lambda path: os.mkfifo(path), "run is a file and not a folder"),
    ],
)
def test_a_path_that_can_be_no_run_folder(here, make, sentence):
    make(here / "run")
    with pytest.raises(UserError, match=sentence):
        go(small(), here / "run")


@pytest.mark.parametrize(
    ("workdir", "sentence"),
    [
        ("pics/train/a/0.png/run", "0.png/run cannot be written: Not a directory: choose another --workdir"),
        ("x" * 300, "cannot be written: File name too long: choose another --workdir"),
        ("/proc/self/run", "/proc/self/run cannot be written: .*: choose another --workdir"),
    ],
)
def test_a_place_where_no_folder_can_be(here, workdir, sentence):
    with pytest.raises(UserError, match=sentence):
        go(small(), here / workdir)


def test_a_link_to_a_folder_is_a_run_folder(here, original):
    (here / "link").symlink_to("half")
    assert go(small(), "link") == original[1]


def refuse_writing(monkeypatch, number):
    """Has the folders of this test refuse new files, as a read-only disk or missing permission does (to root too)."""
    system_open = os.open

    def refusing(path, flags, *rest, **options):
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number), path)
        return system_open(path, flags, *rest, **options)

    monkeypatch.setattr(lock.os, "open", refusing)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written(here, original, monkeypatch, number):
    before = contents(here / "done"), contents(here / "half")
    refuse_writing(monkeypatch, number)
    assert go(small(), "done") == original[1]
    assert f"{original[1]}" in str(go(small(log_every_steps=7), "done"))
    with pytest.raises(
        UserError, match="half cannot be written, and the run there is at step 2 of 4: make it writable"
    ):
        go(small(), "half")
    (here / "empty").mkdir()
    with pytest.raises(UserError, match=f"empty cannot be written: {os.strerror(number)}: choose another --workdir"):
        go(small(), "empty")
    assert (contents(here / "done"), contents(here / "half")) == before


def test_a_second_training_in_a_folder_is_refused_and_changes_nothing(here, original):
    first = FolderLock(here / "half")
    first.acquire()
    before = contents(here / "half")
    with pytest.raises(UserError, match=rf"half is in use by process {os.getpid()} on .*: wait until it is done"):
        go(small(), "half")
    assert contents(here / "half") == before
    first.release()
    assert go(small(), "half") == original[1]
    assert not (here / "half" / lock.LOCK_FILE).exists()


def test_two_that_begin_at_once(here, monkeypatch):
    """The second finds no folder when it begins, and one in use when it would make it."""
    assemble = runs.assemble
    other = FolderLock(here / "new")

    def overtaken(config):
        (here / "new").mkdir()
        other.acquire()
        return assemble(config)

    monkeypatch.setattr(runs, "assemble", overtaken)
    with pytest.raises(UserError, match="new is in use by process"):
        go(small(), "new")
    other.release()
    assert list((here / "new").iterdir()) == []


@pytest.mark.slow
def test_a_run_in_a_thread_trains_and_leaves_the_signals_alone(here, original):
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    found = []
    thread = threading.Thread(target=lambda: found.append((go(small(), here / "half"), go(small(), here / "another"))))
    thread.start()
    thread.join()
    assert found == [(original[1], original[1])]
    assert_same(final_state("another"), final_state("done"))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


# A full disk.


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "what", ["checkpoint", *(pytest.param(each, marks=pytest.mark.slow) for each in ("log", "scalars"))]
)
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(here, original, monkeypatch, capsys, what):
    """The run is at step 2, and the disk is full when it has made the third."""
    advance = Reporter.advance

    def filling(self, step):
        advance(self, step)
        if step == 3:
            full_part = {"checkpoint": (checkpoint, "write_manifest"), "log": (MetricsLog, "write")}
            monkeypatch.setattr(*full_part.get(what, (ScalarLog, "write")), full)

    monkeypatch.setattr(Reporter, "advance", filling)
    saved = contents(here / "half/checkpoints/2/state")
    assert run_command(train.main, ["half", "--log-every-steps", "1"]) == 74
    sentence = capsys.readouterr().err.splitlines()[-1]  # before it, a line says that the split for tests is used
    said = (
        "half cannot be written" if what != "checkpoint" else r"checkpoint 3 could not be saved in .*half/checkpoints"
    )
    sentence_said = rf"error: {said}: .*No space left on device: make room, and run the same command again.*"
    assert re.fullmatch(sentence_said, sentence), sentence
    assert contents(here / "half/checkpoints/2/state") == saved
    left = {path.name for path in (here / "half").iterdir()} | {
        path.name for path in (here / "half/checkpoints").iterdir()
    }
    assert not [name for name in left if name.startswith("tmp") or name.endswith("tmp") or name == lock.LOCK_FILE]

    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert go(small(), "half") == original[1]
    assert_same(final_state("half"), final_state("done"))


@pytest.mark.slow
def test_files_that_may_not_grow_as_a_person_meets_them(here, original):
    """`ulimit -f` in blocks of 1,024 bytes, of which the state needs more."""
    shutil.copy(TINY, here / "half/recipe.py")
    before = contents(here / "half/checkpoints")
    command = f"ulimit -f 1; exec {sys.executable} -m jaxcnn train half"
    environment = os.environ | {"PYTHONPATH": str(Path(jaxcnn.__file__).parents[1]), "XLA_FLAGS": ""}
    ended = subprocess.run(
        ["bash", "-c", command], cwd=here, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 74, ended.stderr
    sentence = ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2
    assert re.fullmatch(r"error: .*File too large.*: make room, and run the same command again.*", sentence)
    assert contents(here / "half/checkpoints") == before
    assert go(small(), "half") == original[1]


def test_a_disk_that_is_full_from_the_beginning_leaves_no_run(here, monkeypatch):
    monkeypatch.setattr(run_folder, "replace_whole", full)
    with pytest.raises(MachineError, match=r"^new cannot be written: No space left on device: make room, and run the"):
        go(small(), "new")
    assert not (here / "new").exists()


def test_an_output_that_cannot_be_printed(here, monkeypatch, capsys):
    def main(arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "output.txt")

    assert run_command(main, []) == 74
    assert capsys.readouterr().err == (
        "error: output.txt cannot be written: No space left on device: make room, and run the same command again\n"
    )


def test_a_file_that_cannot_be_made_whole_stays_as_it_was(tmp_path, monkeypatch):
    replace_whole(tmp_path / "x.json", "before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            replace_whole(tmp_path / "x.json", "after")
    assert contents(tmp_path) == {"x.json": b"before"}
    replace_whole(tmp_path / "x.json", "after")
    assert contents(tmp_path) == {"x.json": b"after"}


# The recipe's code.


def test_code_beside_the_recipe_that_has_changed_is_refused_and_comments_are_not(here):
    modules = here / "done" / "recipe_modules"
    (modules / "layers").mkdir(parents=True)
    (here / "done" / "recipe.py").write_text("import layers.mine\nx = 1\n")
    (modules / "layers/mine.py").write_text("y = 2\n")
    recipe = Recipe(
        "r", small(), "x = 1  # as before\n", {"layers/mine.py": '"""Mine."""\n\ny = 2\n', "new.py": "z = 3\n"}
    )
    refuse_other_code(recipe, here / "done")
    for changed, what in (
        (dataclasses.replace(recipe, source="x = 2\n"), "recipe's own code"),
        (
            dataclasses.replace(recipe, modules={"layers/mine.py": "y = 3\n"}),
            "code of layers/mine.py, which the recipe imports,",
        ),
    ):
        with pytest.raises(
            UserError, match=f"^the {what} has changed since the run in .*done began: go on with `jaxcnn train"
        ):
            refuse_other_code(changed, here / "done")
