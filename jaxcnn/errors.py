"""Errors for mistakes that a person can correct, each with a message of one sentence."""

import difflib
from collections.abc import Iterable

EXIT_USER_ERROR = 2
"""The exit code of a command after a `UserError`, which means that trying again cannot help."""


class UserError(ValueError):
    """An error for a mistake in what the user gave: a name, an option, a file.

    Its message is one sentence that names the thing, what is wrong with it, and the way out. Commands print it without
    a traceback and leave with exit code `EXIT_USER_ERROR`.
    """


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns the clause of a message that leads from a wrong name to the right one.

    Args:
        name: the wrong name.
        choices: the names that exist.

    Returns:
        ``did you mean 'resnet50'?`` where some choice is close, else ``choose from 'a', 'b'`` with twelve at most.

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
