"""Optimizers and learning rates as Optax transformations, and the registry of optimizers: ours, and those of a recipe.

The weight decay of SGD and RMSProp is coupled (it goes through the momentum), like the L2 penalty of the papers and
``torch.optim.SGD``; that of AdamW and LAMB is decoupled. The docstrings of the config's classes hold the formulas.
"""

import dataclasses
import functools
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxcnn.config import LAMB, SGD, AdamW, ConfigError, Optimizer, RMSProp, ScheduleConfig
from jaxcnn.config.registry import Kinds
from jaxcnn.training.epochs import periods_over, whole_steps
from jaxcnn.training.partition import Partition
from jaxcnn.types import PyTree

IsStacked = Callable[[str], bool]
"""Whether a module, by the first name of the paths of its parameters, holds in each of them those of several layers,
stacked along the first axis."""


def none_is_stacked(module: str) -> bool:
    """Returns that a module holds the parameters of one layer: see `IsStacked`."""
    del module
    return False


@dataclasses.dataclass(frozen=True)
class Mask:
    """A function from the parameters to a tree of bools, True for the parameters that weight decay applies to."""

    decayed: str
    """The parameters that it applies to, as for `decay_mask`."""
    partition: Partition | None = None
    """Which parameters are trained; by default all."""
    is_stacked: IsStacked = none_is_stacked

    def __call__(self, params: PyTree) -> PyTree:
        """Returns the tree of bools."""
        of_all = functools.partial(decay_mask, self.decayed, is_stacked=self.is_stacked)
        return of_all(params) if self.partition is None else self.partition.mask(of_all)(params)


Transformations = optax.GradientTransformation | Sequence[optax.GradientTransformation]
OptimizerT = TypeVar("OptimizerT", bound=Optimizer)

OPTIMIZERS: Kinds[Optimizer, Callable[[Any, optax.Schedule, Mask], Transformations]] = Kinds(Optimizer, "optimizer")


def register_optimizer(
    group: type[OptimizerT], make: Callable[[OptimizerT, optax.Schedule, Mask], Transformations]
) -> None:
    """Adds an optimizer, whose options can then be a recipe's ``optimizer``.

    Args:
        group: the class of its options: an `option_group` derived from `Optimizer`, with a field ``kind:
            Literal["name"] = "name"``.
        make: a function of the options, the learning rate (a function of the step), and the mask of the parameters that
            weight decay applies to. It returns one Optax transformation, or several that are chained in this order,
            from gradients to what is added to the parameters. Clipping by ``clip_norm`` is put before them. Schedules
            of its own, such as one of the weight decay, run on the step too: see `at_step`.

    Raises:
        UserError: the class is not such a group, its kind is taken, or ``make`` does not take three arguments.
    """
    OPTIMIZERS.check(group)
    try:
        inspect.signature(make).bind("options", "learning_rate", "mask")
    except TypeError as error:
        way_out = f"its function must take (options, learning_rate, mask), and this one does not: {error}"
        raise OPTIMIZERS.refusal(group, way_out) from None
    OPTIMIZERS.register(group, make)


def warmup_steps(config: ScheduleConfig, steps_per_epoch: Fraction) -> int:
    """Returns the number of steps that warm-up takes."""
    return whole_steps(config.warmup_epochs, steps_per_epoch)


