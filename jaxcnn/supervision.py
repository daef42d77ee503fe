"""A supervisor that starts a training again when it fails, until trying again cannot help."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from jaxcnn.errors import EXIT_USER_ERROR, UserError
from jaxcnn.paths import expanded
from jaxcnn.training.interrupt import EXIT_STOPPED, STOPPING, handled
from jaxcnn.training.manifest import saved_steps

_LOOKS_A_SECOND = 10
"""The number of times a second that a supervisor which pauses checks whether it was asked to stop."""


class Supervisor:
    """Runs a command, and starts it again when it fails.

    What follows depends on how the command ends:

    - After exit code 0 the supervisor is done.
    - After `EXIT_USER_ERROR` it does not try again.
    - After any other exit code, or a signal, it tries again after a pause, which doubles with every failure in a row.
    - After `EXIT_STOPPED` it tries again unless it was asked to stop itself: the machine was needed for something else,
      and the command may run on another.

    Failures are in a row as long as there is no newer checkpoint. SIGTERM and SIGINT are passed on to the command, and
    the supervisor ends when the command does.

    Args:
        command: the program and its arguments.
        checkpoints: the folder to which the command saves; the newest step there is its progress.
        max_failures: the number of failures in a row after which the supervisor gives up.
        first_pause: the length of the pause after the first failure, in seconds.
        longest_pause: the greatest length of a pause, in seconds.
        say: called with a sentence when something happens.
    """

    def __init__(
        self,
        command: Sequence[str],
        checkpoints: Path,
        *,
        max_failures: int,
        first_pause: float,
        longest_pause: float,
        say: Callable[[str], None],
    ) -> None:
        self._command = list(command)
        self._checkpoints = checkpoints
        self._max_failures = max_failures
        self._first_pause, self._longest_pause = first_pause, longest_pause
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None
        self._asked: signal.Signals | None = None

    def run(self) -> int:
        """Runs the command until it need not be started again.

        Returns:
            The command's last exit code, or 128 plus the number of the signal that ended it. It is `EXIT_STOPPED` if
            the supervisor was asked to stop before the command had anything to save.

        Raises:
            UserError: the program cannot be run.
        """
        with handled(STOPPING, self._pass_on):
            return self._run()

    def _run(self) -> int:
        failures, before = 0, self._newest_step()
        while not self._asked:
            code = self._run_once()
            if code in (0, EXIT_USER_ERROR):
                return code
            if self._asked:
                # The signal may have come before the command was ready to handle it.
                return EXIT_STOPPED if -code in STOPPING or code == EXIT_STOPPED else _of_shell(code)
            now = self._newest_step()
            failures = failures + 1 if now == before else 1
            before = now
            ended = _in_words(code)
            if failures >= self._max_failures:
                self._say(f"{ended}, {failures} times in a row without a newer checkpoint than {_step(now)}: giving up")
                return _of_shell(code)
            pause = min(self._first_pause * 2 ** (failures - 1), self._longest_pause)
            self._say(f"{ended}; starting it again from {_step(now)} in {pause:g} s")
            self._wait(pause)
        return EXIT_STOPPED

    def _run_once(self) -> int:
        """Returns the command's exit code; where a signal ended it, minus the signal's number."""
        try:
            # Without a process group of its own, the command would get a terminal's Ctrl-C twice.
            self._child = subprocess.Popen(self._command, process_group=0)
        except OSError as error:
            raise UserError(f"{self._command[0]} cannot be run: {error.strerror}") from None
        if self._asked:  # while it was being started; a second SIGTERM after one that was passed on does no harm
            self._child.terminate()
        code = self._child.wait()
        self._child = None
        return code

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1 / _LOOKS_A_SECOND))

    def _newest_step(self) -> int | None:
        return max(saved_steps(self._checkpoints), default=None)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self._asked = signal.Signals(number)
        if self._child is not None:
            self._child.send_signal(number)


def named_workdir(command: Sequence[str]) -> Path:
    """Returns the run folder that a command names with --workdir.

    Raises:
        UserError: the command does not name a folder.
    """
    for argument, following in zip(command, [*command[1:], ""], strict=True):
        name, _, value = argument.partition("=")
        if name == "--workdir" and (folder := value or following):
            return expanded(folder)
    raise UserError("the command has no --workdir, in which its progress could be seen: add --workdir FOLDER")


def _in_words(code: int) -> str:
    if code < 0:
        return f"the command was ended by {signal.Signals(-code).name}"
    return f"the command ended with exit code {code}"


def _step(step: int | None) -> str:
    return "the start" if step is None else f"step {step}"


def _of_shell(code: int) -> int:
    return code if code >= 0 else 128 - code
