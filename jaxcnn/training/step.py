"""The training step: one update as a pure, jitted function of state and batch, which donates the state."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import optax

from jaxcnn.devices.parallel import DataParallel
from jaxcnn.evaluation.metrics import rank_of_label
from jaxcnn.ops.backend import rules_backend
from jaxcnn.training.ema import Average
from jaxcnn.training.loss_scale import LossScale
from jaxcnn.training.optimizer import at_step
from jaxcnn.training.partition import Partition
from jaxcnn.training.state import TrainState
from jaxcnn.types import PyTree

Totals = dict[str, jax.Array]


class TrainStep(Protocol):
    """The jitted step."""

    def __call__(self, state: TrainState, totals: Totals, batch: PyTree, /) -> tuple[TrainState, Totals]:
        """Returns the next state, and the totals with this batch's."""
        ...

    def trace(self, state: PyTree, totals: PyTree, batch: PyTree, /) -> jax.stages.Traced:
        """Returns the step for arrays of these shapes, traced and ready to be lowered."""
        ...

    def lower(self, state: PyTree, totals: PyTree, batch: PyTree, /) -> jax.stages.Lowered:
        """Returns the step for arrays of these shapes, ready to be compiled."""
        ...


def zero_totals() -> Totals:
    """Returns the totals before any step, all zero.

    They are the loss, the wrong top-1 answers and the images of the good steps, each summed; the number of bad steps;
    and the number of the latest steps that were bad in a row.
    """
    return totals_of({})


def totals_of(sums: Mapping[str, float]) -> Totals:
    """Returns totals that go on from the numbers of earlier ones; those that are missing are zero."""
    types = {
        "loss": jnp.float32,
        "top1": jnp.int32,
        "images": jnp.int32,
        "bad_steps": jnp.int32,
        "bad_in_row": jnp.int32,
    }
    return {name: jnp.asarray(sums.get(name, 0), dtype) for name, dtype in types.items()}


def _all_finite(tree: PyTree) -> jax.Array:
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)])
    if rules_backend() != "cpu":
        return jnp.all(finite)
    # XLA's CPU backend would compute the conjunction again in each kernel that updates a parameter: the program would
    # grow with the square of their number. A product is a kernel of its own, and this one is exact.
    ones = finite.astype(jnp.float32)
    return jnp.dot(ones, ones) == len(finite)


