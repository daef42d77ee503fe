"""The frame of every benchmark: what it says of the machine first, and how it ends when it is stopped."""

import contextlib
import datetime
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from types import FrameType

from jaxcnn.children import Children
from jaxcnn.processor import Peak, this_processor
from jaxcnn.provenance import versions
from jaxcnn.training.interrupt import handled

ENDING = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that end a benchmark."""


class _Ended(BaseException):
    """What a signal raises, so that every block that has something to put in order is left."""


@contextlib.contextmanager
def session() -> Generator[None]:
    """Says in the first line of the output what is measured on, and ends a benchmark cleanly when it is stopped.

    Whatever signal of `ENDING` comes, the processes that were started are ended and scratch folders are removed. So
    they are where nothing reads the output any more, because each line is written at once. After SIGKILL the
    processes end (see `jaxcnn.children`), and scratch folders stay.

    Raises:
        SystemExit: a signal came; the exit code is the one that a shell gives for it.
    """
    received: list[signal.Signals] = []

    def end(number: int, _: FrameType | None) -> None:
        if not received:  # a second one must not interrupt what the first one began
            received.append(signal.Signals(number))
            raise _Ended

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        with handled(ENDING, end):
            print(header())
            yield
    except _Ended:
        print(f"stopped by {received[0].name}", file=sys.stderr)
        raise SystemExit(128 + received[0]) from None


def header() -> str:
    """Returns what a reader has to know of the machine: its processor, what that reaches, the versions and the date."""
    installed = ", ".join(f"{name} {version}" for name, version in versions(("jaxcnn", "jax", "jaxlib")).items())
    peak = _peak()
    reached = f"measured {peak}" if peak else "what it reaches could not be measured"
    return f"{this_processor()}; {reached}; {installed}; {datetime.date.today().isoformat()}"


def _peak() -> Peak | None:
    """Returns what the processor reaches, from a process whose threads and memory are gone before anything is timed."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with Children() as children:
        command = [sys.executable, "-m", "jaxcnn.processor"]
        measuring = children.start(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        said, _ = measuring.communicate()
    try:
        return Peak(**json.loads(said))
    except (ValueError, TypeError):
        return None
