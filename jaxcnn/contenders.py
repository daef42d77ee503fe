"""Contenders that are timed against each other, which take turns, each in a process of its own.

Each has its own process because one contender's thread pools, which may wait by spinning, and its allocator, which may
keep memory, would otherwise slow the others. While one runs, the others are stopped with all their children: an input
stream would otherwise read ahead while another is timed.
"""

import contextlib
import fcntl
import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator

from jaxcnn.children import Children
from jaxcnn.errors import UserError


class ContenderError(UserError):
    """An error for a contender that cannot run here."""

    def __init__(self, contender: str, said: str) -> None:
        super().__init__(f"contender {contender} cannot run: {said}")
        self.contender = contender


# Each process would otherwise take three quarters of an accelerator's memory for itself when it starts.
_TOGETHER = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_LOCK = "JAXCNN_CONTENDERS_LOCK"
"""The environment variable of the file that `one_at_a_time` locks."""


def race(commands: dict[str, list[str]], *, rounds: int, steps: int, warm_up: int) -> dict[str, list[float]]:
    """Lets contenders take turns, and returns by contender the seconds of one step in each round.

    Args:
        commands: for each contender, a module that calls `serve` when it is run, and its arguments.
        rounds: the turns that each takes.
        steps: the steps in a turn.
        warm_up: the steps before the first turn, which are not timed.

    Raises:
        ContenderError: a contender cannot run here; the last line of its error is quoted.
    """
    with _workers(commands) as turns:
        for turn in turns.values():
            turn(warm_up)
        taken: dict[str, list[float]] = {name: [] for name in turns}
        for _ in range(rounds):
            for name, turn in turns.items():
                taken[name].append(turn(steps) / steps)
    return taken


@contextlib.contextmanager
def _workers(commands: dict[str, list[str]]) -> Generator[dict[str, Callable[[int], float]]]:
    """Starts a process for each; yields, by name, functions that take a number of steps and return the seconds."""
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    with tempfile.NamedTemporaryFile() as lock, Children() as children:
        environment = os.environ | _TOGETHER | {_LOCK: lock.name}
        started = {
            name: children.start([sys.executable, "-m", *command], text=True, env=environment, **pipes)
            for name, command in commands.items()
        }
        yield {name: functools.partial(_turn, name, worker) for name, worker in started.items()}


def serve(run: Callable[[int], None]) -> None:
    """Reads numbers of steps from standard input until it ends, and answers each with the seconds that they took.

    Args:
        run: a function that takes a number of steps.
    """
    for line in sys.stdin:
        started = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - started, flush=True)


@contextlib.contextmanager
def one_at_a_time() -> Generator[None]:
    """Lets one contender of a race into the ``with`` block at a time.

    XLA chooses among the kernels of an accelerator by timing them while it compiles, so another's must not run then.
    """
    name = os.environ.get(_LOCK)
    if name is None:
        yield
        return
    with open(name, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _turn(name: str, worker: subprocess.Popen, steps: int) -> float:
    """Returns the seconds that a worker took for this many steps."""
    assert worker.stdin is not None  # both are pipes
    assert worker.stdout is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGCONT)
    try:
        worker.stdin.write(f"{steps}\n")
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended; its error is read below
    answer = worker.stdout.readline()
    if not answer:
        _, said = worker.communicate()
        last = said.strip().splitlines()[-1] if said.strip() else "its process ended"
        raise ContenderError(name, last)
    os.killpg(worker.pid, signal.SIGSTOP)
    return float(answer)
