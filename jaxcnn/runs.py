"""Where the parts meet: a config in, a trained and evaluated network in a run folder out."""

import dataclasses
import functools
import importlib.metadata
import math
import os
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import rich.console

from jaxcnn.augment.compose import augment, normalize
from jaxcnn.config import (
    ConfigError,
    ModelConfig,
    Normalization,
    TrainConfig,
    differences,
    flatten,
    from_json,
    to_json,
)
from jaxcnn.data.pipeline import Data, Split, open_data
from jaxcnn.errors import UserError, nearest
from jaxcnn.evaluation.evaluate import Result, evaluate, make_evaluation_step
from jaxcnn.evaluation.metrics import check_top_k
from jaxcnn.memory import keep_freed_memory
from jaxcnn.models.registry import create_model
from jaxcnn.ops.lowering_rules import Lowering, read_tuned
from jaxcnn.ops.lowerings import LOWERINGS
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.training.loop import fit
from jaxcnn.training.losses import softmax_cross_entropy
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.parallel import DataParallel
from jaxcnn.training.report import Reporter
from jaxcnn.training.state import TrainState, create_state
from jaxcnn.training.step import make_train_step

CONFIG_FILE = "config.json"
LARGE_BATCH = 1 << 20
"""Bytes of a uint8 batch above which a step's buffers are worth keeping (see `keep_freed_memory`)."""


def load_config(path: Path) -> TrainConfig:
    """Reads a recipe (a Python file that sets ``config``) or the config of a run folder.

    Raises:
        UserError: there is no such file or folder, or it holds no config.
        ConfigError: an option in it is wrong.
    """
    if path.is_dir():
        file = path / CONFIG_FILE
        if not file.is_file():
            raise UserError(f"{path} is not a run folder: it has no {CONFIG_FILE}")
        return from_json(file.read_text())
    if not path.is_file():
        raise UserError(f"there is no recipe or run folder {path}: give a file of configs/ or a folder of runs/")
    try:
        config = runpy.run_path(str(path)).get("config")
    except UserError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path} is not a recipe: it must set config = TrainConfig(...)")
    return config


def make_model(config: ModelConfig, num_classes: int) -> nn.Module:
    """Returns the network a config names, with the data set's number of classes unless the config says otherwise.

    Raises:
        ModelError: the name or an option is unknown.
    """
    return create_model(
        config.name,
        num_classes=config.num_classes or num_classes,
        dtype=jnp.dtype(config.dtype),
        lowering=_lowering(config.lowering),
        remat=config.remat,
        **config.options,
    )


def _lowering(name: str) -> Lowering:
    """A lowering's name, or the table in a file."""
    if name in ("auto", *LOWERINGS):
        return name
    try:
        return read_tuned(Path(name))
    except (OSError, ValueError) as error:
        choices = nearest(name, ("auto", *LOWERINGS))
        raise ConfigError(f"model.lowering {name!r} is no lowering ({choices}) and no tuned table: {error}") from None


def split_arrays(split: Split, parallel: DataParallel) -> dict[str, jax.Array] | None:
    """Returns a resident split's images and labels on every device, else None."""
    if not split.resident:
        return None
    return jax.device_put({"image": split.images, "label": split.labels}, parallel.replicated)


def fetch(batch: Mapping[str, jax.Array], arrays: Mapping[str, jax.Array] | None) -> tuple[jax.Array, jax.Array]:
    """Returns a batch's uint8 images and labels: its own, or those its ``index`` picks from the device's arrays."""
    if arrays is None:
        return batch["image"], batch["label"]
    pick = functools.partial(jnp.take, indices=batch["index"], axis=0, mode="clip")
    return pick(arrays["image"]), pick(arrays["label"])


def evaluation_step(
    model: nn.Module, normalization: Normalization, top_k: tuple[int, ...]
) -> Callable[..., dict[str, jax.Array]]:
    """Returns `make_evaluation_step` for a network: images fetched and normalized, not augmented."""

    def prepare(batch, arrays):
        images, labels = fetch(batch, arrays)
        return normalize(images, normalization), labels

    return make_evaluation_step(model.apply, prepare, top_k)


def check_normalization(normalization: Normalization, channels: int) -> None:
    """Refuses means and deviations that do not fit the channels.

    Raises:
        ConfigError: naming the option.
    """
    for option in ("mean", "std"):
        given = len(getattr(normalization, option))
        if given not in (1, channels):
            raise ConfigError(
                f"normalization.{option} has {given} values, and images have {channels} channels: give one each, or one"
            )


