"""Training of some of the parameters, at rates of their own."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.config import LAMB, SGD, AdamW, EMAConfig, RMSProp, ScheduleConfig
from jaxcnn.training.ema import make_average
from jaxcnn.training.losses import softmax_cross_entropy
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.partition import Partition
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import make_train_step, zero_totals

PARAMS = {
    "stem": {"kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)},
    "norm": {"scale": np.linspace(1, 2, 4, dtype=np.float32), "bias": np.linspace(0.1, 1, 4, dtype=np.float32)},
    "head": {"kernel": np.linspace(0.5, 2, 12, dtype=np.float32).reshape(4, 3)},
}
PATHS = {"stem/kernel", "norm/scale", "norm/bias", "head/kernel"}


def flat(tree):
    return flax.traverse_util.flatten_dict(jax.device_get(tree), sep="/")


def test_a_tree_is_parted_and_joined():
    partition = Partition(PARAMS, frozen=frozenset({"stem/kernel", "norm/bias"}))
    trained = partition.trained(PARAMS)
    assert flat(trained).keys() == {"norm/scale", "head/kernel"}
    whole = partition.whole(jax.tree.map(lambda leaf: leaf + 1, trained), PARAMS)
    for path, values in flat(whole).items():
        np.testing.assert_array_equal(values, flat(PARAMS)[path] + (path in ("norm/scale", "head/kernel")))


OPTIMIZERS = (SGD(), SGD(nesterov=True), RMSProp(), AdamW(), LAMB(), LAMB(scaled="decayed"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda config: config.kind)
def test_a_factor_of_the_rate_is_the_rate_of_that_parameter(optimizer):
    """Each parameter is updated as by the same optimizer with its own rate for all."""
    optimizer = dataclasses.replace(optimizer, schedule=ScheduleConfig(kind="constant"), weight_decay=0.1)

    def updated(factor, partition=None):
        _, made = make_optimizer(dataclasses.replace(optimizer, learning_rate=0.1 * factor), 10.0, 50, partition)
        state = made.init(PARAMS)
        for factor in (7.0, 3.0):
            gradients = jax.tree.map(lambda leaf, factor=factor: np.cos(factor * leaf), PARAMS)
            # The parameters stay where they are, because decay and trust ratios depend on them.
            updates, state = made.update(gradients, state, PARAMS)
        return flat(updates)

    rates = {"stem/kernel": 0.25, "norm/bias": 3.0}
    found, expected = updated(1.0, Partition(PARAMS, rates=rates)), {}
    for path in PATHS:
        expected[path] = updated(rates.get(path, 1.0))[path]
        np.testing.assert_allclose(found[path], expected[path], rtol=1e-5, err_msg=path)


@pytest.mark.parametrize("decayed", ["all", "not_norms", "kernels"])
def test_weight_decay_is_for_the_same_parameters_whatever_is_frozen(decayed):
    """Also where one of the two parameters is frozen by which a normalization is known."""
    config = SGD(weight_decay=0.1, decayed=decayed, schedule=ScheduleConfig(kind="constant"))
    nothing = jax.tree.map(np.zeros_like, PARAMS)

    def updated(partition, *trees):
        _, made = make_optimizer(config, 10.0, 50, partition)
        return flat(made.update(trees[0], made.init(trees[1]), trees[1])[0])

    partition = Partition(PARAMS, frozen=frozenset({"norm/scale", "stem/kernel"}))
    expected = updated(None, nothing, PARAMS)
    found = updated(partition, partition.trained(nothing), partition.trained(PARAMS))
    assert found.keys() == {"norm/bias", "head/kernel"}
    for path, update in found.items():
        np.testing.assert_array_equal(update, expected[path])


def test_clipping_is_by_the_norm_of_what_is_trained():
    partition = Partition(PARAMS, frozen=frozenset({"stem/kernel"}))
    config = SGD(learning_rate=1.0, weight_decay=0.0, momentum=0.0, clip_norm=1.0)
    _, made = make_optimizer(config, 10.0, 50, partition)
    params = partition.trained(PARAMS)
    updates, _ = made.update(jax.tree.map(lambda leaf: 5 * leaf, params), made.init(params), params)
    assert optax.tree.norm(updates) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_step_is_that_of_the_whole_network_where_it_is_trained(micro_batches):
    """The gradient with respect to what is trained, and moving averages whose frozen part is not even rounded."""
    images, labels = np.eye(4, 3, dtype=np.float32), np.array([0, 1, 2, 1])

    def apply(variables, images, *, train, mutable, rngs):
        params = variables["params"]
        x = images @ params["stem"]["kernel"] * params["norm"]["scale"][None] + params["norm"]["bias"][None]
        moved = {"mean": 0.5 * variables["batch_stats"]["norm"]["mean"] + x.mean(0), "var": jnp.ones(4) / 3}
        return jnp.tanh(x) @ params["head"]["kernel"], {"batch_stats": {"norm": moved}}

    def stepped(partition):
        _, optimizer = make_optimizer(AdamW(schedule=ScheduleConfig(kind="constant")), 10.0, 50, partition)
        step = make_train_step(
            apply=apply,
            prepare=lambda batch: batch,
            loss=softmax_cross_entropy,
            optimizer=optimizer,
            dropout_key=jax.random.key(0),
            average=make_average(EMAConfig(decay=0.9), batch_size=4, epochs=1.0, warmup_steps=0),
            partition=partition,
            micro_batches=micro_batches,
        )
        params = jax.tree.map(jnp.asarray, PARAMS)
        trained = partition.trained(params) if partition else params
        statistics = {"norm": {"mean": jnp.zeros(4), "var": jnp.full(4, 1 / 3)}}
        state = TrainState(jnp.zeros((), jnp.int32), params, statistics, optimizer.init(trained))
        state = state.replace(ema=jax.tree.map(jnp.copy, state.variables))
        state, totals = step(state, zero_totals(), (images, labels))
        return jax.device_get(state), float(totals["loss"])

    frozen = frozenset({"stem/kernel", "norm/bias"})
    whole, loss = stepped(None)
    found, same_loss = stepped(Partition(PARAMS, frozen, frozen_statistics=frozenset({"norm/var"})))
    assert same_loss == loss
    before = flat(PARAMS)
    for path, values in flat(found.params).items():
        expected = before[path] if path in frozen else flat(whole.params)[path]
        np.testing.assert_array_equal(values, expected, err_msg=path)
        assert (values != before[path]).any() == (path not in frozen)
        average = flat(found.ema["params"])[path]
        np.testing.assert_array_equal(average, before[path] if path in frozen else flat(whole.ema["params"])[path])
    np.testing.assert_array_equal(found.ema["batch_stats"]["norm"]["var"], np.full(4, 1 / 3, np.float32))
    moments = found.optimizer_state[0]
    assert flat(moments.mu).keys() == flat(moments.nu).keys() == PATHS - frozen
