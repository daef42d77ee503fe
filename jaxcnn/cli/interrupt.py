"""Shows that a killed run ends in the same bits, and in the same log: kills a recipe's training at random moments.

jaxcnn interrupt [RECIPE] [--kills 20] [--signal KILL|TERM] [--between-lines] [-- --OPTION VALUE ...]
"""

import dataclasses
import signal
import tempfile
from pathlib import Path
from typing import Literal

import tyro

from jaxcnn.trials.interruption import interrupt_repeatedly


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Kill a recipe's training at random moments, start it again, and compare the outcome bit for bit."""

    recipe: tyro.conf.Positional[str] = "resnet20_digits"
    """The recipe to train: a name that `jaxcnn recipes` lists, or a file. After -- come options of `jaxcnn train`."""
    kills: int = 20
    """The number of signals to send."""
    signal: Literal["KILL", "TERM"] = "KILL"
    """The signal: SIGKILL ends the process at once; SIGTERM lets it finish the step and save."""
    seed: int = 0
    """The seed from which the moments are drawn."""
    between_lines: bool = False
    """Send each signal once a step between two lines of the log is saved, and not at a random moment."""


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 where a bit differs."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    chosen = tyro.cli(Arguments, prog="jaxcnn interrupt", args=arguments[:end])
    number = signal.Signals[f"SIG{chosen.signal}"]
    with tempfile.TemporaryDirectory() as folder:
        outcome = interrupt_repeatedly(
            [chosen.recipe, *arguments[end + 1 :]],
            Path(folder) / "runs",
            kills=chosen.kills,
            number=number,
            seed=chosen.seed,
            between_lines=chosen.between_lines,
        )
    between = f", {outcome.between_lines} times between two lines of the log" if outcome.between_lines else ""
    steps = ", ".join(map(str, outcome.resumed_after))
    print(f"{outcome.kills} times SIG{chosen.signal}, going on from steps {steps}{between}")
    same = "bit-identical to" if not outcome.differing else "NOT the same as"
    print(f"{outcome.finished_runs} finished runs: final state and metrics {same} the uninterrupted run's")
    for name in outcome.differing:
        print(f"  differs: {name}")
    return 1 if outcome.differing else 0
