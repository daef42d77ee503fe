"""The scripts of a checkout, which run the commands of the same names."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from jaxcnn.cli.main import COMMANDS

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts").iterdir())


def test_there_is_one_for_each_command():
    assert {path.name for path in SCRIPTS} == {f"{name.replace('-', '_')}.py" for name in COMMANDS}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_runs_its_command(path, monkeypatch, capsys):
    text = path.read_text()
    assert len(text.splitlines()) <= 12
    assert text.startswith("#!/usr/bin/env python3\n")
    assert os.access(path, os.X_OK)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(path), run_name="__main__")
    assert stopped.value.code == 0
    assert f"usage: jaxcnn {path.stem.replace('_', '-')} " in capsys.readouterr().out


def test_a_script_runs_from_any_folder(tmp_path):
    (script,) = (path for path in SCRIPTS if path.stem == "recipes")
    ran = subprocess.run(
        [sys.executable, script, "lenet_mnist"], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("lenet_mnist\n    lenet, tfds:mnist, 15 epochs\n")
