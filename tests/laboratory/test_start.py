"""The time to a training's first step, by part."""

import dataclasses
import sys
from pathlib import Path

import pytest

from jaxcnn.cli import benchmark
from jaxcnn.errors import UserError
from jaxcnn.laboratory.start import PARTS, time_start
from jaxcnn.recipes import load_config

TINY = Path(__file__).parent.parent / "recipes" / "tiny.py"


@pytest.mark.slow
def test_a_start_is_told_by_part_and_a_second_one_finds_its_programs():
    found = time_start(str(TINY), load_config(TINY), rounds=1)
    assert found.keys() == {"cold", "kept"}
    for starts in found.values():
        assert tuple(starts) == (*PARTS, "all")
        assert all(seconds > 0 for seconds in starts.values())
        assert sum(starts[part] for part in PARTS) == pytest.approx(starts["all"], abs=1e-3)
    assert found["kept"]["compile"] < found["cold"]["compile"]


@pytest.mark.slow
def test_where_ilsvrc_is_not_there_noise_takes_its_place(tmp_path):
    config = load_config(TINY)
    data = dataclasses.replace(config.data, name="tfds:imagenet2012", data_dir=str(tmp_path), channels=3)
    found = time_start(str(TINY), dataclasses.replace(config, data=data), rounds=1)
    assert found["cold"]["first step"] > 0


@pytest.mark.slow
def test_a_training_that_cannot_be_started_says_why():
    config = load_config(TINY)
    model = dataclasses.replace(config.model, name="nothing")
    with pytest.raises(UserError, match=r"^the training cannot be started: .*there is no model 'nothing'"):
        time_start(str(TINY), dataclasses.replace(config, model=model), rounds=1)


@pytest.mark.parametrize("kept", [True, False])
def test_the_command_says_where_imports_take_longer_than_they_would(kept, monkeypatch, capsys):
    monkeypatch.setattr(sys, "dont_write_bytecode", not kept)
    starts = {name: dict.fromkeys((*PARTS, "all"), seconds) for name, seconds in (("cold", 4.0), ("kept", 1.0))}
    monkeypatch.setattr(benchmark, "time_start", lambda recipe, config, rounds: starts)
    benchmark.start((str(TINY),))
    said = capsys.readouterr().out
    assert ("PYTHONDONTWRITEBYTECODE" in said) == (not kept)
    assert "kept as a share of cold                       25%" in said
