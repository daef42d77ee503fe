"""Makes the parts of a run from its config, checks them and joins them: network, data, step and evaluator."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from fractions import Fraction

import flax.linen as nn
import jax
import optax

from jaxcnn.adaptation import Adaptation, adaptation
from jaxcnn.augment.compose import augment, augmented_shape, check_order
from jaxcnn.config import (
    ConfigError,
    TrainConfig,
)
from jaxcnn.data.opening import open_data
from jaxcnn.data.pipeline import Data
from jaxcnn.devices.feed import Batch, Feed, images_and_labels
from jaxcnn.devices.memory import keep_for_batches_of
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.evaluation.evaluator import Evaluator
from jaxcnn.evaluation.metrics import telling_top_k
from jaxcnn.models.network import BatchNormNetwork
from jaxcnn.models.scanned import is_stacked
from jaxcnn.networks import (
    check_batch_statistics,
    check_image_shape,
    check_normalization,
    make_evaluator,
    make_model,
)
from jaxcnn.training.ema import make_average
from jaxcnn.training.epochs import whole_steps
from jaxcnn.training.losses import make_loss
from jaxcnn.training.optimizer import make_optimizer, warmup_steps
from jaxcnn.training.partition import Partition
from jaxcnn.training.state import TrainState, create_state
from jaxcnn.training.step import TrainStep, make_train_step, zero_totals
from jaxcnn.types import PyTree


def state_maker(
    config: TrainConfig,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    image_shape: tuple[int, int, int],
    partition: Partition | None = None,
) -> Callable[[], TrainState]:
    """Returns `create_state` for a config: a pure function, whose `jax.eval_shape` gives the layout of checkpoints."""
    return functools.partial(
        create_state,
        model,
        optimizer,
        key,
        image_shape,
        partition=partition,
        ema=config.ema.decay is not None,
        loss_scale=config.model.dtype == "float16",
    )


def count_parameters(params: PyTree) -> int:
    """Returns the number of numbers in a tree of parameters, or of their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@jax.jit  # one program, where splitting and three slices would be four
