"""Runs: training and evaluating a network by a config, in a folder that keeps everything."""

import contextlib
import dataclasses
import datetime
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import rich.console

from jaxcnn.assembly import Assembly, assemble, count_parameters
from jaxcnn.compiled_step import read_step
from jaxcnn.config import TrainConfig, flatten, to_json
from jaxcnn.data.fingerprint import Fingerprint
from jaxcnn.data.pipeline import Data
from jaxcnn.devices.compilation import kept_programs
from jaxcnn.devices.memory import leave_compiling_behind
from jaxcnn.devices.processes import AgreedStop, check_same, gather, is_writer
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.evaluation.result import Result, ranked_metrics
from jaxcnn.loading import initial_variables
from jaxcnn.paths import expanded
from jaxcnn.provenance import versions
from jaxcnn.recipes import Recipe, load_recipe
from jaxcnn.run_changes import with_whole_paths
from jaxcnn.run_folder import RunFolder
from jaxcnn.text import say
from jaxcnn.training.checkpoint import Checkpoints, Restored
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.training.loop import STEPS_IN_FLIGHT, Plan, fit
from jaxcnn.training.manifest import saved_steps
from jaxcnn.training.profile import Profile
from jaxcnn.training.report import Reporter, read_metrics
from jaxcnn.training.state import TrainState
from jaxcnn.types import JsonObject, Variables


