"""Which program is supervised, and that it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from jaxcnn.cli.main import main
from jaxcnn.cli.supervise import program
from jaxcnn.errors import UserError


def test_a_command_is_one_of_jaxcnn_a_python_file_or_a_program():
    assert program(["train", "r", "--workdir", "w"]) == [sys.executable, "-m", "jaxcnn", "train", "r", "--workdir", "w"]
    assert program(["fuzz-images"]) == [sys.executable, "-m", "jaxcnn", "fuzz-images"]
    assert program(["mine/train.py", "x"]) == [sys.executable, "mine/train.py", "x"]
    for other in (["./train", "x"], ["srun", "jaxcnn", "train"], [sys.executable, "-m", "mine"]):
        assert program(other) == other
    with pytest.raises(UserError, match="there is no command to supervise: jaxcnn supervise -- train RECIPE"):
        program([])


def test_a_failing_file_is_started_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import pathlib, sys\ntries = pathlib.Path('tries')\ntries.open('a').write('x')\n"
        "sys.exit(0 if len(tries.read_text()) == 3 else 1)\n"
    )
    command = ["mine.py", "--workdir", "run"]
    assert main(["supervise", "--first-pause", "0.01", "--", *command]) == 0
    assert Path("tries").read_text() == "xxx"
    assert capsys.readouterr().err == (
        "jaxcnn supervise: the command ended with exit code 1; starting it again from the start in 0.01 s\n"
        "jaxcnn supervise: the command ended with exit code 1; starting it again from the start in 0.02 s\n"
    )


def test_a_command_of_jaxcnn_is_supervised(tmp_path):
    command = ["train", "lenett", "--workdir", "run"]
    ran = subprocess.run(
        [sys.executable, "-m", "jaxcnn", "supervise", "--", *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert ran.returncode == 2  # and not tried again
    assert ran.stderr.startswith("error: there is no recipe or run folder lenett: ")
