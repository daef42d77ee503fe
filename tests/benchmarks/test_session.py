"""A benchmark says what it measures on, and ends with all that it started, however it is stopped."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import jaxcnn
from jaxcnn.benchmarks import session as module
from jaxcnn.benchmarks.session import ENDING, session
from jaxcnn.cli.main import EXIT_BROKEN_PIPE
from tests.test_children import is_alive, wait_until


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_signal_leaves_every_block_and_a_second_one_does_not_interrupt_that(number, monkeypatch, capsys):
    monkeypatch.setattr(module, "header", lambda: "a processor")
    left = []

    def benchmark():
        with session(), tempfile.TemporaryDirectory() as folder:
            try:
                os.kill(os.getpid(), number)
                left.append("never")
            finally:
                os.kill(os.getpid(), number)
                left.append(folder)

    with pytest.raises(SystemExit) as stopped:
        benchmark()
    assert stopped.value.code == 128 + number
    assert len(left) == 1
    assert not Path(left[0]).exists()
    output = capsys.readouterr()
    assert output.out == "a processor\n"
    assert output.err == f"stopped by {number.name}\n"


def test_signals_are_as_before_afterwards(monkeypatch):
    monkeypatch.setattr(module, "header", lambda: "")
    before = [signal.getsignal(number) for number in ENDING]
    with session():
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before


CONTENDER = """
import os, time
from jaxcnn.contenders import serve
with open("numbers", "a") as file:
    file.write(f"{os.getpid()}\\n")
serve(lambda steps: time.sleep(0.01))
"""
BENCHMARK = """
import signal, sys, tempfile
from jaxcnn.benchmarks.session import session
from jaxcnn.cli.main import run_command
from jaxcnn.contenders import race

def benchmark(arguments):
    with session(), tempfile.TemporaryDirectory():
        while True:
            race({"one": ["contender"], "other": ["contender"]}, rounds=3, steps=1, warm_up=1)
            print("raced")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
sys.exit(run_command(benchmark, [], keeps_programs=False))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP", "closed pipe", "SIGKILL"])
def test_contenders_end_with_a_benchmark_however_that_is_stopped(how, tmp_path):
    (tmp_path / "contender.py").write_text(CONTENDER)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    paths = os.pathsep.join([str(tmp_path), str(Path(jaxcnn.__file__).parents[1])])
    environment = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": paths}
    with subprocess.Popen(
        [sys.executable, "-c", BENCHMARK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    ) as running:
        assert "GFLOP/s" in running.stdout.readline()
        assert running.stdout.readline() == "raced\n"
        if how == "closed pipe":
            running.stdout.close()
        else:
            running.send_signal(signal.Signals[how])
        code, said = running.wait(), running.stderr.read()
    numbers = (tmp_path / "numbers").read_text().split()
    assert len(numbers) >= 2
    wait_until(lambda: not any(map(is_alive, numbers)))
    if how == "SIGKILL":
        assert code == -signal.SIGKILL
        return
    assert not list(scratch.iterdir())
    if how == "closed pipe":
        assert (code, said) == (EXIT_BROKEN_PIPE, "")
    else:
        assert (code, said) == (128 + signal.Signals[how], f"stopped by {how}\n")
