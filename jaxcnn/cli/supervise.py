"""Keeps a training going: starts it again when it fails.

    jaxcnn supervise [--max-failures 5] -- train RECIPE --workdir FOLDER ...

What follows -- is a command of `jaxcnn`, a Python file, or any other program; it must name its --workdir. After exit
code 0 the supervisor is done. After 2 trying again cannot help, because the recipe or the command asks for something
impossible. After any other exit code, and after a signal, it starts the command again, with pauses that double, until
that has failed --max-failures times without a newer checkpoint. SIGTERM and SIGINT are passed on to the command, whose
exit code is then that of the supervisor.
"""

import dataclasses
import sys

import tyro

from jaxcnn.cli.main import COMMANDS
from jaxcnn.errors import UserError
from jaxcnn.supervision import Supervisor, named_workdir


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Start a training again when it fails. After -- comes its command, such as: train RECIPE --workdir FOLDER."""

    max_failures: int = 5
    """The number of failures in a row, without a newer checkpoint, after which to give up."""
    first_pause: float = 5.0
    """The number of seconds until the command is started again; it doubles with every further failure in a row."""
    longest_pause: float = 300.0
    """The most seconds that a pause takes."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    chosen = tyro.cli(Arguments, prog="jaxcnn supervise", args=arguments[:end])
    command = program(arguments[end + 1 :])
    supervisor = Supervisor(
        command,
        named_workdir(command) / "checkpoints",
        max_failures=chosen.max_failures,
        first_pause=chosen.first_pause,
        longest_pause=chosen.longest_pause,
        say=lambda sentence: print(f"jaxcnn supervise: {sentence}", file=sys.stderr, flush=True),
    )
    return supervisor.run()


def program(command: list[str]) -> list[str]:
    """Returns the program that a command stands for, and its arguments.

    A command of ``jaxcnn`` and a ``.py`` file run in this Python; anything else is the program itself.

    Raises:
        UserError: the command is empty.
    """
    if not command:
        raise UserError("there is no command to supervise: jaxcnn supervise -- train RECIPE --workdir FOLDER")
    if command[0] in COMMANDS:
        return [sys.executable, "-m", "jaxcnn", *command]
    return [sys.executable, *command] if command[0].endswith(".py") else command
