"""A moving average of parameters and batch statistics, measured beside them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.config import EMAConfig

Average = Callable[[jax.Array, Any, Any], Any]


def effective_decay(config: EMAConfig, batch_size: int, epochs: float) -> float:
    """Returns the share of itself that the average keeps at each update."""
    rescaling = batch_size * config.every_steps / epochs if config.rescaled else 1.0
    return 1 - min(1.0, (1 - config.decay) * rescaling)


def make_average(config: EMAConfig, *, batch_size: int, epochs: float, warmup_steps: int) -> Average | None:
    """Returns ``(step, ema, variables) -> ema``, or None where no average is kept.

    Args:
        config: the options of the average.
        batch_size: the number of images in a training batch.
        epochs: the length of training, in epochs.
        warmup_steps: the length of the learning rate's warm-up, in steps.
    """
    if config.decay is None:
        return None
    every, decay = config.every_steps, effective_decay(config, batch_size, epochs)
    # The first update after warm-up is a copy too.
    copied_until = warmup_steps + every if config.in_warmup == "copy" else 0

    def average(step: jax.Array, ema: Any, variables: Any) -> Any:
        kept = jnp.where(step < copied_until, 0.0, decay)

        def update() -> Any:
            return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, ema, variables)

        return jax.lax.cond(step % every == 0, update, lambda: ema) if every > 1 else update()

    return average
