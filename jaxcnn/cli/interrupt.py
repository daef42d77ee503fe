#!/usr/bin/env python3
"""Shows that a killed run ends in the same bits: kills a recipe's training at random moments and starts it again.

interrupt.py [RECIPE] [--kills 20] [--signal KILL|TERM] [-- --OPTION VALUE ...]
"""

import dataclasses
import signal
import sys
import tempfile
from pathlib import Path
from typing import Literal

import tyro

from jaxcnn.errors import run_script
from jaxcnn.trials.interruption import interrupt_repeatedly

SCRIPTS = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Kill a recipe's training at random moments, start it again, and compare the outcome bit for bit."""

    recipe: tyro.conf.Positional[Path] = SCRIPTS.parent / "configs" / "resnet20_digits.py"
    """What to train."""
    kills: int = 20
    """How many signals to send."""
    signal: Literal["KILL", "TERM"] = "KILL"
    """SIGKILL takes the process away as it is; SIGTERM lets it finish the step and save."""
    seed: int = 0
    """Of the moments."""


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 where a bit differs."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    chosen = tyro.cli(Arguments, args=arguments[:end])
    command = [str(SCRIPTS / "train.py"), str(chosen.recipe), *arguments[end + 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        number = signal.Signals[f"SIG{chosen.signal}"]
        outcome = interrupt_repeatedly(
            command, Path(folder) / "runs", kills=chosen.kills, number=number, seed=chosen.seed
        )
    print(f"{outcome.kills} times SIG{chosen.signal}, going on from steps {', '.join(map(str, outcome.resumed_after))}")
    same = "bit-identical to" if not outcome.differing else "NOT the same as"
    print(f"{outcome.finished_runs} finished runs: final state and metrics {same} the uninterrupted run's")
    for name in outcome.differing:
        print(f"  differs: {name}")
    return 1 if outcome.differing else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
