"""A trial of whether work that is killed at random moments, and started again, ends as work that is not.

It must end in the same bits: those of a training's state, and the lines of its log; those of all files that any other
command leaves in its folder.
"""

import dataclasses
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from jaxcnn.children import Children
from jaxcnn.errors import UserError
from jaxcnn.loading import restore_state
from jaxcnn.recipes import load_recipe
from jaxcnn.training.interrupt import EXIT_STOPPED
from jaxcnn.training.manifest import saved_steps
from jaxcnn.training.report import read_metrics
from jaxcnn.types import JsonObject

TIMES = ("images_per_second", "data_wait_share")
"""The values in a line of ``metrics.jsonl`` that depend on how long something took."""
OF_A_SITTING = ("start", "compilations")
"""The kinds of lines of ``metrics.jsonl`` that each process of a run writes once, about itself."""

_WHOLE = "uninterrupted"
"""The name of the folder of the run that nobody interrupts."""
_LOOK_SECONDS = 0.02
"""The time after which it is checked again whether a signal is due."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of the interrupted runs."""

    kills: int
    """The number of signals that reached a process while it was still running."""
    resumed_after: tuple[int, ...]
    """The step from which a run went on after each signal; 0 where nothing had been saved yet."""
    finished_runs: int
    """The number of interrupted runs that ended."""
    differing: tuple[str, ...]
    """What differs in some bit from the uninterrupted run's: the leaves of the final states, and the lines of the logs
    (but for times) of trainings; the files of other work. There should be none."""
    between_lines: int = 0
    """The number of times that a run went on from a step between two lines of the log, whose sums it had to keep."""


def interrupt_repeatedly(
    arguments: Sequence[str],
    folder: Path,
    *,
    kills: int,
    number: signal.Signals,
    seed: int = 0,
    between_lines: bool = False,
) -> Outcome:
    """Trains once without interruption, then again with signals at random moments, and compares states and logs.

    Each interrupted run is started again until it ends by itself; if signals are still due then, another run begins. A
    signal comes at a moment drawn uniformly from the time that the quickest run so far took, imports and compilation
    included; or as soon as the run has saved a step between two lines of the log.

    Args:
        arguments: the arguments of ``jaxcnn train``, the recipe first, without ``--workdir``.
        folder: must not exist; the runs are made in it.
        kills: the number of signals to send.
        number: SIGKILL or SIGTERM.
        seed: the seed of the moments.
        between_lines: whether signals come after such a step, and not at random moments.

    Raises:
        UserError: there is no such recipe.
        RuntimeError: a run ended in another way than it should: an error, or a wrong exit code after SIGTERM.
    """
    load_recipe(arguments[0])  # refuses a wrong one at once, and registers what the final states are read with
    whole = folder / _WHOLE

    def next_saved(workdir: Path) -> Callable[[], bool]:
        lines_after = _lines_after(whole)
        if lines_after.issuperset(saved_steps(whole / "checkpoints")[:-1]):
            raise UserError("the run saves no step between two lines of its log: set --checkpoint.every-steps")
        return _saved_between(workdir, lines_after)

    outcome = interrupt_command(
        ["train", *arguments, "--no-report"],
        folder,
        kills=kills,
        number=number,
        seed=seed,
        moment=next_saved if between_lines else None,
        outcome=_outcome,
        progress=_newest,
    )
    lines_after = _lines_after(whole)
    between = sum(step not in lines_after for step in outcome.resumed_after)
    return dataclasses.replace(outcome, between_lines=between)


