"""Runs: training and evaluating a network by a config, in a folder that keeps everything."""

import contextlib
import dataclasses
import importlib.metadata
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeGuard

import jax
import rich.console

from jaxcnn.assembly import Assembly, assemble
from jaxcnn.config import ConfigError, TrainConfig, differences, flatten, from_json, to_json
from jaxcnn.data.pipeline import Data
from jaxcnn.devices.memory import keep_freed_memory
from jaxcnn.devices.processes import AgreedStop, check_same, gather, is_writer
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.evaluation.result import Result, ranked_metrics
from jaxcnn.loading import initial_variables
from jaxcnn.recipes import CONFIG_FILE, RECIPE_FILE, load_recipe, same_code
from jaxcnn.text import say
from jaxcnn.training.checkpoint import Checkpoints, Restored
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.training.loop import STEPS_IN_FLIGHT, Plan, fit
from jaxcnn.training.manifest import saved_steps
from jaxcnn.training.profile import Profile
from jaxcnn.training.report import Reporter, read_metrics
from jaxcnn.training.state import TrainState
from jaxcnn.types import JsonObject, Variables

LARGE_BATCH = 1 << 20
"""The size in bytes of a uint8 batch above which a step's buffers are worth keeping (see `keep_freed_memory`)."""


@own_settings()
def train(
    config: TrainConfig | str | Path,
    workdir: str | Path,
    *,
    console: rich.console.Console | None = None,
    source: str | None = None,
    profile_steps: int | None = None,
) -> Result | None:
    """Trains, or goes on training, in a run folder.

    The folder holds ``config.json``, ``recipe.py``, ``metrics.jsonl``, ``tensorboard/`` and ``checkpoints/``. If it
    already holds a run of the same config, that run goes on from its newest whole checkpoint, and ends in the same bits
    as if it had never been interrupted.

    Several processes may train together (see `jaxcnn.devices.processes`): all call this function with the same run
    folder, which they share, and get the same result. Process 0 alone writes and prints.

    Args:
        config: the options of the run; or the name or path of a recipe, as `jaxcnn.recipes.load_recipe` takes it.
        workdir: the run folder, which is made if need be.
        console: what progress is printed to; by default the terminal.
        source: the text of the recipe that made the config. The folder keeps it as ``recipe.py``, because what it
            registers is needed again to evaluate the run.
        profile_steps: the number of steps to trace into ``profile/``; by default none.

    Returns:
        The last evaluation, or None if SIGTERM or SIGINT asked to stop; everything is saved in both cases.

    Raises:
        UserError: the config asks for something impossible, or the folder holds a run of another config.
    """
    if not isinstance(config, TrainConfig):
        recipe = load_recipe(config)
        config, source = recipe.config, recipe.source
    workdir = Path(workdir)
    if console is None or not is_writer():
        console = rich.console.Console(quiet=not is_writer(), markup=False, emoji=False)
    profile = Profile(workdir / "profile", profile_steps) if profile_steps is not None else None
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(StopRequest())
        assembly = assemble(config)
        keep_memory(assembly)
        stop = _agreed(asked, assembly)
        variables = None if saved_steps(workdir / "checkpoints") else initial_variables(assembly.config)
        _claim(workdir, assembly.config, source)
        for option, value in flatten(assembly.config).items():
            say(console, f"{option} = {value}")

        damage: list[str] = []
        keep, ranked = assembly.config.checkpoint.keep, ranked_metrics(assembly.config.evaluation.top_k)
        checkpoints = Checkpoints(workdir / "checkpoints", keep=keep, ranked=ranked, on_damage=damage.append)
        stack.enter_context(checkpoints)
        restored = checkpoints.restore(assembly.abstract_state)
        reporter = stack.enter_context(_reporter(workdir, assembly, restored, console))
        for sentence in damage:
            reporter.say(sentence)
        if restored:
            reporter.say(f"going on from step {restored.step} of {assembly.total_steps}")
        state = restored.state if restored else _initial_state(assembly, variables)
        report_bad_files = _BadFiles(assembly.data, reporter, read_metrics(workdir / "metrics.jsonl"))
        first_step = int(state.step)
        reporter.log("start", first_step, _facts(assembly, state) | {"damaged_checkpoints": damage})
        report_bad_files(first_step)

        def evaluate(state: TrainState) -> Result:
            measured = (state.variables, state.ema) if state.ema else (state.variables,)
            top_k = assembly.config.evaluation.top_k
            result, *averaged = assembly.evaluator.results(assembly.evaluation_feed, *measured, top_k=top_k, stop=stop)
            report_bad_files(int(state.step))
            return dataclasses.replace(result, ema=averaged[0] if averaged else None)

        plan = Plan(
            total_steps=assembly.total_steps,
            evaluation_steps=assembly.evaluation_steps,
            log_every_steps=assembly.config.log_every_steps,
            save_every_steps=assembly.config.checkpoint.every_steps,
            max_bad_steps=assembly.config.max_bad_steps,
            learning_rate=assembly.learning_rate,
            evaluated=Result.from_metrics(restored.metrics) if _is_evaluated(restored) else None,
            sums=restored.sums if restored else {},
            profile=profile,
        )
        if profile is not None:
            stack.callback(profile.stop)
        _, result = fit(
            state,
            step=assembly.train_step,
            feed=assembly.train_feed,
            evaluate=evaluate,
            plan=plan,
            checkpoints=checkpoints,
            reporter=reporter,
            stop=stop,
        )
    # No process may leave before the last checkpoint is written: at exit JAX waits for the others, but not for long.
    gather(None)
    return result


