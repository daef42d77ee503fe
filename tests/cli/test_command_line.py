"""What the command line chooses in a recipe."""

import dataclasses
from pathlib import Path

import pytest

from jaxcnn.cli.main import main
from jaxcnn.config import LAMB, AdamW, ConfigError, Resize, ScaleJitter
from jaxcnn.config.command_line import with_chosen_kinds
from jaxcnn.recipes import load_config


def test_another_kind_has_its_own_options_and_keeps_the_schedule():
    recipe = load_config("resnet50_imagenet")
    assert with_chosen_kinds(recipe, []) == recipe
    assert with_chosen_kinds(recipe, ["--optimizer.kind", "sgd", "--seed", "3"]) == recipe
    chosen = with_chosen_kinds(recipe, ["--optimizer.kind", "adamw", "--optimizer.beta1", "0.8"])
    assert chosen.optimizer == AdamW(schedule=recipe.optimizer.schedule)  # beta1 is the parser's
    assert with_chosen_kinds(recipe, ["--optimizer.kind=lamb"]).optimizer == LAMB(schedule=recipe.optimizer.schedule)
    crops = ["--data.train-crop.kind", "scale_jitter", "--data.evaluation_crop.kind=resize"]
    data = with_chosen_kinds(recipe, crops).data
    assert (data.train_crop, data.evaluation_crop) == (ScaleJitter(size=224), Resize(size=224))


def test_it_trains_with_the_optimizer_and_the_loss_that_are_chosen(tmp_path):
    tiny = str(Path(__file__).parents[1] / "recipes" / "tiny.py")
    chosen = ["--optimizer.kind", "adamw", "--optimizer.beta1", "0.8", "--loss.kind", "binary"]
    chosen += ["--optimizer.schedule.kind", "constant", "--optimizer.schedule.warmup-epochs", "0"]
    assert main(["train", tiny, "--epochs", "0.05", "--workdir", str(tmp_path / "run"), "--no-report", *chosen]) == 0
    config = load_config(tmp_path / "run")
    schedule = dataclasses.replace(load_config(tiny).optimizer.schedule, kind="constant", warmup_epochs=0.0)
    assert config.optimizer == AdamW(beta1=0.8, schedule=schedule)
    assert config.loss.kind == "binary"


def test_a_kind_that_does_not_exist_is_refused():
    recipe = load_config("lenet_digits")
    with pytest.raises(ConfigError, match=r"^optimizer\.kind 'adam' does not exist: did you mean 'adamw'\?$"):
        with_chosen_kinds(recipe, ["--optimizer.kind", "adam"])
    with pytest.raises(ConfigError, match=r"^data\.train_crop\.kind '' does not exist: choose from 'center_crop', "):
        with_chosen_kinds(recipe, ["--data.train-crop.kind"])
