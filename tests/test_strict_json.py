"""What we write as JSON is JSON."""

import ast
import json
import math
from pathlib import Path

import pytest

import jaxcnn
from jaxcnn import strict_json
from jaxcnn.config import ConfigError, ModelConfig, RandomErasing, to_json
from jaxcnn.config.options import option_group
from jaxcnn.training.report import MetricsLog, read_metrics

ROOT = Path(jaxcnn.__file__).parent
# These are read back by Python alone: by another of our processes, or before they are checked and sealed.
BETWEEN_OURSELVES = {
    "config/registry.py",
    "devices/processes.py",
    "laboratory/kept_steps.py",
    "laboratory/start.py",
    "training/lock.py",
    "training/manifest.py",
    "trials/fuzzing.py",
    "trials/interruption.py",
}


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_numbers_that_are_not_finite_are_null():
    value = {"a": math.nan, "b": [1, -math.inf, (0.5, math.inf)], "c": {"d": None, "e": True, "f": "NaN"}}
    text = strict_json.dumps(value)
    assert json.loads(text, parse_constant=refuse) == {
        "a": None,
        "b": [1, None, [0.5, None]],
        "c": {"d": None, "e": True, "f": "NaN"},
    }
    assert json.loads(strict_json.dumps(value, indent=2)) == json.loads(text)
    assert strict_json.dumps(math.nan) == "null"


def test_nothing_else_writes_json_for_others():
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.dumps", "json.dump")
    }
    assert found == BETWEEN_OURSELVES | {"strict_json.py"}


def test_a_log_of_a_run_that_diverges_is_json_and_is_read_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"kind": "train", "step": 3, "loss": NaN, "images": 0}\n{"kind": "tr'
    )  # by an earlier version, and cut
    log = MetricsLog(path, resume_step=4, evaluated=False)
    log.write("train", 6, {"loss": math.nan, "learning_rate": 0.1, "top1_error": math.inf})
    lines = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert lines == [
        {"kind": "train", "step": 3, "loss": None, "images": 0},
        {"kind": "train", "step": 6, "loss": None, "learning_rate": 0.1, "top1_error": None},
    ]
    assert math.isnan(read_metrics(path)[1]["loss"])
    assert read_metrics(path)[1]["learning_rate"] == 0.1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_option_is_a_number_that_json_lacks(number):
    for make in (lambda: ModelConfig(options={"dropout_rate": number}), lambda: RandomErasing(value=number)):
        with pytest.raises(ConfigError, match="finite"):
            make()

    @option_group
    class Own:
        rate: float = 0.0
        rates: tuple[float, ...] = ()

    for make in (lambda: Own(rate=number), lambda: Own(rates=(number,))):
        with pytest.raises(ConfigError, match=r"rates?.* must be a finite number, not"):
            make()
    assert "NaN" not in to_json(jaxcnn.config.TrainConfig())
