"""From a config to its parts: the network, the data, the training and the evaluation step, checked and joined."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxcnn.augment.compose import augment, augmented_shape, check_order, normalize
from jaxcnn.config import ConfigError, ModelConfig, Normalization, TrainConfig
from jaxcnn.data.pipeline import Data, Split, open_data
from jaxcnn.errors import UserError, nearest
from jaxcnn.evaluation.evaluate import Result, evaluate, make_evaluation_step
from jaxcnn.evaluation.metrics import check_top_k
from jaxcnn.models.network import BatchNormNetwork
from jaxcnn.models.registry import create_model
from jaxcnn.ops.lowering_rules import Lowering, read_tuned
from jaxcnn.ops.lowerings import LOWERINGS
from jaxcnn.training.ema import make_average
from jaxcnn.training.losses import make_loss
from jaxcnn.training.optimizer import make_optimizer, warmup_steps
from jaxcnn.training.parallel import DataParallel
from jaxcnn.training.processes import gather
from jaxcnn.training.state import TrainState, create_state
from jaxcnn.training.step import make_train_step


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


def state_maker(
    config: TrainConfig,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    image_shape: tuple[int, int, int],
) -> Callable[[], TrainState]:
    """Returns `create_state` for a config: a pure function, whose `jax.eval_shape` is the layout of the checkpoints."""
    return functools.partial(
        create_state,
        model,
        optimizer,
        key,
        image_shape,
        ema=config.ema.decay is not None,
        loss_scale=config.model.dtype == "float16",
    )


def split_seed(seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns a run's keys for initialization, augmentation and dropout."""
    return tuple(jax.random.split(jax.random.key(seed), 3))


def augmentation_keys(key: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Returns the key of each image's augmentations, a function of the run's and of its ``epoch`` and ``place``."""
    return jax.vmap(lambda epoch, place: jax.random.fold_in(jax.random.fold_in(key, epoch), place))(
        batch["epoch"], batch["place"]
    )


def split_arrays(split: Split, parallel: DataParallel) -> dict[str, jax.Array] | None:
    """Returns a resident split's images and labels on every device, else None."""
    if not split.resident:
        return None
    return parallel.put_everywhere({"image": split.images, "label": split.labels})


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


def check_image_shape(
    model: nn.Module, variables: Any, shape: tuple[int, int, int], options: str = "data.evaluation_crop, data.channels"
) -> None:
    """Refuses images that a network's parameters do not fit, without computing anything.

    Args:
        model: the network.
        variables: its own, or their shapes.
        shape: (height, width, channels).
        options: which set the shape, for the message.

    Raises:
        UserError: naming the shape; dense layers on feature maps take only the size they were made for.
    """
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    try:
        jax.eval_shape(lambda variables, images: model.apply(variables, images, train=False), variables, images)
    except (ValueError, flax.errors.FlaxError) as error:
        size = "x".join(map(str, shape))
        said = str(error).splitlines()[0].split(" (http")[0]
        raise UserError(f"images of {size} ({options}) do not fit this network: {said}") from None


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
    state_shardings: TrainState
    """Where each of the state's arrays lives."""
    prepare: Callable[..., tuple[jax.Array, jax.Array]]
    """From a batch, and the split's arrays where it is resident, to augmented, normalized images and targets; pure."""
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
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(self.make_state),
            self.state_shardings,
        )


def assemble(config: TrainConfig, data: Data | None = None, parallel: DataParallel | None = None) -> Assembly:
    """Joins a config's parts. Everything that can be refused is refused here, before anything is compiled.

    Args:
        config: the recipe.
        data: instead of what ``config.data`` names: see `jaxcnn.data.stand_in`.
        parallel: instead of all devices of this process: those of a topology.

    Raises:
        UserError: an option does not fit the data set, the network or the devices.
    """
    num_classes = config.model.num_classes
    for option in ("batch_norm_axis", "batch_norm_groups"):
        if option in config.model.options:
            raise ConfigError(f"model.options.{option} follows from the devices: set parallel.batch_norm instead")
    make_model(config.model, num_classes or 1)  # a wrong name is refused before a data set is read
    parallel = dataclasses.replace(parallel or DataParallel.over_all_devices(), wrapper=config.parallel.wrapper)
    parallel.check_batch_size("data.batch_size", config.data.batch_size, config.parallel.micro_batches)
    batch_norm_groups = parallel.batch_norm_groups(config.parallel.batch_norm)
    check_normalization(config.normalization, config.data.channels)
    check_order(config.augmentations)
    data = data or open_data(config.data)
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
    init_key, augment_key, dropout_key = split_seed(config.seed)

    def prepare_training(batch, arrays):
        images, labels = fetch(batch, arrays)
        keys = augmentation_keys(augment_key, batch)
        return augment(keys, images, labels, config.augmentations, config.normalization, config.model.num_classes)

    def of_step(step):
        scheduled = "drop_path_progress" in inspect.signature(model.__call__).parameters
        return {"drop_path_progress": step / total_steps} if scheduled else {}

    shape = augmented_shape(data.train.image_shape, config.augmentations)
    average = make_average(
        config.ema,
        batch_size=config.data.batch_size,
        epochs=config.epochs,
        warmup_steps=warmup_steps(config.optimizer.schedule, steps_per_epoch),
    )
    make_state = state_maker(config, model, optimizer, init_key, shape)
    # An image too small for the network is refused here.
    abstract_state = jax.eval_shape(make_state)
    check_image_shape(model, abstract_state.variables, data.evaluation.image_shape)
    state_shardings = jax.tree.map(lambda leaf: parallel.replicated, abstract_state)
    if config.parallel.shard_optimizer:
        state_shardings = state_shardings.replace(optimizer_state=parallel.sharded(abstract_state.optimizer_state))
    training_model = model
    if isinstance(model, BatchNormNetwork):
        training_model = model.clone(batch_norm_axis=parallel.axis_name, batch_norm_groups=batch_norm_groups)
    return Assembly(
        config=config,
        data=data,
        model=model,
        parallel=parallel,
        learning_rate=learning_rate,
        total_steps=total_steps,
        make_state=jax.jit(make_state, out_shardings=state_shardings),
        state_shardings=state_shardings,
        prepare=prepare_training,
        train_step=make_train_step(
            apply=training_model.apply,
            prepare=prepare_training,
            loss=make_loss(config.loss),
            optimizer=optimizer,
            dropout_key=dropout_key,
            auxiliary_weight=config.loss.auxiliary_weight,
            of_step=of_step,
            average=average,
            micro_batches=config.parallel.micro_batches,
            parallel=parallel,
            state_shardings=state_shardings,
        ),
        evaluation_step=evaluation_step(model, config.normalization, config.evaluation.top_k),
    )


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
    ema: Any = None,
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
        ema: see `evaluate`.
    """
    unreadable = len(split.bad)
    batch_size = -(-batch_size // parallel.mesh.size) * parallel.mesh.size
    batches = split.evaluation_batches(batch_size, parallel.rows(batch_size))

    def over_processes(count: int) -> int:
        return sum(gather(count))

    result = evaluate(
        step,
        variables,
        batches,
        arrays,
        top_k=top_k,
        put=parallel.put_batch,
        stop=stop,
        over_processes=over_processes,
        ema=ema,
    )
    found_unreadable = over_processes(len(split.bad) - unreadable)
    if not split.size - over_processes(len(split.bad)) <= result.images <= split.size - found_unreadable:
        raise RuntimeError(f"{result.images} images were counted of the {split.size} of {split.name}")
    return result