def make_train_step(
    *,
    apply: Callable[..., PyTree],
    prepare: Callable[[PyTree], tuple[jax.Array, jax.Array]],
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    optimizer: optax.GradientTransformation,
    dropout_key: jax.Array,
    auxiliary_weight: float = 0.3,
    step_arguments: Callable[[jax.Array], Mapping[str, jax.Array]] = lambda step: {},
    average: Average | None = None,
    partition: Partition | None = None,
    micro_batches: int = 1,
    parallel: DataParallel | None = None,
    state_shardings: TrainState | None = None,
) -> TrainStep:
    """Returns the jitted step ``(state, totals, batch) -> (state, totals)``.

    The state is donated: its buffers become those of the next state. Totals are summed on the device.

    Named scopes tell its phases apart in profiles and in compiled programs: ``augmentation``, ``loss``, ``optimizer``
    and ``statistics``, beside the modules of the network.

    A step is bad if its loss, its gradient or the batch statistics that it leaves are not finite. Then the parameters,
    the batch statistics, the optimizer's state and the moving average stay as they are; only ``step``, the counts of
    bad steps and the scale of the loss change. Whatever is scheduled is a function of ``step``, so it moves on: the
    rates of the optimizer (see `at_step`), the moving average's decay, and the ``step_arguments``.

    Args:
        apply: ``model.apply``. Where ``parallel`` maps an axis, batch normalization must be given that axis's name.
        prepare: ``prepare(batch)`` returns augmented, normalized float32 images and their targets. These are int32
            labels, or float32 probabilities (batch, classes), of which the greatest gives the label that errors are
            counted by. Its randomness comes from the batch's own ``epoch`` and ``position``.
        loss: ``loss(logits, targets)`` returns the losses, (batch,).
        optimizer: the optimizer that `make_optimizer` returned.
        dropout_key: the key of dropout, into which the step is folded.
        auxiliary_weight: the weight of the loss of each auxiliary head, where the network returns their logits too.
        step_arguments: ``step_arguments(step)`` returns the further arguments of ``apply`` that a network schedules.
        average: the function that `make_average` returned; None where the state holds no moving average.
        partition: which parameters are trained; by default all are. The gradient is taken with respect to these alone.
            That ``apply`` leaves frozen batch statistics as they are is up to it.
        micro_batches: the number n of parts of the batch that are computed one after another. The first part is made of
            images 0, n, 2n, ..., so that each device already holds its share of every part.
        parallel: how the gradient is computed on several devices; by default as the compiler chooses.
        state_shardings: the shardings of the state; by default JAX chooses them.
    """
    # Where nobody has chosen the devices, the batch may be of any size.
    spread = parallel.spread if parallel else lambda tree, axis=0: tree
    parallel = parallel or DataParallel.over_all_devices()

    def trained_of(params: PyTree) -> PyTree:
        return params if partition is None else partition.trained(params)

    def whole(trained: PyTree, params: PyTree) -> PyTree:
        return trained if partition is None else partition.whole(trained, params)

    def gradient_of_part(params, loss_scale, step, key, batch_stats, images, targets):
        labels = targets if targets.ndim == 1 else jnp.argmax(targets, axis=-1)

        def scaled_loss(trained):
            variables = {"params": whole(trained, params), "batch_stats": batch_stats}
            outputs, updated = apply(
                variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": key}, **step_arguments(step)
            )
            logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            with jax.named_scope("loss"):
                losses = loss(logits, targets) + auxiliary_weight * sum(loss(each, targets) for each in auxiliary)
                return losses.mean() * loss_scale, (losses, logits, updated.get("batch_stats", {}))

        gradients, (losses, logits, batch_stats) = jax.grad(scaled_loss, has_aux=True)(trained_of(params))
        with jax.named_scope("statistics"):
            wrong = jnp.sum(rank_of_label(logits, labels) >= 1, dtype=jnp.int32)
        return gradients, {"loss": losses.sum(), "top1": wrong}, batch_stats

    def gradient(shared, parts):
        """Returns the mean gradient, sums over the images, and new batch statistics, of one device or of all."""
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
                with jax.named_scope("optimizer"):
                    return (jax.tree.map(jnp.add, so_far, tuple(more)), batch_stats), None

            no_sums = parallel.vary({"loss": jnp.zeros(()), "top1": jnp.zeros((), jnp.int32)})
            nothing = jax.tree.map(jnp.zeros_like, trained_of(params)), no_sums
            parts = spread(jax.tree.map(functools.partial(_interleaved, count=micro_batches), parts), axis=1)
            # On XLA's CPU backend, convolutions take about thirty times as long in a loop as outside of one.
            ((gradients, sums), batch_stats), _ = jax.lax.scan(
                add, (nothing, batch_stats), (jnp.arange(micro_batches), *parts), unroll=rules_backend() == "cpu"
            )
        with jax.named_scope("optimizer"):
            gradients = parallel.average(jax.tree.map(lambda leaf: leaf / (micro_batches * loss_scale), gradients))
        with jax.named_scope("statistics"):
            return gradients, parallel.sum(sums), batch_stats

    def step(state: TrainState, totals: Totals, batch: PyTree) -> tuple[TrainState, Totals]:
        with jax.named_scope("augmentation"):
            images, targets = spread(prepare(batch))
        key = jax.random.fold_in(dropout_key, state.step)
        loss_scale = state.loss_scale.scale if isinstance(state.loss_scale, LossScale) else jnp.ones(())
        shared = state.params, state.batch_stats, loss_scale, state.step, key
        gradients, sums, batch_stats = parallel.over_devices(gradient)(shared, (images, targets))

        with jax.named_scope("optimizer"):
            before, trained = at_step(state.optimizer_state, state.step), trained_of(state.params)
            updates, optimizer_state = optimizer.update(gradients, before, trained)
            new = dataclasses.replace(
                state,
                step=state.step + 1,
                params=whole(optax.apply_updates(trained, updates), state.params),
                batch_stats=batch_stats,
                optimizer_state=optimizer_state,
            )
            if average is not None:
                ema = average(state.step, state.ema, new.variables)
                new = dataclasses.replace(new, ema=ema if partition is None else partition.moved(state.ema, ema))
        with jax.named_scope("statistics"):
            good = _all_finite((sums["loss"], gradients, batch_stats))
        with jax.named_scope("optimizer"):
            undone = dataclasses.replace(state, step=new.step)
            new = jax.tree.map(functools.partial(jnp.where, good), new, undone)
        one_more = 1
        if isinstance(state.loss_scale, LossScale):
            new = dataclasses.replace(new, loss_scale=state.loss_scale.after(good))
            # An overflow that a smaller scale may prevent is no sign that the run cannot succeed.
            one_more = jnp.where(loss_scale > 1, 0, 1)
        added = {
            **{name: jnp.where(good, total, 0) for name, total in (sums | {"images": len(images)}).items()},
            "bad_steps": jnp.where(good, 0, 1),
            "bad_in_row": jnp.where(good, -totals["bad_in_row"], one_more),
        }
        return _with_types_of(state, new), _with_types_of(totals, jax.tree.map(jnp.add, totals, added))

    if state_shardings is None:
        return jax.jit(step, donate_argnums=0)
    return jax.jit(step, donate_argnums=0, out_shardings=(state_shardings, parallel.replicated))


def _with_types_of(before: PyTree, after: PyTree) -> PyTree:
    """Returns the second tree in the first one's dtypes: a step that is compiled once takes what it has returned."""
    return jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), before, after)


def _interleaved(x: jax.Array, count: int) -> jax.Array:
    """Returns (batch, ...) as (count, batch / count, ...), whose first part is images 0, count, 2 count, ..."""
    return jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
