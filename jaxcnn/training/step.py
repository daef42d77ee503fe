"""One update: a pure function of state and batch, jitted, its state donated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.evaluation.metrics import rank_of_label
from jaxcnn.training.state import TrainState

Totals = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Totals, Any, Any], tuple[TrainState, Totals]]


def zero_totals() -> Totals:
    """Returns sums and counts of nothing yet: loss, wrong top-1 answers, images."""
    return {"loss": jnp.zeros(()), "top1": jnp.zeros((), jnp.int32), "images": jnp.zeros((), jnp.int32)}


def make_train_step(
    *,
    apply: Callable[..., Any],
    prepare: Callable[[Any, Any], tuple[jax.Array, jax.Array]],
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    optimizer: optax.GradientTransformation,
    dropout_key: jax.Array,
    auxiliary_weight: float = 0.3,
    of_step: Callable[[jax.Array], dict[str, Any]] = lambda step: {},
) -> TrainStep:
    """Returns the jitted step ``(state, totals, batch, arrays) -> (state, totals)``.

    The state is donated: its buffers become the next state's. Totals are summed on the device, so the host reads them
    only when it logs.

    Args:
        apply: ``model.apply``.
        prepare: ``prepare(batch, arrays)`` returns augmented, normalized float32 images and targets: int32 labels, or
            (batch, classes) float32 probabilities, whose greatest is then the label that errors are counted by. Its
            randomness comes from the batch's own ``epoch`` and ``place``.
        loss: ``loss(logits, targets)`` returns (batch,) losses.
        optimizer: what `make_optimizer` returned.
        dropout_key: folded with the step.
        auxiliary_weight: of the loss of each auxiliary head, where the network returns their logits beside its own.
        of_step: ``of_step(step)`` returns what else ``apply`` is to be given: what a network schedules.
    """

    def step(state: TrainState, totals: Totals, batch: Any, arrays: Any) -> tuple[TrainState, Totals]:
        images, targets = prepare(batch, arrays)
        labels = targets if targets.ndim == 1 else jnp.argmax(targets, axis=-1)
        rngs = {"dropout": jax.random.fold_in(dropout_key, state.step)}

        def mean_loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            outputs, updated = apply(
                variables, images, train=True, mutable=["batch_stats"], rngs=rngs, **of_step(state.step)
            )
            logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            losses = loss(logits, targets) + auxiliary_weight * sum(loss(each, targets) for each in auxiliary)
            return losses.mean(), (losses, logits, updated.get("batch_stats", {}))

        gradients, (losses, logits, batch_stats) = jax.grad(mean_loss, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.params)
        state = TrainState(state.step + 1, optax.apply_updates(state.params, updates), batch_stats, optimizer_state)
        sums = {
            "loss": losses.sum(),
            "top1": jnp.sum(rank_of_label(logits, labels) >= 1, dtype=jnp.int32),
            "images": jnp.array(len(losses), jnp.int32),
        }
        return state, jax.tree.map(jnp.add, totals, sums)

    return jax.jit(step, donate_argnums=0)
