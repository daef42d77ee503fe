"""The optimizer and its learning rate, as Optax transformations."""

import math

import jax
import optax

from jaxcnn.config import ConfigError, OptimizerConfig, ScheduleConfig


def make_schedule(config: ScheduleConfig, peak: float, steps_per_epoch: float, total_steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the step, counted from 0.

    Args:
        config: its times are in epochs.
        peak: the rate after warm-up.
        steps_per_epoch: images of the training set over the batch size; need not be whole.
        total_steps: the cosine reaches 0 here.

    Raises:
        ConfigError: the warm-up is longer than training.
    """
    warmup = math.ceil(config.warmup_epochs * steps_per_epoch)
    if warmup >= total_steps:
        raise ConfigError(
            f"optimizer.schedule.warmup_epochs {config.warmup_epochs:g} is {warmup} steps, and training has only "
            f"{total_steps}: shorten it or raise epochs"
        )
    match config.kind:
        case "constant":
            main = optax.constant_schedule(peak)
        case "step":
            boundaries = [math.ceil(milestone * steps_per_epoch) - warmup for milestone in config.milestones]
            main = optax.piecewise_constant_schedule(peak, dict.fromkeys(boundaries, config.factor))
        case "cosine":
            main = optax.cosine_decay_schedule(peak, total_steps - warmup)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup]) if warmup else main


def make_optimizer(
    config: OptimizerConfig, steps_per_epoch: float, total_steps: int
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    """Returns the learning rate, and mini-batch SGD with momentum and L2 that follows it.

    v <- momentum v + (gradient + weight_decay w); w <- w - rate v. The decay is coupled (it goes through the momentum),
    as the L2 penalty of the papers and as in ``torch.optim.SGD``.

    Args:
        config: rates, decay and schedule.
        steps_per_epoch: as for `make_schedule`.
        total_steps: as for `make_schedule`.

    Raises:
        ConfigError: the warm-up is longer than training.
    """
    learning_rate = make_schedule(config.schedule, config.learning_rate, steps_per_epoch, total_steps)
    decayed = None if config.decayed == "all" else lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)
    sgd = optax.chain(
        optax.add_decayed_weights(config.weight_decay, decayed),
        optax.trace(config.momentum, config.nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )
    return learning_rate, sgd
