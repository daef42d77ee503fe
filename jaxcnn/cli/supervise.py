#!/usr/bin/env python3
"""Keeps a training going: starts it again when it fails.

    supervise.py [--max-failures 5] -- scripts/train.py RECIPE --workdir FOLDER ...

The command runs in this Python if it is a .py file. After exit code 0 it is done, after 2 (something in the recipe or
the command cannot be) trying again cannot help; after any other, and after a signal, it is started again, with pauses
that double, until it has failed so many times without a newer checkpoint. SIGTERM and SIGINT are passed on to it, and
its end is then this script's.
"""

import dataclasses
import sys

import tyro

from jaxcnn.errors import UserError, run_script
from jaxcnn.supervision import Supervisor, named_workdir


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Start a training again when it fails. After -- comes its command, which must name the --workdir."""

    max_failures: int = 5
    """How many failures in a row, without a newer checkpoint, are too many."""
    first_pause: float = 5.0
    """Seconds until the command is started again; they double with every further failure in a row."""
    longest_pause: float = 300.0
    """Seconds at most."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    chosen = tyro.cli(Arguments, args=arguments[:end])
    command = arguments[end + 1 :]
    if not command:
        raise UserError("there is no command: supervise.py -- scripts/train.py RECIPE --workdir FOLDER")
    if command[0].endswith(".py"):
        command = [sys.executable, *command]
    supervisor = Supervisor(
        command,
        named_workdir(command) / "checkpoints",
        max_failures=chosen.max_failures,
        first_pause=chosen.first_pause,
        longest_pause=chosen.longest_pause,
        say=lambda sentence: print(f"supervise.py: {sentence}", file=sys.stderr, flush=True),
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(run_script(main))
