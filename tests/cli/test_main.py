"""The console command: which command it runs, and what it answers where there is none."""

import importlib.metadata
import json
import logging
import subprocess
import sys

import pytest

from jaxcnn.cli.main import COMMANDS, main, run_command
from jaxcnn.errors import UserError


def test_help_lists_every_command_on_a_line(capsys):
    for flag in ("--help", "-h"):
        assert main([flag]) == 0
        lines = capsys.readouterr().out.splitlines()
        for name, what in COMMANDS.items():
            (line,) = (line for line in lines if line.split()[:1] == [name])
            assert line.endswith(what)
            assert len(line) < 80


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxcnn {importlib.metadata.version('jaxcnn')}\n"


def test_nothing_to_do(capsys):
    assert main([]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("usage: jaxcnn COMMAND")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("trian", "error: there is no command 'trian': did you mean 'train'?\n"),
        ("fuzz_images", "error: there is no command 'fuzz_images': did you mean 'fuzz-images'?\n"),
        ("--train", "error: there is no command '--train': did you mean 'train'?\n"),
        ("x", "error: there is no command 'x': choose from 'activations', 'baseline', "),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(name, answer, capsys):
    assert main([name, "--help"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(answer)


def test_only_the_chosen_command_is_imported():
    code = (
        "import json, sys\nfrom jaxcnn.cli.main import main\nmain(['--help'])\nmain(['nope'])\n"
        "before = sorted(m for m in sys.modules if m.startswith('jaxcnn.cli'))\n"
        "try: main(['submission', '--help'])\n"
        "except SystemExit: pass\n"
        "after = sorted(m for m in sys.modules if m.startswith('jaxcnn.cli'))\n"
        "print(json.dumps([before, after]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    before, after = json.loads(ran.stdout.splitlines()[-1])
    assert before == ["jaxcnn.cli", "jaxcnn.cli.main"]
    assert after == [*before, "jaxcnn.cli.submission"]


def test_python_dash_m(tmp_path):
    command = [sys.executable, "-m", "jaxcnn", "nope"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: there is no command 'nope'")


def test_what_the_package_logs_is_printed_while_a_command_runs(capsys):
    log = logging.getLogger("jaxcnn")
    before = (list(log.handlers), log.level, log.propagate)

    def command(arguments):
        logging.getLogger("jaxcnn.somewhere").info("told of %s", arguments)
        logging.getLogger("jaxcnn.somewhere").debug("not told")
        raise UserError("a mistake")

    assert run_command(command, ["a"]) == 2
    assert capsys.readouterr().err == "told of ['a']\nerror: a mistake\n"
    assert run_command(lambda arguments: 7, []) == 7
    assert (list(log.handlers), log.level, log.propagate) == before
