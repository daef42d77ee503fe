import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.config import LAMB, SGD, AdamW, EMAConfig, Optimizer, RMSProp, ScheduleConfig, option_group
from jaxcnn.training.ema import make_average
from jaxcnn.training.loss_scale import PATIENCE, LossScale, initial_loss_scale
from jaxcnn.training.losses import softmax_cross_entropy
from jaxcnn.training.optimizer import OPTIMIZERS, make_optimizer, register_optimizer
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import make_train_step, zero_totals

IMAGES, LABELS = np.eye(4, 3, dtype=np.float32), np.array([0, 1, 2, 1])


def one_step(heads, **options):
    """The parameters and totals after one step of a linear network that returns its logits so many times."""

    def apply(variables, images, *, train, mutable, rngs, scale=1.0):
        logits = scale * images @ variables["params"]
        return (logits if heads == 1 else (logits,) * heads), {}

    step = make_train_step(
        apply=apply,
        prepare=lambda batch: batch,
        loss=softmax_cross_entropy,
        optimizer=optax.sgd(1.0),
        dropout_key=jax.random.key(0),
        **options,
    )
    params = jnp.ones((3, 3))
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, optax.sgd(1.0).init(params))
    state, totals = step(state, zero_totals(), (IMAGES, LABELS))
    return np.asarray(state.params) - 1, {name: float(total) for name, total in totals.items()}


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_auxiliary_heads_add_their_weighted_losses_and_only_the_first_head_is_measured(weight):
    update, totals = one_step(1)
    with_heads, with_heads_totals = one_step(3, auxiliary_weight=weight)
    np.testing.assert_allclose(with_heads, (1 + 2 * weight) * update, rtol=1e-6)
    assert with_heads_totals["loss"] == pytest.approx((1 + 2 * weight) * totals["loss"], rel=1e-6)
    assert with_heads_totals["top1"] == totals["top1"]