def split_seed(seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the keys of a run for initialization, augmentation and dropout."""
    initialization, augmentation, dropout = jax.random.split(jax.random.key(seed), 3)
    return initialization, augmentation, dropout


def augmentation_keys(key: jax.Array, batch: Batch) -> jax.Array:
    """Returns the key of each image's augmentations, a function of the run's key, its epoch and its position."""
    return jax.vmap(lambda epoch, position: jax.random.fold_in(jax.random.fold_in(key, epoch), position))(
        batch["epoch"], batch["position"]
    )


def make_preparation(
    config: TrainConfig, key: jax.Array, num_classes: int
) -> Callable[[Batch], tuple[jax.Array, jax.Array]]:
    """Returns the pure function ``prepare``, from a training batch to augmented, normalized images and their targets.

    Args:
        config: the options of the run, with its augmentations and normalization.
        key: the key of the augmentations.
        num_classes: the number of classes of the targets, where they become soft.
    """

    def prepare(batch: Batch) -> tuple[jax.Array, jax.Array]:
        images, labels = images_and_labels(batch)
        keys = augmentation_keys(key, batch)
        return augment(keys, images, labels, config.augmentations, config.normalization, num_classes)

    return prepare


@dataclasses.dataclass(frozen=True)
class Assembly:
    """The parts of a run, checked and joined; nothing is compiled yet."""

    config: TrainConfig
    """The config, with everything resolved."""
    data: Data
    model: nn.Module
    parallel: DataParallel
    learning_rate: optax.Schedule
    total_steps: int
    make_state: Callable[[], TrainState]
    """A pure, jitted function that returns the state before the first step."""
    state_shardings: TrainState
    """The sharding of each of the state's arrays."""
    prepare: Callable[[Batch], tuple[jax.Array, jax.Array]]
    """The function that `make_preparation` returned."""
    train_step: TrainStep
    evaluator: Evaluator
    partition: Partition | None = None
    """Which parameters are trained; None where all are, at one rate."""

    @functools.cached_property
    def train_feed(self) -> Feed:
        """The feed of the training images."""
        return Feed(self.data.train, self.parallel, self.config.data.batch_size, self.config.seed)

    @functools.cached_property
    def evaluation_feed(self) -> Feed:
        """The feed of the images that the run is measured on."""
        return Feed.for_evaluation(self.data.evaluation, self.parallel, self.config.evaluation.batch_size)

    def trained(self, params: PyTree) -> PyTree:
        """Returns those of the parameters that are trained: see `Partition.trained`."""
        return self.partition.trained(params) if self.partition else params

    @property
    def steps_per_epoch(self) -> Fraction:
        """The number of steps in an epoch; it need not be whole, because a batch may extend into the next epoch."""
        return Fraction(self.data.train.size, self.config.data.batch_size)

    @property
    def evaluation_steps(self) -> frozenset[int]:
        """The steps after which to evaluate."""
        every, last = self.config.evaluation.every_epochs, int(self.config.epochs)
        steps = {whole_steps(epoch, self.steps_per_epoch) for epoch in range(every, last + 1, every)}
        return frozenset(step for step in steps if step < self.total_steps) | {self.total_steps}

    @property
    def abstract_state(self) -> TrainState:
        """The shapes, dtypes and shardings of the state, found without computing it."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(self.make_state),
            self.state_shardings,
        )


def abstract_arguments(assembly: Assembly) -> tuple[PyTree, PyTree, PyTree]:
    """Returns what ``assembly.train_step`` takes, as shapes: state, totals and batch."""
    replicated = assembly.parallel.replicated
    totals = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated)
        for name, leaf in jax.eval_shape(zero_totals).items()
    }
    return assembly.abstract_state, totals, assembly.train_feed.abstract


@own_settings()
def assemble(config: TrainConfig, data: Data | None = None, parallel: DataParallel | None = None) -> Assembly:
    """Makes the parts of a run and joins them; refuses all that can be refused before anything is compiled.

    Args:
        config: the options of the run.
        data: what to train on, in place of what ``config.data`` names: see `jaxcnn.data.stand_in`.
        parallel: the devices, such as those of a topology; by default all that there are.

    Raises:
        UserError: an option does not fit the data set, the network or the devices.
    """
    parallel, data = _checked(config, data, parallel)
    num_classes = config.model.num_classes or len(data.class_names)
    evaluation = dataclasses.replace(config.evaluation, top_k=telling_top_k(config.evaluation.top_k, num_classes))
    model_config = dataclasses.replace(config.model, num_classes=num_classes)
    config = dataclasses.replace(config, model=model_config, evaluation=evaluation)
    model = make_model(config.model, num_classes)
    steps_per_epoch = Fraction(data.train.size, config.data.batch_size)
    total_steps = whole_steps(config.epochs, steps_per_epoch)
    init_key, augment_key, dropout_key = split_seed(config.seed)
    height, width, channels = data.train.image_shape
    shape = augmented_shape((height, width, channels), config.augmentations)
    adapted = adaptation(config.finetune, model, shape)
    partition = adapted.partition if adapted else None
    learning_rate, optimizer = make_optimizer(config.optimizer, steps_per_epoch, total_steps, partition, is_stacked)
    average = make_average(
        config.ema,
        batch_size=config.data.batch_size,
        epochs=config.epochs,
        warmup_steps=warmup_steps(config.optimizer.schedule, steps_per_epoch),
    )
    make_state = state_maker(config, model, optimizer, init_key, shape, partition)
    # This refuses images that are too small for the network.
    abstract_state = jax.eval_shape(make_state)
    check_image_shape(model, abstract_state.variables, data.evaluation.image_shape)
    parts = parallel.batch_norm_groups(config.parallel.batch_norm) * config.parallel.micro_batches
    check_batch_statistics(
        _training_apply(model, adapted), abstract_state.variables, shape, config.data.batch_size, parts
    )
    state_shardings = jax.tree.map(lambda leaf: parallel.replicated, abstract_state)
    if config.parallel.shard_optimizer:
        sharded = parallel.sharded(abstract_state.optimizer_state)
        state_shardings = dataclasses.replace(state_shardings, optimizer_state=sharded)
    prepare = make_preparation(config, augment_key, num_classes)
    return Assembly(
        config=config,
        data=data,
        model=model,
        parallel=parallel,
        learning_rate=learning_rate,
        total_steps=total_steps,
        make_state=jax.jit(make_state, out_shardings=state_shardings),
        state_shardings=state_shardings,
        prepare=prepare,
        train_step=make_train_step(
            apply=_training_apply(_training_model(model, config, parallel), adapted),
            prepare=prepare,
            loss=make_loss(config.loss),
            optimizer=optimizer,
            dropout_key=dropout_key,
            auxiliary_weight=config.loss.auxiliary_weight,
            step_arguments=_step_arguments(model, total_steps),
            average=average,
            partition=partition,
            micro_batches=config.parallel.micro_batches,
            parallel=parallel,
            state_shardings=state_shardings,
        ),
        evaluator=make_evaluator(model, config.normalization, parallel),
        partition=partition,
    )


def keep_memory(config: TrainConfig, data: Data) -> None:
    """Keeps freed memory for the next step, where that saves time: see `jaxcnn.devices.memory.keep_freed_memory`."""
    keep_for_batches_of(math.prod(data.train.image_shape) * config.data.batch_size)


def _checked(config: TrainConfig, data: Data | None, parallel: DataParallel | None) -> tuple[DataParallel, Data]:
    """Returns the devices and the data set of a config, after checking that its options fit them."""
    num_classes = config.model.num_classes
    for option in ("batch_norm_axis", "batch_norm_groups"):
        if option in config.model.options:
            raise ConfigError(f"model.options.{option} follows from the devices: set parallel.batch_norm instead")
    # What is wrong by itself is refused before a data set is read.
    make_model(config.model, num_classes or 1)
    check_normalization(config.normalization, config.data.channels)
    check_order(config.augmentations)
    data = data or open_data(config.data)
    if parallel is None:
        keep_memory(config, data)  # before JAX starts its threads
        parallel = DataParallel.over_all_devices()
    parallel = dataclasses.replace(parallel, wrapper=config.parallel.wrapper)
    parallel.check_batch_size("data.batch_size", config.data.batch_size, config.parallel.micro_batches)
    parallel.batch_norm_groups(config.parallel.batch_norm)
    if num_classes is not None and num_classes < len(data.class_names):
        raise ConfigError(
            f"model.num_classes is {num_classes}, and the data set has {len(data.class_names)} classes: give at least "
            "as many, or leave it out"
        )
    return parallel, data


def _training_model(model: nn.Module, config: TrainConfig, parallel: DataParallel) -> nn.Module:
    """Returns the network as it is trained, whose batch normalization knows how a batch is spread over the devices."""
    if not isinstance(model, BatchNormNetwork):
        return model
    groups = parallel.batch_norm_groups(config.parallel.batch_norm)
    return model.clone(batch_norm_axis=parallel.axis_name, batch_norm_groups=groups)


def _training_apply(model: nn.Module, adapted: Adaptation | None) -> Callable[..., PyTree]:
    """Returns ``model.apply``, under which what is frozen is as in evaluation."""
    return adapted.still.apply(model) if adapted else model.apply


def _step_arguments(model: nn.Module, total_steps: int) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """Returns the step arguments of a network: what it schedules, as a function of the step."""
    scheduled = "drop_path_progress" in inspect.signature(model.__call__).parameters
    return lambda step: {"drop_path_progress": step / total_steps} if scheduled else {}
