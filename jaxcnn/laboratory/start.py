"""The time from a command to its first training step, by part, each in a fresh process."""

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import jax

from jaxcnn.assembly import assemble
from jaxcnn.children import Children
from jaxcnn.config import TrainConfig, from_json, to_json
from jaxcnn.devices.compilation import kept_programs
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.laboratory.dry_run import data_or_stand_in, first_batch, refusing_exhausted
from jaxcnn.recipes import load_recipe
from jaxcnn.training.step import zero_totals

PARTS = ("interpreter", "imports", "data", "state", "trace", "lower", "compile", "first step")
"""The parts of a start, in their order. The data are opened and read as far as the first batch, or stood in for by
noise where they are not there; reading the recipe counts to them."""
_PROGRAM = """
import time
stamps = [time.time()]
from jaxcnn.devices.memory import collect_garbage_seldom
collect_garbage_seldom()
import jaxcnn.cli.train
stamps.append(time.time())
import sys
from jaxcnn.laboratory.start import take_first_step
take_first_step(*sys.argv[1:], stamps)
"""
"""The program that is started: it does what `jaxcnn train` does, and notes when each part ends."""


def time_start(recipe: str, config: TrainConfig, *, rounds: int) -> dict[str, dict[str, float]]:
    """Returns the seconds of each part of a start, and of the whole as ``all``: the median over rounds of each.

    In each round a training is started twice, with a folder of compiled programs of its own: ``cold`` finds nothing
    there, and ``kept`` what the first has left. Nothing is written to a run folder, and nothing is evaluated.

    Args:
        recipe: the name or the path of the recipe, which may register what the training needs.
        config: the options of the training.
        rounds: the number of times that each is started.

    Raises:
        UserError: the training cannot be started; the last line of its error is quoted.
    """
    taken: dict[str, list[Mapping[str, float]]] = {"cold": [], "kept": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name in taken:
                taken[name].append(_start(recipe, config, cache))
    return {
        name: {part: statistics.median(each[part] for each in starts) for part in (*PARTS, "all")}
        for name, starts in taken.items()
    }


def _start(recipe: str, config: TrainConfig, cache: str) -> dict[str, float]:
    """Starts a training in a process of its own; returns the seconds of each part."""
    with Children() as children:
        began = time.time()  # the one clock that processes share
        child = children.start(
            [sys.executable, "-c", _PROGRAM, recipe, to_json(config), cache],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said, errors = child.communicate()
    if child.returncode:
        raise UserError(f"the training cannot be started: {(errors.strip().splitlines() or ['its process ended'])[-1]}")
    stamps = [began, *json.loads(said.splitlines()[-1])]
    seconds = {part: end - start for part, (start, end) in zip(PARTS, itertools.pairwise(stamps), strict=True)}
    return seconds | {"all": stamps[-1] - began}


@own_settings()
def take_first_step(recipe: str, config: str, cache: str, stamps: list[float]) -> None:
    """Does what a training does as far as its first step, and prints when each of `PARTS` has ended.

    Args:
        recipe: as for `time_start`.
        config: the options of the training, as JSON.
        cache: the folder of compiled programs.
        stamps: when the interpreter and the imports had ended, in seconds since the epoch.
    """
    stamps = list(stamps)

    def done() -> None:
        stamps.append(time.time())

    load_recipe(recipe)
    options = from_json(config)
    with kept_programs(Path(cache)), refusing_exhausted(options):
        data, assumed = data_or_stand_in(options.data)
        assembly = assemble(options, data)
        batch = first_batch(assembly) if assumed else next(assembly.train_feed.training(0, 1))
        jax.block_until_ready(batch)
        done()
        state, totals = jax.block_until_ready((assembly.make_state(), zero_totals()))
        done()
        traced = assembly.train_step.trace(state, totals, batch)
        done()
        lowered = traced.lower()
        done()
        compiled = lowered.compile()
        done()
        jax.block_until_ready(compiled(state, totals, batch))
        done()
    print(json.dumps(stamps))