def test_a_network_is_told_what_it_schedules():
    update, _ = one_step(1, step_arguments=lambda step: {"scale": 2.0 * (step + 1)})
    np.testing.assert_allclose(update, 2 * one_step(1)[0], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_step_that_is_not_finite_changes_nothing_but_is_counted(seed):
    """A run some of whose batches are poisoned ends in the bits of one without them."""
    random = np.random.default_rng(seed)
    batches = random.standard_normal((12, 4, 4)).astype(np.float32)
    batches[:, :, 3] = 1
    poisoned = random.choice(12, 5, replace=False)
    batches[poisoned[0], 1, 2] = np.nan
    batches[poisoned[1], 0, 0] = np.inf
    batches[poisoned[2:], :, 3] = 0  # finite losses, and a gradient of 0 / sqrt(0)

    def apply(variables, images, *, train, mutable, rngs):
        params = variables["params"]
        logits = images[:, :3] @ params + jnp.sqrt(images[:, 3:] * jnp.sum(params**2))
        return logits, {"batch_stats": {"mean": 0.5 * variables["batch_stats"]["mean"] + images.mean(0)}}

    step = make_train_step(
        apply=apply,
        prepare=lambda batch: (batch, jnp.asarray(LABELS)),
        loss=softmax_cross_entropy,
        optimizer=optax.adam(0.1),
        dropout_key=jax.random.key(0),
        average=make_average(EMAConfig(decay=0.9), batch_size=4, epochs=1.0, warmup_steps=0),
    )

    def train(batches):
        params = jnp.ones((3, 3))
        state = TrainState(jnp.zeros((), jnp.int32), params, {"mean": jnp.zeros(4)}, optax.adam(0.1).init(params))
        state = state.replace(ema=jax.tree.map(jnp.copy, state.variables))
        totals, in_row = zero_totals(), []
        for batch in batches:
            state, totals = step(state, totals, batch)
            in_row.append(int(totals["bad_in_row"]))
        return jax.tree.map(np.asarray, (state, totals)), in_row

    good = [index for index in range(12) if index not in poisoned]
    (found, totals), in_row = train(batches)
    (expected, expected_totals), _ = train(batches[good])
    jax.tree.map(np.testing.assert_array_equal, found.replace(step=0), expected.replace(step=0))
    assert found.step == 12
    assert expected.optimizer_state[0].count == len(good)
    assert totals["bad_steps"] == 5
    for name in ("loss", "top1", "images"):
        assert totals[name] == expected_totals[name]
    streak = 0
    for index, count in enumerate(in_row):
        streak = streak + 1 if index in poisoned else 0
        assert count == streak


@option_group
class Scheduled(Optimizer):
    """SGD with what Optax can schedule."""

    kind: Literal["scheduled"] = "scheduled"


def scheduled(config, learning_rate, mask):
    # Params are ones and the gradient is not zero: the decay alone would be seen.
    decay = optax.add_decayed_weights(lambda step: 10.0 * learning_rate(step), mask)
    return decay, optax.inject_hyperparams(optax.sgd)(learning_rate=learning_rate)


OPTIMIZERS_TO_SCHEDULE = (SGD(), RMSProp(), AdamW(), LAMB(), Scheduled())


@pytest.mark.parametrize("config", OPTIMIZERS_TO_SCHEDULE, ids=lambda config: config.kind)
def test_what_is_scheduled_is_a_function_of_the_step_however_many_were_undone(config):
    """The first good step after four that were undone is that of a run whose rate is constant at the fifth step's."""
    images = np.full((5, 4, 3), np.nan, np.float32)
    images[4] = IMAGES

    def train(schedule, batches):
        with OPTIMIZERS.temporarily():
            register_optimizer(Scheduled, scheduled)
            rate, optimizer = make_optimizer(dataclasses.replace(config, schedule=schedule), 1.0, 5)
        step = make_train_step(
            apply=lambda variables, images, *, train, mutable, rngs: (images @ variables["params"]["kernel"], {}),
            prepare=lambda batch: (batch, jnp.asarray(LABELS)),
            loss=softmax_cross_entropy,
            optimizer=optimizer,
            dropout_key=jax.random.key(0),
        )
        params = {"kernel": jnp.ones((3, 3))}
        state = TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params))
        for batch in batches:
            state, _ = step(state, zero_totals(), batch)
        return float(rate(4)), np.asarray(state.params["kernel"]) - 1

    # The rate falls by half at every step, and that of the log is the update's.
    falling = ScheduleConfig(kind="exponential", every_epochs=1.0, factor=0.5)
    rate, found = train(falling, images)
    assert rate == pytest.approx(config.learning_rate / 16)
    config = dataclasses.replace(config, learning_rate=rate)
    _, expected = train(ScheduleConfig(kind="constant"), images[4:])
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_a_step_keeps_the_types_of_what_it_is_given():
    """It is compiled for these, and called with what it has returned: with 64 bits switched on too."""

    def apply(variables, images, *, train, mutable, rngs):
        mean = np.float64(0.5) * variables["batch_stats"]["mean"]  # as a network or optimizer of a recipe may do it
        return images @ variables["params"], {"batch_stats": {"mean": mean}}

    _, optimizer = make_optimizer(AdamW(), 10.0, 100)
    step = make_train_step(
        apply=apply,
        prepare=lambda batch: batch,
        loss=softmax_cross_entropy,
        optimizer=optimizer,
        dropout_key=jax.random.key(0),
        average=make_average(EMAConfig(decay=0.9), batch_size=4, epochs=1.0, warmup_steps=0),
    )
    with jax.enable_x64(True):
        params = jnp.ones((3, 3), jnp.float32)
        state = TrainState(
            jnp.zeros((), jnp.int32), params, {"mean": jnp.ones((), jnp.float32)}, optimizer.init(params)
        )
        state = state.replace(ema=jax.tree.map(jnp.copy, state.variables), loss_scale=initial_loss_scale())
        arguments = state, zero_totals(), (IMAGES, LABELS)
        returned = jax.eval_shape(step, *arguments)
        assert [leaf.dtype for leaf in jax.tree.leaves(returned)] == [
            leaf.dtype for leaf in jax.tree.leaves(arguments[:2])
        ]


