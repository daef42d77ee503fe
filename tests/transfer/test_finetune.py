"""Fine-tuning as a recipe and as a command: what it makes of a model, and whole runs of it."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
import pytest
import rich.console

import jaxcnn
from jaxcnn import loading, runs
from jaxcnn.assembly import assemble, count_parameters
from jaxcnn.cli.main import main
from jaxcnn.config import SGD, AdamW, CenterCrop, FinetuneConfig, HorizontalFlip, RandomResizedCrop, to_json
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.recipes import load_config
from jaxcnn.training.report import read_metrics
from jaxcnn.transfer.finetune import finetuning

RECIPE = Path(__file__).parents[1] / "recipes" / "two_stages.py"


@pytest.fixture(autouse=True)
def _few_devices(monkeypatch, one_device):
    monkeypatch.setattr(DataParallel, "over_all_devices", lambda: one_device)


def flat(tree):
    return flax.traverse_util.flatten_dict(jax.device_get(tree), sep="/")


def test_a_model_is_fine_tuned_on_the_images_that_its_weights_expect():
    recipe = finetuning("resnet50", "torchvision/IMAGENET1K_V2", "folder:/data/flowers")
    config = recipe.config
    assert (recipe.name, recipe.source, config.init_from) == ("resnet50_finetuned", None, "torchvision/IMAGENET1K_V2")
    assert (config.model.name, config.data.name, config.finetune) == (
        *("resnet50", "folder:/data/flowers"),
        FinetuneConfig(new_head=True),
    )
    assert config.data.evaluation_crop == CenterCrop(size=224, resize=232)
    assert config.data.train_crop == RandomResizedCrop(size=224)
    assert config.augmentations == (HorizontalFlip(),)
    assert isinstance(config.optimizer, SGD)


def test_options_of_the_network_come_with_its_weights():
    config = finetuning("efficientnet_b0", "timm", "digits").config
    assert config.model.options["padding"] == "same"
    assert config.data.train_crop.interpolation == config.data.evaluation_crop.interpolation == "bicubic"


def test_convnext_has_its_authors_rates():
    config = finetuning("convnext_tiny", "torchvision", "digits").config
    assert isinstance(config.optimizer, AdamW)
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (5e-5, 1e-8)
    assert config.finetune.rate_decay == 0.5


@pytest.fixture
def folder(tmp_path):
    """A run folder that holds nothing but a config."""
    config = load_config(RECIPE)
    model = dataclasses.replace(config.model, num_classes=10)
    path = tmp_path / "run"
    path.mkdir()
    (path / "recipe.py").write_text(RECIPE.read_text())
    (path / "config.json").write_text(to_json(dataclasses.replace(config, model=model)))
    return path


def test_weights_of_a_run_come_with_its_preprocessing_and_its_code(folder):
    recipe, run = finetuning("two_stages", str(folder), "digits"), load_config(RECIPE)
    config = recipe.config
    assert recipe.source == RECIPE.read_text()
    for part in ("augmentations", "normalization"):
        assert getattr(config, part) == getattr(run, part)
    for part in ("train_crop", "evaluation_crop", "channels"):
        assert getattr(config.data, part) == getattr(run.data, part)
    assert config.model == dataclasses.replace(run.model, num_classes=None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("resnet18",), "resnet18 is a model and not a run folder, so it needs weights: name them with --weights"),
        (("resnet18", "torchvision"), "resnet18 is given no images to train on: name them with --data.name"),
        (("resnet18", "torchvision/X", "digits"), "there are no weights 'torchvision/X' of resnet18"),
        (("resnet81", "torchvision", "digits"), "there is no model, recipe or run folder resnet81: did you mean 'resn"),
        (("{run}",), "{run} is a run that starts from no weights: to start from it, say `jaxcnn finetune two_stages "),
        (("lenet_digits",), "lenet_digits starts from no weights: name them with --weights, or train it from scratch"),
        (("./nowhere.py", "torchvision"), "there is no recipe or run folder ./nowhere.py"),
    ],
)
def test_what_is_missing_is_said(arguments, sentence, folder):
    arguments = [argument.format(run=folder) for argument in arguments]
    with pytest.raises(UserError, match=f"^{sentence.format(run=folder)}"):
        finetuning(*arguments)


def test_weights_of_a_run_of_another_network_are_refused(folder):
    with pytest.raises(UserError, match="is a run of two_stages and not of resnet18: fine-tune that network, or name"):
        finetuning("resnet18", str(folder), "digits")


def test_a_recipe_is_fine_tuned_from_the_weights_that_are_named():
    recipe = finetuning(str(RECIPE), "weights.safetensors", "synthetic:3")
    expected = load_config(RECIPE)
    data = dataclasses.replace(expected.data, name="synthetic:3")
    assert recipe.config == dataclasses.replace(expected, init_from="weights.safetensors", data=data)
    assert recipe.source == RECIPE.read_text()


def stop_after(monkeypatch, step):
    """Has a run get SIGTERM after a step."""
    advance = runs.Reporter.advance

    def advance_and_stop(self, now):
        advance(self, now)
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(runs.Reporter, "advance", advance_and_stop)


def test_a_frozen_trunk_stays_as_it_began_and_a_stopped_run_ends_in_the_same_bits(tmp_path, monkeypatch):
    config = dataclasses.replace(
        load_config(RECIPE), finetune=FinetuneConfig(frozen=("trunk",)), augmentations=(), epochs=0.5
    )

    def run(folder):
        with (tmp_path / "output.txt").open("a") as file:
            return runs.train(config, tmp_path / folder, console=rich.console.Console(file=file, width=200))

    result = run("whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        assert run("stopped") is None
    assert run("stopped") == result
    whole, again = (jax.device_get(loading.restore_state(tmp_path / name).state) for name in ("whole", "stopped"))
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    begun = jax.device_get(assemble(config).make_state())  # a function of the seed
    for old, new in ((begun.variables, whole.variables), (begun.ema, whole.ema)):
        old, new = flat(old), flat(new)
        for path, values in new.items():
            assert (values.tobytes() == old[path].tobytes()) == (not path.startswith("params/classifier/")), path
    start, *_ = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    counts = count_parameters(whole.params), count_parameters(whole.params["classifier"])
    assert (start["parameters"], start["trained_parameters"]) == counts
    assert f"{counts[1]} of {counts[0]:,} parameters are trained\n" in (tmp_path / "output.txt").read_text()
    loaded = jaxcnn.load(tmp_path / "whole", weights_of="ema").variables
    jax.tree.map(np.testing.assert_array_equal, loaded, whole.ema)


def test_other_options_of_fine_tuning_are_another_run(folder, tmp_path):
    stored = load_config(folder)
    config = dataclasses.replace(stored, finetune=FinetuneConfig(frozen=("stem",)))
    with pytest.raises(UserError, match=r"finetune.frozen is \(\) and not \('stem',\): choose another --work"):
        runs.train(config, folder, console=rich.console.Console(quiet=True), override=True)


def test_a_config_of_before_there_was_fine_tuning_is_read(folder):
    stored = json.loads((folder / "config.json").read_text())
    del stored["finetune"]
    (folder / "config.json").write_text(json.dumps(stored))
    assert load_config(folder).finetune == FinetuneConfig()


def test_the_command_shows_what_can_be_set_and_refuses_in_a_sentence(capsys):
    with pytest.raises(SystemExit):
        main(["finetune", "resnet18", "--weights", "torchvision", "--data.name", "digits", "--help"])
    shown = capsys.readouterr().out
    assert "--finetune.frozen" in shown
    assert "resnet18_finetuned" in shown
    assert main(["finetune", "resnet18", "--weights", "torchvision"]) == 2
    assert capsys.readouterr().err.startswith("error: resnet18 is given no images")


@pytest.mark.slow
def test_the_command_from_a_run_through_kills_and_on_more_devices(tmp_path):
    """All in processes of their own, the fine-tuning killed three times with SIGKILL."""
    environment = os.environ | {"PYTHONPATH": str(Path(jaxcnn.__file__).parents[1]), "XLA_FLAGS": ""}

    def command(*arguments, devices=1):
        flags = f"--xla_force_host_platform_device_count={devices}"
        started = [sys.executable, "-m", "jaxcnn", *map(str, arguments)]
        return subprocess.Popen(
            started, cwd=tmp_path, env=environment | {"XLA_FLAGS": flags}, stdout=subprocess.PIPE, text=True
        )

    def answer(*arguments, **options):
        process = command(*arguments, **options)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    answer("train", RECIPE, "--workdir", "source")
    arguments = ("finetune", "two_stages", "--weights", "source", "--data.name", "digits", "--epochs", "2")
    arguments += ("--finetune.frozen", "stem", "1", "--checkpoint.every-steps", "4", "--ema.decay", "0.9")
    arguments += ("--finetune.rates", "head", "2.0")
    assert re.search(r"parameters, [\d,]+ of them trained, on 1 x cpu", answer(*arguments, "--dry-run"))
    answer(*arguments, "--workdir", "whole")
    kills = 0
    for step in (8, 20, 36):
        process = command(*arguments, "--workdir", "killed")
        while process.poll() is None and not (tmp_path / "killed" / "checkpoints" / str(step)).is_dir():
            time.sleep(0.02)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 3
    answer(*arguments, "--workdir", "killed")
    source, whole, killed = (
        jax.device_get(loading.restore_state(tmp_path / name).state) for name in ("source", "whole", "killed")
    )
    jax.tree.map(np.testing.assert_array_equal, whole, killed)
    kept = {path for path in flat(whole.variables) if path.split("/")[1].startswith(("conv1", "norm1", "stage1"))}
    for path, values in flat(whole.variables).items():
        assert (values.tobytes() == flat(source.variables)[path].tobytes()) == (path in kept), path
    assert answer("evaluate", "whole", devices=4) == answer("evaluate", "whole")
    # With more epochs it goes on, on more devices and with the optimizer spread over them.
    answer("train", "killed", "--override", "--epochs", "3", devices=4)
    assert (tmp_path / "killed" / "overrides.json").is_file()
