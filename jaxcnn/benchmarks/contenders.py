"""Contenders of a benchmark, each in a process of its own, taking turns.

A process of its own, because thread pools that wait by spinning, and an allocator that keeps memory, would otherwise
be the others' too. While one runs, the others are stopped, with all their children: an input stream would else read
ahead in the others' time.
"""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from jaxcnn.errors import UserError


def race(commands: dict[str, list[str]], *, rounds: int, steps: int, warm_up: int) -> dict[str, list[float]]:
    """Has contenders take turns; returns the seconds of one step, of each round, by contender.

    Args:
        commands: for each contender, a module whose main calls `serve`, and its arguments.
        rounds: turns each.
        steps: steps a turn.
        warm_up: steps before the first turn, which are not counted.

    Raises:
        UserError: a contender cannot run here; its last words are quoted.
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
def _workers(commands: dict[str, list[str]]) -> Iterator[dict[str, Callable[[int], float]]]:
    """Starts a process for each; gives, by name, functions from a number of steps to the seconds they took."""
    started = {}
    try:
        for name, command in commands.items():
            started[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        yield {name: functools.partial(_turn, name, worker) for name, worker in started.items()}
    finally:
        for worker in started.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.communicate()


def serve(run: Callable[[int], None]) -> None:
    """A worker's life: for each number on standard input, makes so many steps and answers with their seconds."""
    for line in sys.stdin:
        started = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - started, flush=True)


def _turn(name: str, worker: subprocess.Popen, steps: int) -> float:
    """Seconds that a worker took for so many steps."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGCONT)
    try:
        worker.stdin.write(f"{steps}\n")
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # it has died; its last words follow
    answer = worker.stdout.readline()
    if not answer:
        _, words = worker.communicate()
        last = words.strip().splitlines()[-1] if words.strip() else "it died"
        raise UserError(f"contender {name} cannot run: {last}")
    os.killpg(worker.pid, signal.SIGSTOP)
    return float(answer)