def make_schedule(
    config: ScheduleConfig, peak: float, steps_per_epoch: Fraction | float, total_steps: int
) -> optax.Schedule:
    """Returns the learning rate as a function of the step, counted from 0.

    Args:
        config: the options of the schedule, whose times are in epochs.
        peak: the rate after warm-up.
        steps_per_epoch: the number of training images divided by the batch size, which need not be whole.
        total_steps: the number of steps of training, after which a cosine reaches its minimum.

    Raises:
        ConfigError: warm-up takes all of training, or the minimum is above the peak.
    """
    steps_per_epoch = Fraction(steps_per_epoch)
    if config.moves == "every_epoch":
        # This is the same schedule with one step an epoch.
        epochs = max(round(total_steps / steps_per_epoch), 1)
        of_epoch = make_schedule(dataclasses.replace(config, moves="every_step"), peak, 1, epochs)
        epochs_over = _periods_over(steps_per_epoch, total_steps)
        return lambda step: of_epoch(epochs_over(step).astype(float))

    warmup = warmup_steps(config, steps_per_epoch)
    if warmup >= total_steps:
        raise ConfigError(
            f"optimizer.schedule.warmup_epochs {config.warmup_epochs:g} is {warmup} steps, and training has only "
            f"{total_steps}: shorten it or raise epochs"
        )
    if config.minimum_rate > peak:
        raise ConfigError(
            f"optimizer.schedule.minimum_rate {config.minimum_rate:g} is above the learning rate of {peak:g}: lower it"
        )
    match config.kind:
        case "constant":
            main = optax.constant_schedule(peak)
        case "step":
            # Several milestones may come to one step.
            milestones = Counter(whole_steps(milestone, steps_per_epoch) - warmup for milestone in config.milestones)
            factors = {step: config.factor**count for step, count in milestones.items()}
            main = optax.piecewise_constant_schedule(peak, factors)
        case "exponential":
            period = Fraction(config.every_epochs) * steps_per_epoch
            main = _exponential_schedule(peak, config.factor, period, warmup, total_steps)
        case "cosine":
            main = optax.cosine_decay_schedule(peak, total_steps - warmup, config.minimum_rate / peak)
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(config.warmup_start * peak, peak, warmup), main], [warmup])


def _exponential_schedule(
    peak: float, factor: float, period: Fraction, warmup: int, total_steps: int
) -> optax.Schedule:
    """Multiplies the rate by the factor at the end of each period, counted from the start of the warm-up."""
    over = _periods_over(period, total_steps)
    return lambda step: peak * factor ** over(step + warmup).astype(float)


def _periods_over(period: Fraction, last_step: int) -> Callable[[ArrayLike], jax.Array]:
    """Returns the number of periods that end before the middle of a step, as a function of the step.

    It compares whole numbers and divides nothing, so rounding cannot move a boundary.
    """
    found = periods_over(period, last_step)
    ends = np.array([*found], np.int32)
    numbers = np.minimum([0, *found.values()], np.iinfo(np.int32).max).astype(np.int32)
    return lambda step: jnp.asarray(numbers)[jnp.sum(jnp.asarray(step) >= ends, dtype=jnp.int32)]


def at_step(state: optax.OptState, step: jax.Array) -> optax.OptState:
    """Returns an optimizer's state whose schedules stand at this step of training.

    Optax's schedules count for themselves how often the state was updated. Where a step is undone (see
    `jaxcnn.training.step.make_train_step`), that is fewer times than there were steps: the rates would lag behind those
    that the log shows, and come to no end. So the counts are set before each update. They are the states that hold a
    ``count`` and nothing else, as those of `optax.scale_by_schedule`, `optax.add_decayed_weights` and
    `optax.inject_hyperparams` do. A count beside the statistics that it corrects, such as Adam's, is of updates.

    Args:
        state: the state of any Optax transformation.
        step: the step, () int32.
    """

    def is_count(node: PyTree) -> bool:
        return isinstance(node, tuple) and getattr(node, "_fields", None) == ("count",)

    return jax.tree.map(lambda node: type(node)(step) if is_count(node) else node, state, is_leaf=is_count)


def _stacked_axes(params: PyTree, is_stacked: IsStacked) -> PyTree:
    """Returns a tree of the number of axes along which each parameter stacks those of several layers: 0 or 1."""
    return jax.tree_util.tree_map_with_path(lambda path, _: int(bool(path) and is_stacked(path[0].key)), params)


def decay_mask(decayed: str, params: PyTree, is_stacked: IsStacked = none_is_stacked) -> PyTree:
    """Returns a tree of bools, True for the parameters that weight decay applies to.

    Args:
        decayed: ``all``; ``kernels`` for the parameters of more than one axis; or ``not_norms`` for all but those of
            normalization layers, which are the modules that have a ``scale`` and a ``bias``.
        params: the parameters, or their shapes.
        is_stacked: which of them are stacked.
    """
    if decayed == "all":
        return jax.tree.map(lambda leaf: True, params)
    if decayed == "kernels":
        return jax.tree.map(lambda leaf, stacked: leaf.ndim - stacked > 1, params, _stacked_axes(params, is_stacked))

    def walk(tree):
        norm = {"scale", "bias"} <= tree.keys()
        return {name: walk(child) if isinstance(child, dict) else not norm for name, child in tree.items()}

    return walk(params)


