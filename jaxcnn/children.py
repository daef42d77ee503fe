"""Child processes that end with the process that started them, however that one ends.

A process that is ended by SIGKILL, or by SIGTERM without a handler, runs no ``finally``, and its children live on;
those of a benchmark, which are stopped while they wait for their turn, live on for ever. Therefore another small
process waits for the end of a pipe that only their parent holds open, and kills them then.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

_GUARDIAN = """
import contextlib, os, signal, sys
groups = []
for line in sys.stdin:
    if line == "done\\n":
        break
    groups.append(int(line))
else:
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
"""
"""The program of the process that waits: it reads the numbers of process groups, and kills them at the end of its input
unless the last line says that nothing is left to do."""


class Children:
    """Starts processes, each with a session of its own, and kills them and their children at the end of the block.

    They are killed too where this process ends before that, even by SIGKILL::

        with Children() as children:
            worker = children.start([sys.executable, "-m", "worker"], stdin=subprocess.PIPE)
    """

    def __enter__(self) -> "Children":
        self._started: list[subprocess.Popen[Any]] = []
        # Without a session of its own, a terminal's Ctrl-C would end it too. It needs no packages, and so starts fast.
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARDIAN], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts a process.

        Args:
            command: the program and its arguments.
            **options: as for `subprocess.Popen`.
        """
        process = subprocess.Popen(command, start_new_session=True, **options)
        self._started.append(process)
        self._tell(str(process.pid))
        return process

    def __exit__(self, *exception: object) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with process:  # closes its pipes and waits for its end
                pass
        self._tell("done")
        with contextlib.suppress(BrokenPipeError):
            self._guardian.communicate()

    def _tell(self, line: str) -> None:
        assert self._guardian.stdin is not None  # it is a pipe
        with contextlib.suppress(BrokenPipeError):  # somebody has ended the guardian
            self._guardian.stdin.write(f"{line}\n")
            self._guardian.stdin.flush()