@own_settings()
def train(
    config: TrainConfig | str | Path,
    workdir: str | Path,
    *,
    console: rich.console.Console | None = None,
    recipe: Recipe | None = None,
    override: bool = False,
    profile_steps: int | None = None,
    compilation_cache: Path | None = None,
    compiled: Path | None = None,
) -> Result | None:
    """Trains, or goes on training, in a run folder.

    The folder holds ``config.json``, ``recipe.py``, ``data.json``, ``metrics.jsonl``, ``tensorboard/`` and
    ``checkpoints/``. If it already holds a run of the same config, that run goes on from its newest whole checkpoint,
    and ends in the same bits as if it had never been interrupted. One training at a time can be in a folder. Where it
    is called in another thread than the main one, no signal stops it.

    Several processes may train together (see `jaxcnn.devices.processes`): all call this function with the same run
    folder, which they share, and get the same result. Process 0 alone writes and prints.

    Args:
        config: the options of the run; or the name or path of a recipe, as `jaxcnn.recipes.load_recipe` takes it.
        workdir: the run folder, which is made if need be.
        console: what progress is printed to; by default the terminal.
        recipe: the recipe that made the config. The folder keeps its code, because what it registers is needed again to
            evaluate the run.
        override: whether a run may go on with other ``epochs``, another learning rate, and what else
            `jaxcnn.run_changes.OVERRIDABLE` names. The folder keeps a record of it in ``overrides.json``.
        profile_steps: the number of steps to trace into ``profile/``; by default none.
        compilation_cache: the folder in which compiled programs are kept for the next start: see `kept_programs`, which
            says what it is by default.
        compiled: the file of the compiled step, which `jaxcnn compile` has written for these devices; by default the
            step is compiled. It is a program that is run, so it must come from somebody whom you trust.

    Returns:
        The last evaluation, or None if SIGTERM or SIGINT asked to stop; everything is saved in both cases.

    Raises:
        UserError: the config asks for something impossible; or the folder holds a run of another config or of other
            images, is in use, or cannot be written.
        MachineError: the disk is full, or fails; what was saved before stays whole.
    """
    if not isinstance(config, TrainConfig):
        recipe = load_recipe(config)
        config = recipe.config
    workdir, config = expanded(workdir), with_whole_paths(config)
    if console is None or not is_writer():
        console = rich.console.Console(quiet=not is_writer(), markup=False, emoji=False)
    profile = Profile(workdir / "profile", profile_steps) if profile_steps is not None else None
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(StopRequest())
        folder = stack.enter_context(RunFolder(workdir, recipe, override=override))
        compilations = stack.enter_context(kept_programs(compilation_cache))
        assembly = assemble(config)
        compiled_step = None if compiled is None else read_step(expanded(compiled), assembly, recipe)
        stop = _agreed(asked, assembly)
        variables = None if saved_steps(workdir / "checkpoints") else initial_variables(assembly.config)
        folder.claim(assembly.config, _fingerprints(assembly.data), images_of=assembly.config.data.name)
        for option, value in flatten(assembly.config).items():
            say(console, f"{option} = {value}")

        damage: list[str] = []
        keep, ranked = assembly.config.checkpoint.keep, ranked_metrics(assembly.config.evaluation.top_k)
        checkpoints = Checkpoints(workdir / "checkpoints", keep=keep, ranked=ranked, on_damage=damage.append)
        stack.enter_context(checkpoints)
        restored = checkpoints.restore(assembly.abstract_state)
        evaluated = _evaluated(restored, assembly.config)
        first_step = restored.step if restored else 0
        _check_step(first_step, evaluated, assembly, folder)
        folder.begin(first_step)
        reporter = stack.enter_context(_reporter(folder, assembly, first_step, evaluated, console))
        for sentence in damage:
            reporter.say(sentence)
        if restored:
            reporter.say(f"going on from step {restored.step} of {assembly.total_steps}")
        for option, (old, new) in folder.overrides.items():
            reporter.say(f"overridden from step {first_step} on: {option} is {new!r} and was {old!r}")
        state = restored.state if restored else _initial_state(assembly, variables)
        if assembly.partition:
            trained, every = count_parameters(assembly.trained(state.params)), count_parameters(state.params)
            reporter.say(f"{trained:,} of {every:,} parameters are trained")
        report_bad_files = _BadFiles(assembly.data, reporter, read_metrics(workdir / "metrics.jsonl"))
        facts = {"damaged_checkpoints": damage, "overrides": folder.past_overrides()}
        reporter.log("start", first_step, _facts(assembly, state) | facts)
        report_bad_files(first_step)

        def after_compiling(step: int) -> None:
            leave_compiling_behind()
            reporter.say(str(compilations))
            reporter.log("compilations", step, dataclasses.asdict(compilations))

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
            evaluated=evaluated,
            sums=restored.sums if restored else {},
            profile=profile,
            after_compiling=after_compiling,
        )
        if profile is not None:
            stack.callback(profile.stop)
        _, result = fit(
            state,
            step=assembly.train_step,
            compiled=compiled_step,
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


def _agreed(asked: StopRequest, assembly: Assembly) -> Callable[[], bool]:
    """Returns the function that says whether to stop, after checking that all processes train the same."""
    if jax.process_count() == 1:
        return asked
    check_same("config", to_json(assembly.config))
    assembly.train_feed.check_same()
    assembly.evaluation_feed.check_same()
    return AgreedStop(asked, assembly.parallel, STEPS_IN_FLIGHT)


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


def _fingerprints(data: Data) -> dict[str, Fingerprint]:
    """Returns the fingerprints of the splits, after checking that all processes have the same."""
    found = {"training": data.train.fingerprint(), "evaluation": data.evaluation.fingerprint()}
    check_same("data set", {use: each.to_json() for use, each in found.items()})
    return found


def _evaluated(restored: Restored | None, config: TrainConfig) -> Result | None:
    """Returns the evaluation of a checkpoint, where it has one that counts the errors of this config."""
    if restored is None or "images" not in restored.metrics:
        return None
    result = Result.from_metrics(restored.metrics)
    return result if set(result.errors) == set(config.evaluation.top_k) else None


def _check_step(step: int, evaluated: Result | None, assembly: Assembly, folder: RunFolder) -> None:
    """Refuses to go on beyond the end of training, or before it where nothing can be written."""
    if step > assembly.total_steps:
        raise UserError(
            f"{folder.path} is at step {step}, and {assembly.config.epochs:g} epochs end at step "
            f"{assembly.total_steps}: raise epochs"
        )
    if not folder.writable and (step < assembly.total_steps or evaluated is None):
        raise UserError(
            f"{folder.path} cannot be written, and the run there is at step {step} of {assembly.total_steps}: make it "
            "writable, or copy it"
        )


def _reporter(
    folder: RunFolder, assembly: Assembly, first_step: int, evaluated: Result | None, console: rich.console.Console
) -> Reporter:
    return Reporter(
        folder.path,
        first_step=first_step,
        evaluated=evaluated is not None,
        total_steps=assembly.total_steps,
        epochs=assembly.config.epochs,
        steps_per_epoch=float(assembly.steps_per_epoch),
        console=console,
        writes=is_writer() and folder.writable,
    )


def _facts(assembly: Assembly, state: TrainState) -> JsonObject:
    """Returns the facts about a run that its config does not hold, for the log."""
    packages = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    trained = {"trained_parameters": count_parameters(assembly.trained(state.params))} if assembly.partition else {}
    return trained | {
        "class_names": assembly.data.class_names,
        "training_images": assembly.data.train.size,
        "evaluation_images": assembly.data.evaluation.size,
        "parameters": count_parameters(state.params),
        "processes": jax.process_count(),
        "devices": [device.device_kind for device in jax.devices()],
        "versions": versions(packages),
        "python": platform.python_version(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
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
