"""Steps that are compiled into a file, and run from there."""

import dataclasses
import hashlib
import io
import json
import os
import pickle
import types
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
import rich.console

from jaxcnn import compiled_step, runs
from jaxcnn.assembly import assemble
from jaxcnn.cli.main import main
from jaxcnn.compiled_step import StepError, read_step
from jaxcnn.config import Resize
from jaxcnn.devices.machines import machine_of
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.laboratory.shipping import compile_to_file
from jaxcnn.loading import restore_state
from jaxcnn.ops.lowering_rules import following
from jaxcnn.ops.rules import KINDS, Rules, Trees
from jaxcnn.recipes import load_recipe
from jaxcnn.training.step import zero_totals

TINY_FILE = Path(__file__).parent / "recipes" / "tiny.py"
TINY = load_recipe(TINY_FILE)


@pytest.fixture(scope="module")
def few():
    """Two devices, over which the batch is split."""
    with pytest.MonkeyPatch.context() as patch:
        two = DataParallel.over(jax.devices()[:2])
        patch.setattr(DataParallel, "over_all_devices", lambda: two)
        yield two


def tiny(**changes):
    return dataclasses.replace(TINY, config=dataclasses.replace(TINY.config, epochs=0.6, **changes))


@pytest.fixture(scope="module")
def shipped(few, tmp_path_factory):
    """A compiled step, and what it was compiled from."""
    path = tmp_path_factory.mktemp("shipped") / "step.bin"
    compile_to_file(tiny(), path)
    return path, assemble(tiny().config)


def edited(path, folder, **parts):
    """A copy of a step whose ``about.json`` says something else."""
    with zipfile.ZipFile(path) as file:
        about, program = json.loads(file.read("about.json")), file.read("program")
    for part, values in parts.items():
        about[part] = {**about[part], **values} if isinstance(values, dict) else values
    with zipfile.ZipFile(folder / "edited.bin", "w") as file:
        file.writestr("about.json", json.dumps(about))
        file.writestr("program", program)
    return folder / "edited.bin"


def test_a_step_from_a_file_trains(shipped):
    path, assembly = shipped
    step = read_step(path, assembly, tiny())
    batch = next(assembly.train_feed.training(0, 1))
    state, totals = step(assembly.make_state(), zero_totals(), batch)
    assert (int(state.step), int(totals["images"]), int(totals["bad_steps"])) == (1, 64, 0)


@pytest.mark.slow
def test_a_run_with_it_ends_in_the_same_bits(shipped, tmp_path):
    path, _ = shipped
    recipe, console = tiny(), rich.console.Console(quiet=True)
    for name, compiled in (("without", None), ("with", path)):
        runs.train(recipe.config, tmp_path / name, recipe=recipe, console=console, compiled=compiled)
    without, with_it = (restore_state(tmp_path / name) for name in ("without", "with"))
    assert without.step == with_it.step == 14
    jax.tree.map(np.testing.assert_array_equal, without.state, with_it.state)
    assert without.metrics == with_it.metrics


def test_what_changes_no_bit_may_differ(shipped):
    path, _ = shipped
    config = dataclasses.replace(tiny().config, log_every_steps=5, name="another")
    assert callable(read_step(path, assemble(config), tiny()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "another config, in which seed is 0 and not 1: train with that, or compile it anew"),
        ({"augmentations": ()}, "another config, in which augmentations.0.padding is 1 and not None"),
        ({"data": dataclasses.replace(TINY.config.data, batch_size=32)}, "another setting: steps is 14 there and 27"),
        (
            {"data": dataclasses.replace(TINY.config.data, train_crop=Resize(size=10))},
            r"another array: 2/resident/image is uint8\[1437, 8, 8, 1\] there and uint8\[1437, 10, 10, 1\] here",
        ),
    ],
    ids=["seed", "augmentations", "batch", "crop"],
)
def test_another_config_is_refused(shipped, changes, said):
    path, _ = shipped
    with pytest.raises(StepError, match=f"step.bin was compiled (from|for) {said}"):
        read_step(path, assemble(tiny(**changes).config), tiny())


def test_other_rules_of_lowering_are_refused(shipped):
    path, assembly = shipped
    with (
        following(Rules(tuple(Trees("xla", "xla", "shift") for _ in KINDS))),
        pytest.raises(StepError, match=r"was compiled for another setting: lowering is .*: compile it anew"),
    ):
        read_step(path, assembly, tiny())


