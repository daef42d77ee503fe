"""The optimizer and its learning rate, as Optax transformations."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.config import LAMB, SGD, AdamW, ConfigError, Optimizer, RMSProp, ScheduleConfig


def warmup_steps(config: ScheduleConfig, steps_per_epoch: float) -> int:
    """Returns how many steps the warm-up takes."""
    return math.ceil(config.warmup_epochs * steps_per_epoch)


def make_schedule(config: ScheduleConfig, peak: float, steps_per_epoch: float, total_steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the step, counted from 0.

    Args:
        config: its times are in epochs.
        peak: the rate after warm-up.
        steps_per_epoch: images of the training set over the batch size; need not be whole.
        total_steps: the cosine reaches its minimum here.

    Raises:
        ConfigError: the warm-up is longer than training, or the minimum above the peak.
    """
    if config.moves == "every_epoch":
        # The same schedule with one step an epoch.
        epochs = max(round(total_steps / steps_per_epoch), 1)
        of_epoch = make_schedule(dataclasses.replace(config, moves="every_step"), peak, 1.0, epochs)
        return lambda step: of_epoch(_whole_periods(step, steps_per_epoch))

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
            boundaries = [math.ceil(milestone * steps_per_epoch) - warmup for milestone in config.milestones]
            main = optax.piecewise_constant_schedule(peak, dict.fromkeys(boundaries, config.factor))
        case "exponential":
            period = config.every_epochs * steps_per_epoch

            def main(step):
                return peak * config.factor ** _whole_periods(step + warmup, period)

        case "cosine":
            main = optax.cosine_decay_schedule(peak, total_steps - warmup, config.minimum_rate / peak)
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(config.warmup_start * peak, peak, warmup), main], [warmup])


def _whole_periods(step: jax.Array | int, period: float) -> jax.Array:
    """How many periods are over before the middle of a step: no rounding of a division moves a boundary."""
    return jnp.floor((step + 0.5) / period)


def decay_mask(decayed: str, params: Any) -> Any:
    """Returns which parameters weight decay is for, as a tree of bools.

    Args:
        decayed: ``all``; ``kernels``, those of more than one axis; or ``not_norms``, all but those of normalization
            layers, which are the modules that have a ``scale`` and a ``bias``.
        params: the parameters, or their shapes.
    """
    if decayed == "all":
        return jax.tree.map(lambda leaf: True, params)
    if decayed == "kernels":
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    def walk(tree):
        norm = {"scale", "bias"} <= tree.keys()
        return {name: walk(child) if isinstance(child, dict) else not norm for name, child in tree.items()}

    return walk(params)


def make_optimizer(
    config: Optimizer, steps_per_epoch: float, total_steps: int
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    """Returns the learning rate, and the optimizer that follows it.

    The weight decay of SGD and RMSProp is coupled (it goes through the momentum), as the L2 penalty of the papers and
    as in ``torch.optim.SGD``; that of AdamW and LAMB is decoupled. The formulas stand with the config's classes.

    Args:
        config: which one, its rates, decay and schedule.
        steps_per_epoch: as for `make_schedule`.
        total_steps: as for `make_schedule`.

    Raises:
        ConfigError: as `make_schedule`.
    """
    learning_rate = make_schedule(config.schedule, config.learning_rate, steps_per_epoch, total_steps)

    def mask(params):
        return decay_mask(config.decayed, params)

    decay = optax.add_decayed_weights(config.weight_decay, mask)
    scale = optax.scale_by_learning_rate(learning_rate)
    match config:
        case SGD():
            parts = [decay, optax.trace(config.momentum, config.nesterov), scale]
        case RMSProp():
            squares = optax.scale_by_rms(config.decay, config.epsilon, initial_scale=1.0, eps_in_sqrt=True)
            parts = [decay, squares, scale, optax.trace(config.momentum)]
        case AdamW():
            parts = [optax.scale_by_adam(config.beta1, config.beta2, config.epsilon), decay, scale]
        case LAMB():
            trust = optax.scale_by_trust_ratio()
            if config.scaled == "decayed":
                trust = optax.masked(trust, mask)
            parts = [optax.scale_by_adam(config.beta1, config.beta2, config.epsilon), decay, trust, scale]
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return learning_rate, optax.chain(*parts)
