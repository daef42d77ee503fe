"""Whether the decoder survives damaged files.

Child processes decode the files, so a crash or a hang ends a child, and the number of the file that caused it is known.
Memory is read from ``/proc``, so this runs on Linux.
"""

import collections
import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from jaxcnn.children import Children
from jaxcnn.data.decode import DecodeError, decode
from jaxcnn.resident import forget_peak, resident_bytes
from jaxcnn.trials.mutation import mutated

_WALL_SECONDS = 120
"""The number of seconds after which a file counts as waiting for ever. The actual limit is in processor time, which
does not depend on other work of the machine."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """The most time and memory that a file may take, and the limit that the decoder is called with."""

    max_pixels: int = 1 << 24
    """The largest image, as `DataConfig.max_pixels`. An undamaged one of the default, 2**26, takes about 2 seconds."""
    seconds: float = 2.0
    """The processor time that a file may take."""
    memory: int = 1 << 29
    """The bytes that a file may take at the peak, beyond those held before the first file: about twice what an
    undamaged image of ``max_pixels`` needs."""


@dataclasses.dataclass
class Report:
    """The outcome of decoding the files."""

    files: int = 0
    decoded: int = 0
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """The number of files that were refused for each reason; numbers in the reason are left out."""
    failures: dict[int, str] = dataclasses.field(default_factory=dict)
    """What went wrong, by the number of the file: a crash, a hang, too much memory, or an error that is not a
    `DecodeError`."""
    slowest: tuple[float, int] = (0.0, -1)
    """The longest processor time in seconds, and the number of the file."""
    largest: tuple[int, int] = (0, -1)
    """The most bytes at the peak, beyond those held before the first file, and the number of the file."""

    def add(self, other: "Report") -> None:
        """Adds the files of another report."""
        self.files += other.files
        self.decoded += other.decoded
        self.refused += other.refused
        self.failures |= other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.largest = max(self.largest, other.largest)


def _resident(when: Literal["now", "at most"]) -> int:
    found = resident_bytes(when)
    assert found is not None  # the trial's limit of memory needs Linux
    return found


def _reason(error: DecodeError) -> str:
    """Returns an error's message without what differs from file to file."""
    return re.sub(r"\d+", "N", re.sub(r"""b(['"]).*\1""", "b''", str(error)))


def try_file(encoded: bytes, number: int, max_pixels: int) -> dict[str, str]:
    """Decodes a file, and returns the outcome.

    Args:
        encoded: the bytes of the file.
        number: the number of the file, which decides whether it is decoded as grey or in colour.
        max_pixels: the limit that the decoder is given.

    Returns:
        ``{"failure": ...}`` for what must not happen, ``{"refused": ...}`` for the decoder's own error, else nothing.
    """
    channels = 1 if number % 4 == 0 else 3
    try:
        image = decode(encoded, channels, max_pixels)
    except DecodeError as error:
        if isinstance(error.__cause__, MemoryError):
            return {"failure": "asked for more memory than there is"}
        return {"refused": _reason(error)}
    except Exception as error:
        return {"failure": f"raised {type(error).__name__}: {error}"}
    height, width, *rest = image.shape
    if rest != [channels] or image.dtype != np.uint8 or not 0 < height * width <= max_pixels:
        return {"failure": f"became {image.dtype} of shape {image.shape}"}
    return {}


def _child(seed: int, first: int, files: int, limits: Limits) -> None:
    """Decodes files one after another, and prints a line of JSON for each. A file past its time ends the process."""
    warnings.simplefilter("ignore")  # Pillow warns of damage that it reads past
    before = _resident("now")
    for number in range(first, first + files):
        encoded = mutated(seed, number)
        forget_peak()
        # Their default action ends the process, also inside a loop that holds the interpreter.
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        signal.setitimer(signal.ITIMER_REAL, _WALL_SECONDS)
        started = time.process_time()
        outcome = try_file(encoded, number, limits.max_pixels)
        seconds = time.process_time() - started
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        memory = _resident("at most") - before
        if memory > limits.memory:
            outcome = {"failure": f"took {memory >> 20} MB of memory"}
        print(json.dumps({"number": number, "seconds": seconds, "memory": memory, **outcome}), flush=True)


def _count(report: Report, line: dict) -> None:
    number = line["number"]
    report.files += 1
    report.slowest = max(report.slowest, (line["seconds"], number))
    report.largest = max(report.largest, (line["memory"], number))
    if "failure" in line:
        report.failures[number] = line["failure"]
    elif "refused" in line:
        report.refused[line["refused"]] += 1
    else:
        report.decoded += 1


def _block(seed: int, first: int, files: int, limits: Limits) -> Report:
    """Tries a block of files in a child process; where one ends early, another takes the files after the last."""
    report, following = Report(), first
    while following < first + files:
        call = f"_child({seed}, {following}, {first + files - following}, {limits})"
        command = [sys.executable, "-c", f"from jaxcnn.trials.fuzzing import Limits, _child; {call}"]
        with Children() as children:
            child = children.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert child.stdout is not None  # both are pipes
            assert child.stderr is not None
            for line in child.stdout:
                _count(report, json.loads(line))
                following += 1
            said = child.stderr.read()
            child.wait()
        if child.returncode < 0:
            kind = signal.Signals(-child.returncode)
            what = {
                signal.SIGPROF: f"ran for more than {limits.seconds:g} s",
                signal.SIGALRM: f"waited for more than {_WALL_SECONDS} s",
            }.get(kind, f"ended the process by {kind.name}")
            report.failures[following] = what
            report.files += 1
            following += 1
        elif child.returncode > 0:
            raise RuntimeError(f"the process that tries files ended with {child.returncode}:\n{said}")
    return report


def fuzz(
    seed: int, first: int, files: int, limits: Limits | None = None, *, processes: int = 1, block: int = 5000
) -> Report:
    """Tries damaged files on the decoder.

    Args:
        seed: the seed of the series of files; see `mutation.mutated`.
        first: the number of the first file.
        files: the number of files.
        limits: what each file may cost.
        processes: the number of processes at a time.
        block: the most files that one process tries.
    """
    limits, report = limits or Limits(), Report()
    starts = range(first, first + files, block)
    with ThreadPoolExecutor(processes) as pool:
        for part in pool.map(lambda start: _block(seed, start, min(block, first + files - start), limits), starts):
            report.add(part)
    return report


def keep_failures(report: Report, seed: int, folder: Path) -> None:
    """Writes the files that failed, each as ``SEED_NUMBER``.

    Args:
        report: what `fuzz` returned.
        seed: the seed of the series of files.
        folder: made if need be.
    """
    for number in report.failures:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}_{number}").write_bytes(mutated(seed, number))