def test_other_devices_are_refused(shipped):
    path, _ = shipped
    assembly = assemble(tiny().config, parallel=DataParallel.over(jax.devices()[:1]))
    said = "another topology: devices is 2 there and 1 here: compile it for these devices with"
    with pytest.raises(StepError, match=said):
        read_step(path, assembly, tiny())


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"versions": {"jax": "0.9.1"}}, "another package: jax is 0.9.1 there and .* here: install that version, or"),
        ({"devices": {"kinds": "TPU v9"}}, "another topology: kinds is TPU v9 there and cpu here"),
        ({"devices": {"processor": "0" * 16}}, "another topology: processor is 0000000000000000 there"),
        ({"settings": {"jax_default_matmul_precision": "bfloat16"}}, "precision is bfloat16 there and None here"),
        ({"code": {"jaxcnn": "0"}}, "from other code of jaxcnn than this: compile it anew"),
        ({"arrays": {"0/params/\x1b": "float32[]"}}, r"array: 0/params/\\x1b is float32\[\] there and None here"),
    ],
    ids=["version", "device", "processor", "precision", "code", "array"],
)
def test_what_it_was_compiled_for_must_be_what_it_is_for(shipped, tmp_path, parts, said):
    path, assembly = shipped
    with pytest.raises(StepError, match=said):
        read_step(edited(path, tmp_path, **parts), assembly, tiny())


def test_a_device_goes_by_the_name_of_its_machine(shipped, tmp_path, monkeypatch):
    """XLA describes as "NVIDIA H200 141GB HBM3e" what its driver calls "NVIDIA H200"."""
    path, assembly = shipped
    for_h200 = edited(path, tmp_path, devices={"kinds": "h200"})
    for kind in ("NVIDIA H200", "NVIDIA H200 141GB HBM3e"):
        device = types.SimpleNamespace(device_kind=kind)
        monkeypatch.setattr(compiled_step, "machine_of", lambda _, device=device: machine_of(device))
        assert read_step(for_h200, assembly, tiny())
        with pytest.raises(StepError, match="another topology: kinds is cpu there and h200 here"):
            read_step(path, assembly, tiny())


def test_other_code_of_the_recipe_is_refused(shipped):
    path, assembly = shipped
    other = dataclasses.replace(tiny(), source=f"{TINY.source}\n# edited\n")
    with pytest.raises(StepError, match="compiled from other code of the recipe than this"):
        read_step(path, assembly, other)


class Runs:
    """What a pickle of somebody else's may do."""

    def __reduce__(self):
        return os.mkdir, (str(self.path),)

    def __init__(self, path):
        self.path = path


def test_a_foreign_pickle_runs_nothing(shipped, tmp_path):
    path, assembly = shipped
    harm = pickle.dumps(Runs(tmp_path / "harm"))
    evil = edited(path, tmp_path, program=hashlib.sha256(harm).hexdigest())
    content = io.BytesIO()
    with zipfile.ZipFile(evil) as old, zipfile.ZipFile(content, "w") as new:
        new.writestr("about.json", old.read("about.json"))
        new.writestr("program", harm)
    evil.write_bytes(content.getvalue())
    with pytest.raises(StepError, match=r"is not a whole compiled step \(it asks for posix.mkdir\)"):
        read_step(evil, assembly, tiny())
    assert not (tmp_path / "harm").exists()


def test_a_damaged_file_is_refused(shipped, tmp_path):
    path, assembly = shipped
    whole = path.read_bytes()
    for name, content in {"cut": whole[:-100], "empty": b"", "other": b"a text"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StepError, match=f"{name} is not a compiled step .*: make one with `jaxcnn compile RECIPE"):
            read_step(tmp_path / name, assembly, tiny())
    with pytest.raises(StepError, match=r"there is no file .*none: make one with `jaxcnn compile RECIPE --out"):
        read_step(tmp_path / "none", assembly, tiny())
    with pytest.raises(StepError, match=r"is not a whole compiled step \(its SHA-256 differs\)"):
        read_step(edited(path, tmp_path, program="0"), assembly, tiny())


@pytest.mark.slow
def test_the_commands(few, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe, options = str(TINY_FILE), ["--epochs", "0.6"]
    assert main(["compile", recipe, "--out", "here/step.bin", *options]) == 0
    assert "here/step.bin: " in capsys.readouterr().out
    assert main(["train", recipe, "--workdir", "run", "--compiled", "here/step.bin", *options]) == 0
    capsys.readouterr()
    assert main(["train", recipe, "--workdir", "other", "--compiled", "here/step.bin", *options, "--seed", "3"]) == 2
    assert "in which seed is 0 and not 3" in capsys.readouterr().err
    assert not Path("other").exists()
