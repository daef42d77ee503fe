"""Runs: a config in, a trained and evaluated network in a folder out."""

import dataclasses
import hashlib
import importlib.metadata
import math
import os
from pathlib import Path
from typing import Any

import jax
import rich.console

from jaxcnn.assembly import Assembly, assemble, evaluate_split, split_arrays
from jaxcnn.config import ConfigError, TrainConfig, differences, flatten, to_json
from jaxcnn.data.pipeline import Data, Split
from jaxcnn.evaluation.evaluate import Result
from jaxcnn.memory import keep_freed_memory
from jaxcnn.recipes import CONFIG_FILE, load_config
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.training.loop import STEPS_IN_FLIGHT, fit
from jaxcnn.training.processes import AgreedStop, check_same, gather, is_writer
from jaxcnn.training.report import Reporter
from jaxcnn.training.state import TrainState

LARGE_BATCH = 1 << 20
"""Bytes of a uint8 batch above which a step's buffers are worth keeping (see `keep_freed_memory`)."""


def train(config: TrainConfig, workdir: Path, console: rich.console.Console) -> Result | None:
    """Trains, or goes on training, in a run folder.

    The folder holds ``config.json``, ``metrics.jsonl``, ``tensorboard/`` and ``checkpoints/``. If it holds a run of the
    same config already, that run goes on from its newest whole checkpoint, and ends in the bits it would have ended in.

    Several processes may train together (see `jaxcnn.training.processes`): all call this, with one run folder that they
    share, and get the same result. Process 0 alone writes and says something.

    Args:
        config: the recipe.
        workdir: the run folder; made if need be.
        console: where progress goes.

    Returns:
        The last evaluation, or None if SIGTERM or SIGINT asked to stop; everything is saved then.

    Raises:
        UserError: something in the config is impossible, or the folder holds a run of another config.
    """
    with StopRequest() as asked:
        if not is_writer():
            console = rich.console.Console(quiet=True)
        assembly = assemble(config)
        keep_memory(assembly)
        config, data, parallel = assembly.config, assembly.data, assembly.parallel
        stop = asked
        if jax.process_count() > 1:
            check_same("config", to_json(config))
            check_same("data set", [_fingerprint(data.train), _fingerprint(data.evaluation)])
            stop = AgreedStop(asked, parallel, STEPS_IN_FLIGHT)
        _claim(workdir, config)
        for option, value in flatten(config).items():
            console.print(f"{option} = {value}", highlight=False, soft_wrap=True)

        damage: list[str] = []
        with Checkpoints(workdir / "checkpoints", keep=config.checkpoint.keep, on_damage=damage.append) as checkpoints:
            restored = checkpoints.restore(assembly.abstract_state)
            first_step = restored.step if restored else 0
            measured = restored is not None and "images" in restored.metrics
            reporter = Reporter(
                workdir,
                first_step=first_step,
                evaluated=measured,
                total_steps=assembly.total_steps,
                epochs=config.epochs,
                steps_per_epoch=assembly.steps_per_epoch,
                console=console,
                writes=is_writer(),
            )
            with reporter:
                for sentence in damage:
                    reporter.say(sentence)
                if restored:
                    reporter.say(f"going on from step {first_step} of {assembly.total_steps}")
                state = restored.state if restored else assembly.make_state()
                reporter.log("start", first_step, _facts(assembly, state) | {"damaged_checkpoints": damage})
                tell_bad_files = _BadFiles(data, reporter)
                tell_bad_files(first_step)
                arrays = split_arrays(data.train, parallel)
                evaluation_arrays = split_arrays(data.evaluation, parallel)
                rows = parallel.rows(config.data.batch_size)

                def evaluate_state(state: TrainState) -> Result:
                    result = evaluate_split(
                        assembly.evaluation_step,
                        state.variables,
                        data.evaluation,
                        evaluation_arrays,
                        batch_size=config.evaluation.batch_size,
                        top_k=config.evaluation.top_k,
                        parallel=parallel,
                        stop=stop,
                        ema=state.ema,
                    )
                    tell_bad_files(int(state.step))
                    return result

                _, result = fit(
                    state,
                    first_step=first_step,
                    total_steps=assembly.total_steps,
                    step=assembly.train_step,
                    batches=lambda step: data.train.training_batches(
                        config.seed, config.data.batch_size, step, assembly.total_steps, rows
                    ),
                    put=parallel.put_batch,
                    arrays=arrays,
                    learning_rate=assembly.learning_rate,
                    log_every_steps=config.log_every_steps,
                    evaluate=evaluate_state,
                    evaluation_steps=assembly.evaluation_steps,
                    evaluated=Result.from_metrics(restored.metrics) if measured else None,
                    checkpoints=checkpoints,
                    checkpoint_config=config.checkpoint,
                    reporter=reporter,
                    stop=stop,
                    max_bad_steps=config.max_bad_steps,
                )
        # Nobody leaves before the last checkpoint is written: JAX's way out waits for the others, but not for long.
        gather(None)
    return result


def keep_memory(assembly: Assembly) -> None:
    """Has freed memory kept for the next step, where that saves time: see `keep_freed_memory`."""
    large = math.prod(assembly.data.train.image_shape) * assembly.config.data.batch_size > LARGE_BATCH
    if large and jax.default_backend() == "cpu":
        keep_freed_memory()


def _claim(workdir: Path, config: TrainConfig) -> None:
    """Writes config.json, or makes sure that the one there says the same."""
    file = workdir / CONFIG_FILE
    if file.exists():
        # What others published of a recipe may be put right later.
        changed = differences(dataclasses.replace(load_config(workdir), published=config.published), config)
        if changed:
            option, (old, new) = next(iter(changed.items()))
            others = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise ConfigError(
                f"{workdir} holds a run of another config, {option} {old!r} there and {new!r} here{others}: "
                "choose another --workdir, or delete the folder"
            )
    elif is_writer():
        workdir.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(".tmp")
        scratch.write_text(to_json(config))
        os.replace(scratch, file)


def _fingerprint(split: Split) -> list[Any]:
    """What two processes must have alike: where a split is resident, every byte, because each keeps its own copy."""
    digest = hashlib.sha256()
    if split.resident:
        digest.update(split.images)
        digest.update(split.labels)
    return [split.name, list(split.class_names), split.size, digest.hexdigest()]


def _facts(assembly: Assembly, state: TrainState) -> dict[str, Any]:
    """What one would want to know of a run besides its config."""
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
    """Counts and names, once each, the images that could not be read."""

    def __init__(self, data: Data, reporter: Reporter) -> None:
        self._data, self._reporter, self._told = data, reporter, set()

    def __call__(self, step: int) -> None:
        for split in (self._data.train, self._data.evaluation):
            # Of several processes, each finds those among the images that it reads.
            bad = list(dict.fromkeys(tuple(item) for of_process in gather(split.bad) for item in of_process))
            new = [item for item in bad if (split.name, *item) not in self._told]
            self._told.update((split.name, *item) for item in new)
            if new:
                (first, reason), others = new[0], f" and {len(new) - 1} others" if len(new) > 1 else ""
                self._reporter.say(f"left out of {split.name}: {first} ({reason}){others}")
                files = [{"file": name, "reason": reason} for name, reason in new]
                self._reporter.log("bad_files", step, {"split": split.name, "count": len(new), "files": files})
            split.refuse_bad(bad)