def files_in(workdir: Path) -> dict[str, bytes]:
    """Returns the bytes of every file in a folder."""
    return {str(path.relative_to(workdir)): path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def interrupt_command(
    arguments: Sequence[str],
    folder: Path,
    *,
    kills: int,
    number: signal.Signals,
    seed: int = 0,
    moment: Callable[[Path], Callable[[], bool]] | None = None,
    outcome: Callable[[Path], Mapping[str, bytes]] = files_in,
    progress: Callable[[Path], int] = lambda workdir: 0,
) -> Outcome:
    """Runs a command once without interruption, then again with signals, and compares what it leaves in its folder.

    Each interrupted run is started again until it ends by itself; if signals are still due then, another run begins.

    Args:
        arguments: the command of jaxcnn and its arguments, without ``--workdir``.
        folder: must not exist; the runs are made in it.
        kills: the number of signals to send.
        number: SIGKILL or SIGTERM.
        seed: the seed of the moments.
        moment: a function from the run's folder to one that says, again and again, whether the signal is due. By
            default it comes at a moment drawn uniformly from the time that the quickest run so far took, imports and
            compilation included.
        outcome: a function from a finished run's folder to what is compared.
        progress: a function from a run's folder to how far it is.

    Raises:
        RuntimeError: a run ended in another way than it should: an error, or a wrong exit code after SIGTERM.
    """
    command = [sys.executable, "-m", "jaxcnn", *arguments]
    moments = random.Random(seed)
    folder.mkdir(parents=True)
    started = time.monotonic()
    _run([*command, "--workdir", str(folder / _WHOLE)], _never, number)
    duration = time.monotonic() - started
    expected = outcome(folder / _WHOLE)

    sent, finished, resumed, differing = 0, 0, [], []
    while sent < kills:
        workdir = folder / f"interrupted{finished}"
        while True:
            started = time.monotonic()
            due = moment(workdir) if moment else _after(moments.uniform(0, duration))
            if not _run([*command, "--workdir", str(workdir)], _never if sent == kills else due, number):
                # It had less to do than the first, or the machine is faster now: later moments would come too late.
                duration = min(duration, time.monotonic() - started)
                break
            sent += 1
            resumed.append(progress(workdir))
        found = outcome(workdir)
        differing += [
            f"{workdir.name}: {name}"
            for name in sorted(expected.keys() | found.keys())
            if expected.get(name) != found.get(name)
        ]
        finished += 1
        shutil.rmtree(workdir)
    return Outcome(sent, tuple(resumed), finished, tuple(differing))


def _lines_after(workdir: Path) -> set[int]:
    """Returns the steps after which a line of a run's log follows."""
    return {0, *(line["step"] for line in _lines(workdir))}


def _never() -> bool:
    return False


def _after(seconds: float) -> Callable[[], bool]:
    """Returns whether so many seconds are over since now."""
    started = time.monotonic()
    return lambda: time.monotonic() - started >= seconds


def _saved_between(workdir: Path, lines_after: set[int]) -> Callable[[], bool]:
    """Returns whether a run has saved a step since now after which no line of the log follows."""
    before = _newest(workdir)
    return lambda: (newest := _newest(workdir)) > before and newest not in lines_after


def _newest(workdir: Path) -> int:
    """Returns the newest step that a run has saved; 0 where there is none."""
    return max(saved_steps(workdir / "checkpoints"), default=0)


def _run(command: list[str], due: Callable[[], bool], number: signal.Signals) -> bool:
    """Starts a run, interrupts it when that is due, and returns whether it was still running then."""
    with Children() as children:
        process = children.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output, sent = None, False
        while output is None:
            try:
                output, _ = process.communicate(timeout=None if sent else _LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                if sent := due():
                    process.send_signal(number)
    # Before training has begun, SIGTERM ends the process as Python does by default: there is nothing to save yet.
    interrupted = {-number, EXIT_STOPPED} if number == signal.SIGTERM else {-number}
    if process.returncode not in {0, *interrupted}:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
    return process.returncode != 0


def _outcome(workdir: Path) -> dict[str, bytes]:
    """Returns the bits of every leaf of the last checkpoint, what was measured there, and the lines of the log."""
    restored = restore_state(workdir)
    leaves = jax.tree_util.tree_leaves_with_path(restored.state)
    bits = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf).tobytes() for path, leaf in leaves}
    lines = {f"line {number} of metrics.jsonl": json.dumps(line) for number, line in enumerate(_lines(workdir), 1)}
    return bits | {name: text.encode() for name, text in {"metrics": json.dumps(restored.metrics), **lines}.items()}


def _lines(workdir: Path) -> list[JsonObject]:
    """Returns the lines of a run's log without times, and without those that its processes write about themselves."""
    return [
        {name: value for name, value in line.items() if name not in TIMES}
        for line in read_metrics(workdir / "metrics.jsonl")
        if line["kind"] not in OF_A_SITTING
    ]
