"""One update: a pure function of state and batch, jitted, its state donated."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import optax

from jaxcnn.devices.feed import Batch
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.evaluation.metrics import rank_of_label
from jaxcnn.ops.lowering_rules import rules_backend
from jaxcnn.training.ema import Average
from jaxcnn.training.loss_scale import LossScale
from jaxcnn.training.state import TrainState
from jaxcnn.types import PyTree

Totals = dict[str, jax.Array]


class TrainStep(Protocol):
    """The jitted step."""

    def __call__(self, state: TrainState, totals: Totals, batch: Batch, /) -> tuple[TrainState, Totals]:
        """Returns the next state, and the totals with this batch's."""
        ...

    def lower(self, state: PyTree, totals: PyTree, batch: PyTree, /) -> jax.stages.Lowered:
        """Returns the step for arrays of these shapes, ready to be compiled."""
        ...


def zero_totals() -> Totals:
    """Returns sums and counts of nothing yet.

    Loss, wrong top-1 answers and images of good steps; how many steps were bad, and how many of the latest in a row.
    """
    counts = ("top1", "images", "bad_steps", "bad_in_row")
    return {"loss": jnp.zeros(()), **{name: jnp.zeros((), jnp.int32) for name in counts}}


def _all_finite(tree: PyTree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def make_train_step(
    *,
    apply: Callable[..., PyTree],
    prepare: Callable[[Batch], tuple[jax.Array, jax.Array]],
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    optimizer: optax.GradientTransformation,
    dropout_key: jax.Array,
    auxiliary_weight: float = 0.3,
    step_arguments: Callable[[jax.Array], Mapping[str, jax.Array]] = lambda step: {},
    average: Average | None = None,
    micro_batches: int = 1,
    parallel: DataParallel | None = None,
    state_shardings: TrainState | None = None,
) -> TrainStep:
    """Returns the jitted step ``(state, totals, batch) -> (state, totals)``.

    The state is donated: its buffers become the next state's. Totals are summed on the device.

    A step is bad where its loss, its gradient or the batch statistics it leaves are not finite. Then parameters, batch
    statistics, optimizer state (with its count of steps in the learning rate's schedule) and moving average stay as
    they are, and only ``step``, the counts of bad steps and the scale of the loss move.

    Args:
        apply: ``model.apply``. Where ``parallel`` maps an axis, batch normalization has its name.
        prepare: ``prepare(batch)`` returns augmented, normalized float32 images and targets: int32 labels, or (batch,
            classes) float32 probabilities, whose greatest is then the label that errors are counted by. Its randomness
            comes from the batch's own ``epoch`` and ``position``.
        loss: ``loss(logits, targets)`` returns (batch,) losses.
        optimizer: what `make_optimizer` returned.
        dropout_key: folded with the step.
        auxiliary_weight: of the loss of each auxiliary head, where the network returns their logits beside its own.
        step_arguments: ``step_arguments(step)`` returns further arguments of ``apply``: what a network schedules.
        average: what `make_average` returned; None where the state holds no moving average.
        micro_batches: parts of the batch that are computed one after another. The first is images 0, n, 2n, ... of the
            batch, so that each device finds its share of it in its own.
        parallel: how the gradient is computed on several devices; by default as the compiler sees fit.
        state_shardings: where the state lives, if anywhere in particular.
    """
    parallel = parallel or DataParallel.over_all_devices()

    def gradient_of_part(params, loss_scale, step, key, batch_stats, images, targets):
        labels = targets if targets.ndim == 1 else jnp.argmax(targets, axis=-1)

        def scaled_loss(params):
            variables = {"params": params, "batch_stats": batch_stats}
            outputs, updated = apply(
                variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": key}, **step_arguments(step)
            )
            logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            losses = loss(logits, targets) + auxiliary_weight * sum(loss(each, targets) for each in auxiliary)
            return losses.mean() * loss_scale, (losses, logits, updated.get("batch_stats", {}))

        gradients, (losses, logits, batch_stats) = jax.grad(scaled_loss, has_aux=True)(params)
        wrong = jnp.sum(rank_of_label(logits, labels) >= 1, dtype=jnp.int32)
        return gradients, {"loss": losses.sum(), "top1": wrong}, batch_stats

    def gradient(shared, parts):
        """The mean gradient, sums over the images, and the batch statistics left; of one device or of all."""
        params, batch_stats, loss_scale, step, key = shared
        params, key = parallel.vary(params), parallel.own_key(key)
        of_part = functools.partial(gradient_of_part, params, loss_scale, step)
        if micro_batches == 1:
            gradients, sums, batch_stats = of_part(key, batch_stats, *parts)
        else:

            def add(carry, part):
                so_far, batch_stats = carry
                number, images, targets = part
                *more, batch_stats = of_part(jax.random.fold_in(key, number), batch_stats, images, targets)
                return (jax.tree.map(jnp.add, so_far, tuple(more)), batch_stats), None

            no_sums = parallel.vary({"loss": jnp.zeros(()), "top1": jnp.zeros((), jnp.int32)})
            nothing = jax.tree.map(jnp.zeros_like, params), no_sums
            parts = jax.tree.map(functools.partial(_interleaved, count=micro_batches), parts)
            # In a loop, XLA's CPU backend takes some thirty times as long for convolutions as outside of one.
            ((gradients, sums), batch_stats), _ = jax.lax.scan(
                add, (nothing, batch_stats), (jnp.arange(micro_batches), *parts), unroll=rules_backend() == "cpu"
            )
        gradients = jax.tree.map(lambda leaf: leaf / (micro_batches * loss_scale), gradients)
        return parallel.average(gradients), parallel.sum(sums), batch_stats

    def step(state: TrainState, totals: Totals, batch: Batch) -> tuple[TrainState, Totals]:
        images, targets = prepare(batch)
        key = jax.random.fold_in(dropout_key, state.step)
        loss_scale = state.loss_scale.scale if isinstance(state.loss_scale, LossScale) else jnp.ones(())
        shared = state.params, state.batch_stats, loss_scale, state.step, key
        gradients, sums, batch_stats = parallel.over_devices(gradient)(shared, (images, targets))

        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.params)
        new = dataclasses.replace(
            state,
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            optimizer_state=optimizer_state,
        )
        if average is not None:
            new = dataclasses.replace(new, ema=average(state.step, state.ema, new.variables))
        good = _all_finite((sums["loss"], gradients, batch_stats))
        undone = dataclasses.replace(state, step=new.step)
        new = jax.tree.map(functools.partial(jnp.where, good), new, undone)
        one_more = 1
        if isinstance(state.loss_scale, LossScale):
            new = dataclasses.replace(new, loss_scale=state.loss_scale.after(good))
            # An overflow that a smaller scale may cure is no sign of a run that leads nowhere.
            one_more = jnp.where(loss_scale > 1, 0, 1)
        added = {
            **{name: jnp.where(good, total, 0) for name, total in (sums | {"images": len(images)}).items()},
            "bad_steps": jnp.where(good, 0, 1),
            "bad_in_row": jnp.where(good, -totals["bad_in_row"], one_more),
        }
        return new, jax.tree.map(jnp.add, totals, added)

    if state_shardings is None:
        return jax.jit(step, donate_argnums=0)
    return jax.jit(step, donate_argnums=0, out_shardings=(state_shardings, parallel.replicated))


def _interleaved(x: jax.Array, count: int) -> jax.Array:
    """(batch, ...) as (count, batch / count, ...), the first of them images 0, count, 2 count, ..."""
    return jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
