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
from collections.abc import Callable, Collection, Generator
from typing import NamedTuple

from jaxcnn import strict_json
from jaxcnn.children import Children
from jaxcnn.errors import UserError
from jaxcnn.resident import forget_peak, resident_bytes
from jaxcnn.types import JsonObject


class ContenderError(UserError):
    """An error for a contender that cannot run here."""

    def __init__(self, contender: str, said: str) -> None:
        super().__init__(f"contender {contender} cannot run: {said}")
        self.contender = contender


# Each process would otherwise take three quarters of an accelerator's memory for itself when it starts.
_TOGETHER = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_LOCK = "JAXCNN_CONTENDERS_LOCK"
"""The environment variable of the file that `one_at_a_time` locks."""


class Memory(NamedTuple):
    """The most memory that a contender's process had, in bytes; None where the system does not say."""

    starting: int | None
    """What was resident at most before the first round: while modules were imported, compiled and warmed up."""
    stepping: int | None
    """What was resident at most in the rounds."""

    def text(self) -> str:
        """Returns it as it is printed."""
        starting, stepping = ("     ?" if each is None else f"{each / 1e6:6,.0f}" for each in self)
        return f"{stepping} MB at most in the steps, {starting} before"


class Raced(NamedTuple):
    """What contenders took."""

    seconds: dict[str, list[float]]
    """The seconds of one step in each round, by contender."""
    memory: dict[str, Memory]


def commands_of(module: str, names: Collection[str], known: Collection[str], work: JsonObject) -> dict[str, list[str]]:
    """Returns the commands of contenders, each of which a module runs by its name and its work.

    Args:
        module: the module, which calls `serve` when it is run with a contender's name and the work as JSON.
        names: the contenders.
        known: the names of all that the module has.
        work: what each has to do.

    Raises:
        UserError: the module has no such contender.
    """
    for name in names:
        if name not in known:
            raise UserError(f"there is no contender {name!r}: choose from {', '.join(known)}")
    return {name: [module, name, strict_json.dumps(work)] for name in names}


def race(commands: dict[str, list[str]], *, rounds: int, steps: int, warm_up: int) -> dict[str, list[float]]:
    """Lets contenders take turns, and returns by contender the seconds of one step in each round: see `weighed`."""
    return weighed(commands, rounds=rounds, steps=steps, warm_up=warm_up).seconds


def weighed(commands: dict[str, list[str]], *, rounds: int, steps: int, warm_up: int) -> Raced:
    """Lets contenders take turns, and returns what they took.

    Args:
        commands: for each contender, a module that calls `serve` when it is run, and its arguments.
        rounds: the turns that each takes.
        steps: the steps in a turn.
        warm_up: the steps before the first turn, which are not timed.

    Raises:
        ContenderError: a contender cannot run here; the last line of its error is quoted.
    """
    with _workers(commands) as turns:
        starting = {name: turn(warm_up).resident for name, turn in turns.items()}
        taken: dict[str, list[float]] = {name: [] for name in turns}
        stepping: dict[str, int | None] = dict.fromkeys(turns)
        for _ in range(rounds):
            for name, turn in turns.items():
                answer = turn(steps)
                taken[name].append(answer.seconds / steps)
                stepping[name] = max(stepping[name] or 0, answer.resident or 0) or None
    return Raced(taken, {name: Memory(starting[name], stepping[name]) for name in turns})


class _Answer(NamedTuple):
    """What a worker says of a turn."""

    seconds: float
    resident: int | None
    """The bytes that were resident at most in this turn; in the first, since the process began."""


@contextlib.contextmanager
def _workers(commands: dict[str, list[str]]) -> Generator[dict[str, Callable[[int], _Answer]]]:
    """Starts a process for each; yields, by name, functions that let it take a number of steps."""
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

    After the seconds it says the bytes that were resident at most meanwhile; the first time, since the process began.

    Args:
        run: a function that takes a number of steps.
    """
    for line in sys.stdin:
        started = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - started, resident_bytes("at most") or "", flush=True)
        forget_peak()


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


def _turn(name: str, worker: subprocess.Popen, steps: int) -> _Answer:
    """Returns what a worker says of this many steps."""
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
    seconds, *resident = answer.split()
    return _Answer(float(seconds), int(resident[0]) if resident else None)
