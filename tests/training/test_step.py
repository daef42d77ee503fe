import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.config import EMAConfig
from jaxcnn.training.ema import make_average
from jaxcnn.training.losses import softmax_cross_entropy
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
        prepare=lambda batch, arrays: batch,
        loss=softmax_cross_entropy,
        optimizer=optax.sgd(1.0),
        dropout_key=jax.random.key(0),
        **options,
    )
    params = jnp.ones((3, 3))
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, optax.sgd(1.0).init(params))
    state, totals = step(state, zero_totals(), (IMAGES, LABELS), None)
    return np.asarray(state.params) - 1, {name: float(total) for name, total in totals.items()}


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_auxiliary_heads_add_their_weighted_losses_and_only_the_first_head_is_measured(weight):
    update, totals = one_step(1)
    with_heads, with_heads_totals = one_step(3, auxiliary_weight=weight)
    np.testing.assert_allclose(with_heads, (1 + 2 * weight) * update, rtol=1e-6)
    assert with_heads_totals["loss"] == pytest.approx((1 + 2 * weight) * totals["loss"], rel=1e-6)
    assert with_heads_totals["top1"] == totals["top1"]


def test_a_network_is_told_what_it_schedules():
    update, _ = one_step(1, of_step=lambda step: {"scale": 2.0 * (step + 1)})
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
        prepare=lambda batch, arrays: (batch, jnp.asarray(LABELS)),
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
            state, totals = step(state, totals, batch, None)
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