def keep_memory(assembly: Assembly) -> None:
    """Keeps freed memory for the next step, where that saves time: see `keep_freed_memory`."""
    large = math.prod(assembly.data.train.image_shape) * assembly.config.data.batch_size > LARGE_BATCH
    if large and jax.default_backend() == "cpu":
        keep_freed_memory()


def _agreed(asked: StopRequest, assembly: Assembly) -> Callable[[], bool]:
    """Returns the function that says whether to stop, after checking that all processes train the same."""
    if jax.process_count() == 1:
        return asked
    check_same("config", to_json(assembly.config))
    assembly.train_feed.check_same()
    assembly.evaluation_feed.check_same()
    return AgreedStop(asked, assembly.parallel, STEPS_IN_FLIGHT)


def _claim(workdir: Path, config: TrainConfig, source: str | None) -> None:
    """Writes config.json and the recipe's source, or makes sure that those in the folder are the same."""
    if (workdir / CONFIG_FILE).exists():
        kept = workdir / RECIPE_FILE
        if source is not None and kept.is_file() and not same_code(source, kept.read_text(encoding="utf-8")):
            raise UserError(
                f"the recipe's own code has changed since the run in {workdir} began: go on with `jaxcnn train "
                f"{workdir}`, which uses the recipe that the folder keeps, or choose another --workdir"
            )
        # The kept recipe is not executed, because everything is registered already. The published figures are taken
        # from the new config, because they may have been corrected.
        stored = dataclasses.replace(from_json((workdir / CONFIG_FILE).read_text()), published=config.published)
        changed = differences(stored, config)
        if changed:
            option, (old, new) = next(iter(changed.items()))
            others = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise ConfigError(
                f"{workdir} holds a run of another config, in which {option} is {old!r} and not {new!r}{others}: "
                "choose another --workdir, or delete the folder"
            )
    elif is_writer():
        options = to_json(config)  # what cannot be stored is refused before there is a folder
        workdir.mkdir(parents=True, exist_ok=True)
        if source is not None:
            _write_whole(workdir / RECIPE_FILE, source)
        _write_whole(workdir / CONFIG_FILE, options)


def _write_whole(file: Path, text: str) -> None:
    """Writes a file so that it is whole or absent at every moment."""
    scratch = file.with_suffix(".tmp")
    scratch.write_text(text)
    os.replace(scratch, file)


def _initial_state(assembly: Assembly, variables: Variables | None) -> TrainState:
    """Returns the state before the first step, with the variables that the config starts from, if there are any."""
    state = assembly.make_state()
    if variables is None:
        variables = initial_variables(assembly.config)
    if variables is None:
        return state
    variables = jax.device_put({"batch_stats": {}, **variables}, assembly.parallel.replicated)
    average = jax.tree.map(lambda leaf: leaf.copy(), variables) if state.ema else {}
    return dataclasses.replace(state, params=variables["params"], batch_stats=variables["batch_stats"], ema=average)


def _is_evaluated(restored: Restored | None) -> TypeGuard[Restored]:
    return restored is not None and "images" in restored.metrics


def _reporter(workdir: Path, assembly: Assembly, restored: Restored | None, console: rich.console.Console) -> Reporter:
    return Reporter(
        workdir,
        first_step=restored.step if restored else 0,
        evaluated=_is_evaluated(restored),
        total_steps=assembly.total_steps,
        epochs=assembly.config.epochs,
        steps_per_epoch=float(assembly.steps_per_epoch),
        console=console,
        writes=is_writer(),
    )


def _facts(assembly: Assembly, state: TrainState) -> JsonObject:
    """Returns the facts about a run that its config does not hold, for the log."""
    packages = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "class_names": assembly.data.class_names,
        "training_images": assembly.data.train.size,
        "evaluation_images": assembly.data.evaluation.size,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "processes": jax.process_count(),
        "devices": [device.device_kind for device in jax.devices()],
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


class _BadFiles:
    """Reports the images that could not be read, each once in a run: not again after an interruption."""

    def __init__(self, data: Data, reporter: Reporter, logged: Iterable[JsonObject]) -> None:
        self._data, self._reporter = data, reporter
        self._reported = {
            (line["split"], each["file"], each["reason"])
            for line in logged
            if line["kind"] == "bad_files"
            for each in line["files"]
        }

    def __call__(self, step: int) -> None:
        for split in (self._data.train, self._data.evaluation):
            # Each of several processes knows only of those among the images that it reads itself.
            bad = list(dict.fromkeys((name, reason) for found in gather(split.bad) for name, reason in found))
            new = [item for item in bad if (split.name, *item) not in self._reported]
            self._reported.update((split.name, *item) for item in new)
            if new:
                (first, reason), others = new[0], f" and {len(new) - 1} others" if len(new) > 1 else ""
                self._reporter.say(f"left out of {split.name}: {first} ({reason}){others}")
                files = [{"file": name, "reason": reason} for name, reason in new]
                self._reporter.log("bad_files", step, {"split": split.name, "count": len(new), "files": files})
            split.refuse_bad(bad)
