"""Does a killed run end in the bits of one that was not? Kill it at random moments and compare."""

import dataclasses
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np

from jaxcnn.trained import restore_state
from jaxcnn.training.interrupt import EXIT_STOPPED


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the killed runs."""

    kills: int
    """How often a signal was sent to a process that was still running."""
    resumed_after: tuple[int, ...]
    """The steps from which the runs went on, each after a kill; 0 where nothing had been saved yet."""
    finished_runs: int
    differing: tuple[str, ...]
    """Leaves of the final states that differ in some bit from the uninterrupted run's; empty is right."""


def interrupt_repeatedly(
    command: list[str], folder: Path, *, kills: int, number: signal.Signals, seed: int = 0
) -> Outcome:
    """Runs a training command once in peace, then again and again under fire.

    Each interrupted run is started again until it ends by itself; if kills are still due then, another run begins. A
    kill comes at a moment drawn uniformly from the time that the quickest run so far took, imports and compilation
    included.

    Args:
        command: takes ``--workdir FOLDER`` and trains.
        folder: must not exist; the runs are made in it.
        kills: how many signals to send.
        number: SIGKILL or SIGTERM.
        seed: of the moments.

    Raises:
        RuntimeError: a run ended in another way than it should: an error, or a wrong exit code after SIGTERM.
    """
    moments = random.Random(seed)
    folder.mkdir(parents=True)
    started = time.monotonic()
    _run([*command, "--workdir", str(folder / "peaceful")], None, number)
    duration = time.monotonic() - started
    expected = _final_state(folder / "peaceful")

    sent, finished, resumed, differing = 0, 0, [], []
    while sent < kills:
        workdir = folder / f"interrupted{finished}"
        while True:
            delay = moments.uniform(0, duration) if sent < kills else None
            started = time.monotonic()
            if not _run([*command, "--workdir", str(workdir)], delay, number):
                # It had less to do than the first, or the machine is faster now: aim earlier.
                duration = min(duration, time.monotonic() - started)
                break
            sent += 1
            resumed.append(
                max((int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()), default=0)
            )
        found = _final_state(workdir)
        differing += [
            f"{workdir.name}: {name}" for name in sorted(expected | found) if expected.get(name) != found.get(name)
        ]
        finished += 1
        shutil.rmtree(workdir)
    return Outcome(sent, tuple(resumed), finished, tuple(differing))


def _run(command: list[str], delay: float | None, number: signal.Signals) -> bool:
    """Starts a run and, after a delay, interrupts it; returns whether it was still running then."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        output, _ = process.communicate()
    # A SIGTERM before training has begun finds Python's default: there is nothing to save yet.
    interrupted = {-number, EXIT_STOPPED} if number == signal.SIGTERM else {-number}
    if process.returncode not in {0, *interrupted}:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
    return process.returncode != 0


def _final_state(workdir: Path) -> dict[str, bytes]:
    """The bits of every leaf of the last checkpoint, and what was measured there."""
    restored = restore_state(workdir)
    leaves = jax.tree_util.tree_leaves_with_path(restored.state)
    bits = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf).tobytes() for path, leaf in leaves}
    return bits | {"metrics": json.dumps(restored.metrics).encode()}
