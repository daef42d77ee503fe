"""A benchmark says what it measures on, and ends with all that it started, however it is stopped."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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


def _children(number):
    """The numbers of all processes that a process has started, and theirs."""
    found = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [each for child in found for each in (child, *_children(child))]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP", "closed pipe", "SIGKILL"])
def test_contenders_end_with_a_benchmark(how, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "jaxcnn", "benchmark", "input", "--images", "8", "--batches", "1"]
    command += ["--rounds", "3" if how == "closed pipe" else "100000", "--against", "jaxcnn_packed"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert "GFLOP/s" in running.stdout.readline()  # the header is there before anything is timed
    started = []

    def racing():
        started[:] = [each for each in _children(running.pid) if is_alive(each)]
        return len(started) >= 3  # two contenders, and what ends them where this process cannot

    wait_until(racing)
    if how == "closed pipe":
        running.stdout.close()
    else:
        running.send_signal(signal.Signals[how])
    code = running.wait()
    said = running.stderr.read()
    wait_until(lambda: not any(map(is_alive, started)))
    if how == "SIGKILL":
        assert code == -signal.SIGKILL
    elif how == "closed pipe":
        assert (code, said) == (EXIT_BROKEN_PIPE, "")
    else:
        assert code == 128 + signal.Signals[how]
        assert said.splitlines()[-1] == f"stopped by {how}"
    assert how == "SIGKILL" or not list(scratch.iterdir())