def float16_network(variables, images, *, train, mutable, rngs):
    return (images.astype(jnp.float16) @ variables["params"].astype(jnp.float16)).astype(jnp.float32), {}


def float16_step(images, loss_scale, learning_rate=1.0):
    """The parameters, scale and totals after a step of a linear network in float16, from parameters of 1."""
    step = make_train_step(
        apply=float16_network,
        prepare=lambda batch: (batch, jnp.asarray(LABELS)),
        loss=softmax_cross_entropy,
        optimizer=optax.sgd(learning_rate),
        dropout_key=jax.random.key(0),
    )
    params = jnp.ones((3, 3))
    state = TrainState(
        jnp.zeros((), jnp.int32), params, {}, optax.sgd(learning_rate).init(params), loss_scale=loss_scale
    )
    state, totals = step(state, zero_totals(), images)
    return np.asarray(state.params), state.loss_scale, totals


def test_a_scaled_loss_keeps_gradients_that_float16_would_lose():
    images, rate = 2.0**-23 * IMAGES, 2.0**23  # float16 has no gradient of 2^-23 / 12: its smallest is 2^-24
    lost, _, _ = float16_step(images, {}, rate)
    np.testing.assert_array_equal(lost, 1)
    kept, scale, _ = float16_step(images, initial_loss_scale(), rate)
    np.testing.assert_allclose(kept, 1 - IMAGES.T @ (np.full((4, 3), 1 / 3) - np.eye(3)[LABELS]) / 4, rtol=1e-3)
    assert (scale.scale, scale.good_steps) == (2**16, 1)


def test_an_overflow_halves_the_scale_and_counts_in_a_row_only_where_it_cannot_be_halved():
    images = np.where(IMAGES, 60000, 0).astype(np.float32)
    big = LossScale(jnp.full((), 2.0**20), jnp.full((), 7, jnp.int32))
    params, scale, totals = float16_step(images, big)
    np.testing.assert_array_equal(params, 1)
    assert (scale.scale, scale.good_steps) == (2**19, 0)
    assert (totals["bad_steps"], totals["bad_in_row"]) == (1, 0)
    _, scale, totals = float16_step(
        np.where(images, np.inf, 0).astype(np.float32), LossScale(jnp.ones(()), jnp.zeros((), jnp.int32))
    )
    assert scale.scale == 1
    assert (totals["bad_steps"], totals["bad_in_row"]) == (1, 1)


def test_the_scale_doubles_after_so_many_good_steps_up_to_its_greatest():
    scale = LossScale(jnp.full((), 2.0**23), jnp.full((), PATIENCE - 2, jnp.int32))
    scale = scale.after(True)
    assert (scale.scale, scale.good_steps) == (2**23, PATIENCE - 1)
    scale = scale.after(True)
    assert (scale.scale, scale.good_steps) == (2**24, 0)
    assert LossScale(scale.scale, jnp.full((), PATIENCE - 1, jnp.int32)).after(True).scale == 2**24


def test_each_micro_batch_leaves_its_batch_statistics_to_the_next():
    def apply(variables, images, *, train, mutable, rngs):
        mean = 0.5 * variables["batch_stats"]["mean"] + 0.5 * images.mean()
        return images @ variables["params"], {"batch_stats": {"mean": mean}}

    step = make_train_step(
        apply=apply,
        prepare=lambda batch: (batch, jnp.asarray(LABELS)),
        loss=softmax_cross_entropy,
        optimizer=optax.sgd(1.0),
        dropout_key=jax.random.key(0),
        micro_batches=2,
    )
    images = np.arange(12, dtype=np.float32).reshape(4, 3)
    params = jnp.ones((3, 3))
    state = TrainState(jnp.zeros((), jnp.int32), params, {"mean": jnp.zeros(())}, optax.sgd(1.0).init(params))
    state, totals = step(state, zero_totals(), images)
    assert state.batch_stats["mean"] == 0.5 * (0.5 * images[::2].mean()) + 0.5 * images[1::2].mean()
    assert totals["images"] == 4
