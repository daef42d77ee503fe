import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

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