def make_optimizer(
    config: Optimizer,
    steps_per_epoch: Fraction | float,
    total_steps: int,
    partition: Partition | None = None,
    is_stacked: IsStacked = none_is_stacked,
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    """Returns the learning rate as a function of the step, and the optimizer that follows it.

    Args:
        config: the options of the optimizer.
        steps_per_epoch: as for `make_schedule`.
        total_steps: as for `make_schedule`.
        partition: which parameters the optimizer is for, and the factors of their rates; by default it is for all, and
            there are none. What an optimizer adds to a parameter is multiplied by the factor at the end. For all of
            ours that is the learning rate of this parameter: LAMB's, too, is the norm of the step over that of the
            parameter.
        is_stacked: which parameters are those of several layers. Each layer is treated as if it were by itself, by all
            of ours; an optimizer of a recipe sees one array.

    Raises:
        ConfigError: as `make_schedule` does.
        UserError: the optimizer is not registered.
    """
    learning_rate = make_schedule(config.schedule, config.learning_rate, steps_per_epoch, total_steps)
    mask = Mask(config.decayed, partition, is_stacked)
    made = OPTIMIZERS.implementation(config)(config, learning_rate, mask)
    # The chain is flat: a nested one has another tree of states, and checkpoints hold that tree.
    parts = [made] if isinstance(made, optax.GradientTransformation) else list(made)
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if partition is not None and partition.rates:
        parts.append(partition.scale_by_rates())
    return learning_rate, optax.chain(*parts)


def _sgd(config: SGD, learning_rate: optax.Schedule, mask: Mask) -> Transformations:
    decay = optax.add_decayed_weights(config.weight_decay, mask)
    momentum = optax.trace(config.momentum, config.nesterov)
    return decay, momentum, optax.scale_by_learning_rate(learning_rate)


def _rmsprop(config: RMSProp, learning_rate: optax.Schedule, mask: Mask) -> Transformations:
    decay = optax.add_decayed_weights(config.weight_decay, mask)
    squares = optax.scale_by_rms(config.decay, config.epsilon, initial_scale=1.0, eps_in_sqrt=True)
    return decay, squares, optax.scale_by_learning_rate(learning_rate), optax.trace(config.momentum)


def _adamw(config: AdamW, learning_rate: optax.Schedule, mask: Mask) -> Transformations:
    adam = optax.scale_by_adam(config.beta1, config.beta2, config.epsilon)
    decay = optax.add_decayed_weights(config.weight_decay, mask)
    return adam, decay, optax.scale_by_learning_rate(learning_rate)


def _scale_by_trust_ratio(is_stacked: IsStacked) -> optax.GradientTransformation:
    """Returns Optax's transformation of this name, which takes each layer's own norms of stacked parameters too."""
    trust = optax.scale_by_trust_ratio()

    def scale(updates: PyTree, params: PyTree) -> PyTree:
        def of_layer(update: jax.Array, param: jax.Array) -> jax.Array:
            return jnp.asarray(trust.update(update, optax.EmptyState(), param)[0])

        def of_leaf(update: jax.Array, param: jax.Array, stacked: int) -> jax.Array:
            return (jax.vmap(of_layer) if stacked else of_layer)(update, param)

        return jax.tree.map(of_leaf, updates, params, _stacked_axes(params, is_stacked))

    return optax.stateless(scale)


def _lamb(config: LAMB, learning_rate: optax.Schedule, mask: Mask) -> Transformations:
    adam = optax.scale_by_adam(config.beta1, config.beta2, config.epsilon)
    decay = optax.add_decayed_weights(config.weight_decay, mask)
    trust = _scale_by_trust_ratio(mask.is_stacked)
    if config.scaled == "decayed":
        trust = optax.masked(trust, mask)
    return adam, decay, trust, optax.scale_by_learning_rate(learning_rate)


register_optimizer(SGD, _sgd)
register_optimizer(RMSProp, _rmsprop)
register_optimizer(AdamW, _adamw)
register_optimizer(LAMB, _lamb)
