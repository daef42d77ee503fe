"""The console command ``jaxcnn``: finds the command that is asked for, and imports no other."""

import contextlib
import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Callable, Generator, Sequence

from jaxcnn.devices.memory import collect_garbage_seldom, keep_for_answers
from jaxcnn.errors import EXIT_USER_ERROR, MachineError, UserError, exit_code, nearest, of_the_machine
from jaxcnn.text import escaping_streams

KEEPS_NO_PROGRAMS = ("benchmark", "compile-report", "tune")
"""The commands that keep no compiled programs for the next start, because they measure how long compiling takes, or
compile what nothing needs again."""
KEEPS_MEMORY = ("evaluate", "predict", "explain", "features", "reproduce", "detect")
"""The commands that keep freed memory where there are CPUs alone, before JAX starts. Training does so where it knows
how large a batch is."""
EXIT_BROKEN_PIPE = 141
"""The exit code of a command whose output nothing reads any more: the one that a shell gives for SIGPIPE."""
COMMANDS = {
    "train": "train a recipe, or go on with a run",
    "compile": "compile a recipe's step into a file, for `train --compiled`",
    "finetune": "train a network with pretrained weights on other images",
    "evaluate": "measure a run, or a model with weights, on a data set",
    "predict": "name what is in image files",
    "explain": "show why a network answers as it does on an image",
    "activations": "draw what units of a network look for",
    "report": "show runs on a page: curves, errors, mistakes, config",
    "features": "extract features of images: what a network's layers put out",
    "probe": "fit a linear classifier, or nearest neighbours, to features",
    "transfer-study": "compare training, fine-tuning and features on few images",
    "baseline": "what came before: SIFT with Fisher vectors, sparse coding",
    "detect": "find objects in images: R-CNN, and the sliding window",
    "models": "list the networks: size, cost, published errors",
    "figures": "draw the lecture's figures, as SVG and PNG",
    "recipes": "list the recipes that come with this package",
    "convert": "write pretrained weights of a model under our names",
    "export": "write a trained network as a file for other programs",
    "data": "prepare, check, pack, preview or make a data set",
    "reproduce": "measure published weights as their publisher does",
    "submission": "score an ILSVRC submission file",
    "supervise": "start a training again when it fails",
    "interrupt": "kill a training at random moments, and compare the outcome",
    "fuzz-images": "try damaged image files on the decoder",
    "scaling-report": "predict how a recipe scales over chips",
    "compile-report": "compile training steps for other machines, and compare",
    "tune": "time convolutions here once, so that auto follows it",
    "benchmark": "measure speed beside other libraries",
}
"""What each command does, by its name; ``fuzz-images`` is the file ``fuzz_images.py`` of this folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names.

    Args:
        arguments: the command line's, by default ``sys.argv[1:]``.

    Returns:
        The command's exit code; `EXIT_USER_ERROR` where there is no such command.
    """
    if arguments is None:  # the process is ours alone
        collect_garbage_seldom()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        print(_help(), file=sys.stderr)
        return EXIT_USER_ERROR
    name, *rest = given
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"jaxcnn {importlib.metadata.version('jaxcnn')}")
        return 0
    if name not in COMMANDS:
        print(f"error: there is no command {name!r}: {nearest(name, COMMANDS)}", file=sys.stderr)
        return EXIT_USER_ERROR
    if arguments is None and name in KEEPS_MEMORY:
        keep_for_answers()
    command = importlib.import_module(f"jaxcnn.cli.{name.replace('-', '_')}")
    return run_command(command.main, rest, keeps_programs=name not in KEEPS_NO_PROGRAMS)


def run_command(command: Callable[[list[str]], int], arguments: list[str], *, keeps_programs: bool = True) -> int:
    """Runs a command's ``main``; returns its exit code.

    What it compiles is kept for the next start (see `jaxcnn.devices.compilation`), unless ``keeps_programs`` is False.

    The exit code is `EXIT_USER_ERROR` after a `UserError` and `EXIT_MACHINE_ERROR` after a `MachineError`. Their
    messages go to the standard error, and so does what the package logs at level INFO or above. Both streams
    escape what they cannot encode.
    """
    from jaxcnn.config.command_line import PATHS  # tyro, which only commands need

    with escaping_streams(), _logging(), PATHS:
        try:
            with _kept_programs() if keeps_programs else contextlib.nullcontext():
                return command(arguments)
        except (UserError, MachineError) as error:
            print(f"error: {error}", file=sys.stderr)
            return exit_code(error)
        except BrokenPipeError:
            # The reader of the output has gone, as `head` does; Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_BROKEN_PIPE
        except OSError as error:
            if (failure := of_the_machine(error)) is None:
                raise
            print(f"error: {failure}", file=sys.stderr)
            return exit_code(failure)


def _kept_programs() -> contextlib.AbstractContextManager[object]:
    if "jax" not in sys.modules:  # the command does without it
        return contextlib.nullcontext()
    from jaxcnn.devices.compilation import kept_programs

    return kept_programs()


@contextlib.contextmanager
def _logging() -> Generator[None]:
    log, handler = logging.getLogger("jaxcnn"), logging.StreamHandler()
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # absl, which tensorflow-datasets imports, would print it again
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def _help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: jaxcnn COMMAND [ARGUMENTS]",
            "       jaxcnn --version",
            "",
            "ILSVRC's convolutional networks in JAX: train them, measure them, use them.",
            "",
            *(f"  {name:{width}}  {what}" for name, what in COMMANDS.items()),
            "",
            "`jaxcnn COMMAND --help` lists what a command takes. `jaxcnn train` alone trains LeNet in seconds.",
        ]
    )
