"""Errors for mistakes that a person can correct, each with a message of one sentence."""

import contextlib
import difflib
import errno
from collections.abc import Generator, Iterable
from pathlib import Path

EXIT_USER_ERROR = 2
"""The exit code of a command after a `UserError`, which means that trying again cannot help."""
EXIT_MACHINE_ERROR = 74
"""The exit code of a command after a `MachineError`: EX_IOERR, after which trying again can help."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FAILING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT}


class UserError(ValueError):
    """An error for a mistake in what the user gave: a name, an option, a file.

    Its message is one sentence that names the thing, what is wrong with it, and the way out. Commands print it without
    a traceback and leave with exit code `EXIT_USER_ERROR`.
    """


class MachineError(Exception):
    """An error for what the machine could not do although nothing is wrong with what it was asked, such as a full disk.

    Its message is one sentence, like that of a `UserError`. Commands print it without a traceback and leave with exit
    code `EXIT_MACHINE_ERROR`, after which a supervisor tries again.
    """


def exit_code(error: BaseException) -> int:
    """Returns the exit code of a command that this error has ended."""
    if isinstance(error, UserError):
        return EXIT_USER_ERROR
    return EXIT_MACHINE_ERROR if isinstance(error, MachineError) else 1


def of_the_machine(error: OSError, path: str | Path | None = None) -> MachineError | None:
    """Returns the `MachineError` that an error of the system amounts to; None where the machine is not to blame.

    Args:
        error: the error.
        path: what could not be written or read; by default the path that the error itself names.
    """
    if error.errno not in _FULL | _FAILING:
        return None
    path = path or error.filename or "the output"
    said, way_out = ("written", "make room") if error.errno in _FULL else ("read or written", "see to the disk")
    return MachineError(f"{path} cannot be {said}: {error.strerror}: {way_out}, and run the same command again")


@contextlib.contextmanager
def writing(path: str | Path, way_out: str) -> Generator[None]:
    """Turns the errors of the system that writing raises into ours, each a sentence about the path.

    Args:
        path: what is written.
        way_out: the clause that leads out where the path itself is at fault: "choose another --workdir".

    Raises:
        MachineError: the disk is full, or fails.
        UserError: the path cannot be written for any other reason, such as missing permission.
    """
    try:
        yield
    except OSError as error:
        raise of_the_machine(error, path) or UserError(
            f"{path} cannot be written: {error.strerror}: {way_out}"
        ) from error


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns the clause of a message that leads from a wrong name to the right one.

    Args:
        name: the wrong name.
        choices: the names that exist.

    Returns:
        ``did you mean 'resnet50'?`` where some choice is close, else ``choose from 'a', 'b'`` with twelve at most.

    Examples:
        >>> nearest("resnet5", ["resnet50", "vgg16"])
        "did you mean 'resnet50'?"
        >>> nearest("x", ["b", "a"])
        "choose from 'a', 'b'"
    """
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(map(repr, choices[:12]))
    return f"choose from {shown}" + (f" and {len(choices) - 12} more" if len(choices) > 12 else "")