def check_image_shape(model: nn.Module, variables: Any, shape: tuple[int, int, int]) -> None:
    """Refuses images that a network's parameters do not fit, without computing anything.

    Raises:
        UserError: naming the shape; dense layers on feature maps take only the size they were made for.
    """
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    try:
        jax.eval_shape(lambda variables, images: model.apply(variables, images, train=False), variables, images)
    except (ValueError, flax.errors.FlaxError) as error:
        size = "x".join(map(str, shape))
        said = str(error).splitlines()[0].split(" (http")[0]
        raise UserError(
            f"images of {size} (data.evaluation_crop, data.channels) do not fit this network: {said}"
        ) from None


@dataclasses.dataclass(frozen=True)
class Assembly:
    """A config's parts, joined and checked; nothing compiled yet."""

    config: TrainConfig
    """With everything resolved."""
    data: Data
    model: nn.Module
    parallel: DataParallel
    learning_rate: optax.Schedule
    total_steps: int
    make_state: Callable[[], TrainState]
    """Jitted; pure."""
    train_step: jax.stages.Wrapped
    evaluation_step: Callable[..., Any]

    @property
    def steps_per_epoch(self) -> float:
        """Need not be whole: batches run on from one epoch into the next."""
        return self.data.train.size / self.config.data.batch_size

    @property
    def evaluation_steps(self) -> frozenset[int]:
        """The steps after which to evaluate."""
        every, last = self.config.evaluation.every_epochs, math.floor(self.config.epochs)
        steps = {math.ceil(epoch * self.steps_per_epoch) for epoch in range(every, last + 1, every)}
        return frozenset(step for step in steps if step < self.total_steps) | {self.total_steps}

    @property
    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the state, made without computing it."""
        replicated = self.parallel.replicated
        state = jax.eval_shape(self.make_state)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated), state)


def assemble(config: TrainConfig) -> Assembly:
    """Joins a config's parts. Everything that can be refused is refused here, before anything is compiled.

    Raises:
        UserError: an option does not fit the data set, the network or the devices.
    """
    num_classes = config.model.num_classes
    make_model(config.model, num_classes or 1)  # a wrong name is refused before a data set is read
    parallel = DataParallel.over_all_devices()
    parallel.check_batch_size("data.batch_size", config.data.batch_size)
    check_normalization(config.normalization, config.data.channels)
    data = open_data(config.data)
    if num_classes is not None and num_classes < len(data.class_names):
        raise ConfigError(f"model.num_classes is {num_classes}, and the data set has {len(data.class_names)} classes")
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, num_classes=num_classes or len(data.class_names))
    )
    check_top_k(config.evaluation.top_k, config.model.num_classes)
    model = make_model(config.model, config.model.num_classes)

    steps_per_epoch = data.train.size / config.data.batch_size
    total_steps = math.ceil(config.epochs * steps_per_epoch)
    learning_rate, optimizer = make_optimizer(config.optimizer, steps_per_epoch, total_steps)
    init_key, augment_key, dropout_key = jax.random.split(jax.random.key(config.seed), 3)

    def prepare_training(batch, arrays):
        images, labels = fetch(batch, arrays)
        place_key = jax.vmap(lambda epoch, place: jax.random.fold_in(jax.random.fold_in(augment_key, epoch), place))
        images = augment(place_key(batch["epoch"], batch["place"]), images, config.augmentations)
        return normalize(images, config.normalization), labels

    make_state = jax.jit(
        lambda: create_state(model, optimizer, init_key, data.train.image_shape), out_shardings=parallel.replicated
    )
    # An image too small for the network is refused here.
    check_image_shape(model, jax.eval_shape(make_state).variables, data.evaluation.image_shape)
    return Assembly(
        config=config,
        data=data,
        model=model,
        parallel=parallel,
        learning_rate=learning_rate,
        total_steps=total_steps,
        make_state=make_state,
        train_step=make_train_step(
            apply=model.apply,
            prepare=prepare_training,
            loss=functools.partial(softmax_cross_entropy, label_smoothing=config.loss.label_smoothing),
            optimizer=optimizer,
            dropout_key=dropout_key,
            auxiliary_weight=config.loss.auxiliary_weight,
        ),
        evaluation_step=evaluation_step(model, config.normalization, config.evaluation.top_k),
    )


def train(config: TrainConfig, workdir: Path, console: rich.console.Console) -> Result | None:
    """Trains, or goes on training, in a run folder.

    The folder holds ``config.json``, ``metrics.jsonl``, ``tensorboard/`` and ``checkpoints/``. If it holds a run of the
    same config already, that run goes on from its newest whole checkpoint, and ends in the bits it would have ended in.

    Args:
        config: the recipe.
        workdir: the run folder; made if need be.
        console: where progress goes.

    Returns:
        The last evaluation, or None if SIGTERM or SIGINT asked to stop; everything is saved then.

    Raises:
        UserError: something in the config is impossible, or the folder holds a run of another config.
    """
    with StopRequest() as stop:
        assembly = assemble(config)
        if math.prod(assembly.data.train.image_shape) * config.data.batch_size > LARGE_BATCH:
            keep_freed_memory()
        config, data, parallel = assembly.config, assembly.data, assembly.parallel
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
            )
            with reporter:
                for sentence in damage:
                    reporter.say(sentence)
                if restored:
                    reporter.say(f"going on from step {first_step} of {assembly.total_steps}")
                state = restored.state if restored else assembly.make_state()
                reporter.log.write("start", first_step, _facts(assembly, state) | {"damaged_checkpoints": damage})
                tell_bad_files = _BadFiles(data, reporter)
                tell_bad_files(first_step)
                arrays = split_arrays(data.train, parallel)
                evaluation_arrays = split_arrays(data.evaluation, parallel)

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
                    )
                    tell_bad_files(int(state.step))
                    return result

                _, result = fit(
                    state,
                    first_step=first_step,
                    total_steps=assembly.total_steps,
                    step=assembly.train_step,
                    batches=lambda step: data.train.training_batches(
                        config.seed, config.data.batch_size, step, assembly.total_steps
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
                )
    return result


def evaluate_split(
    step: Callable[..., Any],
    variables: Any,
    split: Split,
    arrays: Mapping[str, jax.Array] | None,
    *,
    batch_size: int,
    top_k: tuple[int, ...],
    parallel: DataParallel,
    stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Evaluates a network on a whole split, and checks that every readable image was counted once.

    Args:
        step: what `make_evaluation_step` returned.
        variables: the network's.
        split: where the images come from.
        arrays: what `split_arrays` returned for it.
        batch_size: rounded up to a multiple of the number of devices; it does not change the result.
        top_k: as given to `make_evaluation_step`.
        parallel: the devices.
        stop: see `evaluate`.
    """
    unreadable = len(split.bad)
    batches = split.evaluation_batches(-(-batch_size // parallel.mesh.size) * parallel.mesh.size)
    put = parallel.put_batch
    result = evaluate(step, variables, batches, arrays, top_k=top_k, put=put, stop=stop)
    found_unreadable = len(split.bad) - unreadable
    if not split.size - len(split.bad) <= result.images <= split.size - found_unreadable:
        raise RuntimeError(f"{result.images} images were counted of the {split.size} of {split.name}")
    return result


def _claim(workdir: Path, config: TrainConfig) -> None:
    """Writes config.json, or makes sure that the one there says the same."""
    file = workdir / CONFIG_FILE
    if file.exists():
        changed = differences(load_config(workdir), config)
        if changed:
            option, (old, new) = next(iter(changed.items()))
            others = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise ConfigError(
                f"{workdir} holds a run of another config, {option} {old!r} there and {new!r} here{others}: "
                "choose another --workdir, or delete the folder"
            )
        return
    workdir.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(".tmp")
    scratch.write_text(to_json(config))
    os.replace(scratch, file)


def _facts(assembly: Assembly, state: TrainState) -> dict[str, Any]:
    """What one would want to know of a run besides its config."""
    packages = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "class_names": assembly.data.class_names,
        "training_images": assembly.data.train.size,
        "evaluation_images": assembly.data.evaluation.size,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "devices": [device.device_kind for device in jax.devices()],
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


class _BadFiles:
    """Counts and names, once each, the images that could not be read."""

    def __init__(self, data: Data, reporter: Reporter) -> None:
        self._data, self._reporter, self._told = data, reporter, set()

    def __call__(self, step: int) -> None:
        for split in (self._data.train, self._data.evaluation):
            new = [item for item in split.bad if (split.name, *item) not in self._told]
            self._told.update((split.name, *item) for item in new)
            if new:
                (first, reason), others = new[0], f" and {len(new) - 1} others" if len(new) > 1 else ""
                self._reporter.say(f"left out of {split.name}: {first} ({reason}){others}")
                files = [{"file": name, "reason": reason} for name, reason in new]
                self._reporter.log.write("bad_files", step, {"split": split.name, "count": len(new), "files": files})
