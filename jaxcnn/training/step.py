"""One update: a pure function of state and batch, jitted, its state donated."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.evaluation.metrics import rank_of_label
from jaxcnn.training.ema import Average
from jaxcnn.training.state import TrainState

Totals = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Totals, Any, Any], tuple[TrainState, Totals]]


def zero_totals() -> Totals:
    """Returns sums and counts of nothing yet.

    Loss, wrong top-1 answers and images of good steps; how many steps were bad, and how many of the latest in a row.
    """
    counts = ("top1", "images", "bad_steps", "bad_in_row")
    return {"loss": jnp.zeros(()), **{name: jnp.zeros((), jnp.int32) for name in counts}}


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def make_train_step(
    *,
    apply: Callable[..., Any],
    prepare: Callable[[Any, Any], tuple[jax.Array, jax.Array]],
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    optimizer: optax.GradientTransformation,
    dropout_key: jax.Array,
    auxiliary_weight: float = 0.3,
    of_step: Callable[[jax.Array], dict[str, Any]] = lambda step: {},
    average: Average | None = None,
) -> TrainStep:
    """Returns the jitted step ``(state, totals, batch, arrays) -> (state, totals)``.

    The state is donated: its buffers become the next state's. Totals are summed on the device.

    A step is bad where its loss, its gradient or the batch statistics it leaves are not finite. Then parameters, batch
    statistics, optimizer state (its place in the learning rate's schedule, too) and moving average stay as they are,
    and only ``step`` and the counts of bad steps move.

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
        average: what `make_average` returned; None where the state holds no moving average.
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
        new = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            optimizer_state=optimizer_state,
        )
        if average is not None:
            new = new.replace(ema=average(state.step, state.ema, new.variables))
        good = _all_finite((losses, gradients, batch_stats))
        new = jax.tree.map(functools.partial(jnp.where, good), new, state.replace(step=new.step))
        sums = {
            "loss": jnp.where(good, losses.sum(), 0),
            "top1": jnp.where(good, jnp.sum(rank_of_label(logits, labels) >= 1, dtype=jnp.int32), 0),
            "images": jnp.where(good, len(losses), 0),
            "bad_steps": jnp.where(good, 0, 1),
            "bad_in_row": jnp.where(good, -totals["bad_in_row"], 1),
        }
        return new, jax.tree.map(jnp.add, totals, sums)

    return jax.jit(step, donate_argnums=0)
