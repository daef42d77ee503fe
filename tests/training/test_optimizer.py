import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.config import ConfigError, OptimizerConfig, ScheduleConfig
from jaxcnn.training.optimizer import make_optimizer, make_schedule

GOLDEN = Path(__file__).parent.parent / "golden"
SETTINGS = {
    "plain": OptimizerConfig(learning_rate=0.05, momentum=0.0, weight_decay=0.0),
    "momentum": OptimizerConfig(learning_rate=0.02, momentum=0.9, weight_decay=0.0),
    "decay": OptimizerConfig(learning_rate=0.02, momentum=0.9, weight_decay=0.1),
    "nesterov": OptimizerConfig(learning_rate=0.02, momentum=0.9, weight_decay=0.1, nesterov=True),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_fifty_steps_equal_pytorchs_sgd(name):
    golden = np.load(GOLDEN / "sgd.npz")
    config = dataclasses.replace(SETTINGS[name], schedule=ScheduleConfig(kind="constant"))
    _, optimizer = make_optimizer(config, 10.0, 50)
    params = {"kernel": jnp.asarray(golden["kernel"]), "bias": jnp.asarray(golden["bias"])}

    def loss(params, x, y):
        return jnp.mean((x @ params["kernel"] + params["bias"][None] - y) ** 2)

    @jax.jit
    def step(params, state, x, y):
        updates, state = optimizer.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for x, y, expected in zip(golden["inputs"], golden["targets"], golden[f"path_{name}"], strict=True):
        params, state = step(params, state, x, y)
        found = np.concatenate([np.ravel(params["kernel"]), params["bias"]])
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_decay_of_kernels_leaves_biases_and_scales_alone():
    config = OptimizerConfig(weight_decay=0.5, decayed="kernels", schedule=ScheduleConfig(kind="constant"))
    _, optimizer = make_optimizer(config, 10.0, 50)
    params = {"conv": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)}, "norm": {"scale": jnp.ones(2)}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    np.testing.assert_allclose(updates["conv"]["kernel"], -0.05 * np.ones((3, 3, 1, 2)), rtol=1e-6)
    assert not updates["conv"]["bias"].any()
    assert not updates["norm"]["scale"].any()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ScheduleConfig(kind="constant"), {0: 0.4, 99: 0.4}),
        (ScheduleConfig(kind="cosine"), {0: 0.4, 50: 0.2, 75: 0.2 - 0.2 * np.sqrt(0.5), 100: 0.0}),
        (ScheduleConfig(kind="cosine", warmup_epochs=2.0), {0: 0.0, 5: 0.1, 20: 0.4, 60: 0.2, 100: 0.0}),
        # Milestones count from the start of training, warm-up included.
        (
            ScheduleConfig(kind="step", milestones=(3.0, 6.0), factor=0.5),
            {0: 0.4, 29: 0.4, 30: 0.2, 59: 0.2, 60: 0.1, 99: 0.1},
        ),
        (
            ScheduleConfig(kind="step", milestones=(3.0,), warmup_epochs=1.0),
            {0: 0.0, 5: 0.2, 10: 0.4, 29: 0.4, 30: 0.04},
        ),
    ],
)
def test_schedules_at_steps_worked_out_by_hand(config, expected):
    """Ten steps an epoch, a hundred in all, a peak of 0.4."""
    schedule = make_schedule(config, 0.4, 10.0, 100)
    for step, rate in expected.items():
        np.testing.assert_allclose(schedule(step), rate, rtol=1e-5, atol=1e-8, err_msg=str(step))


def test_warmup_longer_than_training_is_refused():
    with pytest.raises(ConfigError, match=r"warmup_epochs 5 is 50 steps, and training has only 20: shorten"):
        make_schedule(ScheduleConfig(warmup_epochs=5.0), 0.1, 10.0, 20)
