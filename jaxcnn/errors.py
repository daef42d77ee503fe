"""What a person can put right, said in one sentence."""

import difflib
import logging
import sys
from collections.abc import Callable, Iterable

EXIT_USER_ERROR = 2
"""Exit code of a script after a `UserError`: trying again cannot help."""


class UserError(ValueError):
    """A mistake in what the user gave: a name, an option, a file.

    Its message is one sentence that names the thing and the way out; the scripts print it without a traceback and
    leave with exit code `EXIT_USER_ERROR`.
    """


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns the clause that leads from a wrong name to the right one.

    Args:
        name: what was asked for.
        choices: what there is.

    Returns:
        ``did you mean 'resnet50'?`` where a choice is close, else ``choose from 'a', 'b'`` (at most twelve of them).

    >>> nearest("resnet5", ["lenet", "resnet50"])
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


def run_script(main: Callable[[list[str]], int]) -> int:
    """Runs a script's ``main`` on the command line's arguments; returns the exit code.

    That is `EXIT_USER_ERROR` after a `UserError`. What the package logs, from level INFO, goes to the standard error.
    """
    log = logging.getLogger("jaxcnn")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    log.propagate = False  # absl, which tensorflow-datasets imports, would print it again
    try:
        return main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
