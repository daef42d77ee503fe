"""A moving average of parameters and batch statistics, measured beside them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcnn.config import EMAConfig
from jaxcnn.types import PyTree

Average = Callable[[jax.Array, PyTree, PyTree], PyTree]


def effective_decay(config: EMAConfig, batch_size: int, epochs: float) -> float:
    """Returns the share of itself that the average keeps at each update."""
    if config.decay is None:
        raise ValueError("no moving average is kept, so nothing decays: set ema.decay")
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

    def average(step: jax.Array, ema: PyTree, variables: PyTree) -> PyTree:
        kept = jnp.where(step < copied_until, 0.0, decay)

        def update() -> PyTree:
            return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, ema, variables)

        return jax.lax.cond(step % every == 0, update, lambda: ema) if every > 1 else update()

    return average
