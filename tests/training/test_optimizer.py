import dataclasses
import math
from fractions import Fraction
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tyro

import jaxcnn
from jaxcnn.config import (
    LAMB,
    SGD,
    AdamW,
    ConfigError,
    Optimizer,
    RMSProp,
    ScheduleConfig,
    TrainConfig,
    from_json,
    option_group,
    to_json,
)
from jaxcnn.config.options import PositiveFloat, Probability
from jaxcnn.errors import UserError
from jaxcnn.training.optimizer import OPTIMIZERS, decay_mask, make_optimizer, make_schedule, register_optimizer

GOLDEN = Path(__file__).parent.parent / "golden"
SETTINGS = {
    "plain": SGD(learning_rate=0.05, momentum=0.0, weight_decay=0.0),
    "momentum": SGD(learning_rate=0.02, momentum=0.9, weight_decay=0.0),
    "decay": SGD(learning_rate=0.02, momentum=0.9, weight_decay=0.1),
    "nesterov": SGD(learning_rate=0.02, momentum=0.9, weight_decay=0.1, nesterov=True),
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


ADAM = {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-3}
OTHERS = {
    "adamw": AdamW(learning_rate=0.02, weight_decay=0.1, **ADAM),
    "adamw_clipped": AdamW(learning_rate=0.02, weight_decay=0.1, clip_norm=0.3, **ADAM),
    "rmsprop": RMSProp(learning_rate=0.02, decay=0.8, momentum=0.9, epsilon=0.1, weight_decay=0.1),
    "lamb": LAMB(learning_rate=0.02, weight_decay=0.1, **ADAM),
    "lamb_timm": LAMB(learning_rate=0.02, weight_decay=0.1, scaled="decayed", **ADAM),
}


@pytest.mark.parametrize("name", OTHERS)
def test_twenty_steps_equal_the_definition(name):
    """PyTorch's, or the published definition written out, in double precision (golden/make_optimizer_golden.py)."""
    golden = np.load(GOLDEN / "optimizers.npz")
    config = dataclasses.replace(OTHERS[name], schedule=ScheduleConfig(kind="constant"))
    _, optimizer = make_optimizer(config, 10.0, 20)

    def step(carry, batch):
        params, state = carry
        x, y = batch
        gradients = jax.grad(lambda p: jnp.mean((x @ p["kernel"] + p["bias"][None] - y) ** 2))(params)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), jnp.concatenate([params["kernel"].ravel(), params["bias"]])

    params = {"kernel": jnp.asarray(golden["kernel"], jnp.float32), "bias": jnp.zeros(3)}
    batches = tuple(jnp.asarray(golden[key], jnp.float32) for key in ("inputs", "targets"))
    _, path = jax.jit(lambda carry, batches: jax.lax.scan(step, carry, batches))(
        (params, optimizer.init(params)), batches
    )
    np.testing.assert_allclose(path, golden[f"path_{name}"], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny"])
def test_decay_off_norms_spares_exactly_the_normalization_layers(name):
    """Biases of convolutions and dense layers, and ConvNeXt's layer scale, still decay, as in torchvision."""
    images = jnp.zeros((1, 64, 64, 3))
    model = jaxcnn.create_model(name)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))["params"]
    mask = jax.tree.leaves_with_path(decay_mask("not_norms", params))
    spared = {jax.tree_util.keystr(path, simple=True, separator="/") for path, decayed in mask if not decayed}
    assert len(spared) == {"resnet18": 2 * 20, "convnext_tiny": 2 * (1 + 3 + 18 + 1)}[name]
    assert all("norm" in path.split("/")[-2] or "shortcut" in path for path in spared), spared


def test_decay_of_kernels_leaves_biases_and_scales_alone():
    config = SGD(weight_decay=0.5, decayed="kernels", schedule=ScheduleConfig(kind="constant"))
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
        # Each milestone counts: two at one time, two that come to one step (the 13th), and one during warm-up.
        (ScheduleConfig(kind="step", milestones=(1.0, 1.0), factor=0.5), {9: 0.4, 10: 0.1, 99: 0.1}),
        (ScheduleConfig(kind="step", milestones=(6.0, 1.22, 1.28), factor=0.5), {12: 0.4, 13: 0.1, 59: 0.1, 60: 0.05}),
        (
            ScheduleConfig(kind="step", milestones=(1.2, 1.7, 3.0), factor=0.5, moves="every_epoch"),
            {19: 0.4, 20: 0.1, 29: 0.1, 30: 0.05},
        ),
        (
            ScheduleConfig(kind="step", milestones=(0.5, 0.5, 2.0), factor=0.5, warmup_epochs=1.0),
            {5: 0.2, 10: 0.1, 19: 0.1, 20: 0.05},
        ),
        (ScheduleConfig(kind="cosine", minimum_rate=0.1), {0: 0.4, 50: 0.25, 100: 0.1}),
        (ScheduleConfig(warmup_epochs=2.0, warmup_start=0.25), {0: 0.1, 10: 0.25, 20: 0.4, 60: 0.2}),
        (
            ScheduleConfig(kind="exponential", every_epochs=2.4, factor=0.5),
            {0: 0.4, 23: 0.4, 24: 0.2, 47: 0.2, 48: 0.1, 95: 0.05, 96: 0.025},
        ),
        # Its periods, too, count from the start of training.
        (
            ScheduleConfig(kind="exponential", every_epochs=3.0, factor=0.5, warmup_epochs=2.0),
            {0: 0.0, 10: 0.2, 20: 0.4, 29: 0.4, 30: 0.2, 59: 0.2, 60: 0.1},
        ),
        (
            ScheduleConfig(warmup_epochs=2.0, warmup_start=0.01, moves="every_epoch"),
            {
                0: 0.004,
                9: 0.004,
                10: 0.202,
                19: 0.202,
                20: 0.4,
                59: 0.2 + 0.2 * np.cos(np.pi * 3 / 8),
                60: 0.2,
                69: 0.2,
            },
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


def test_torchvisions_600_epochs_equal_pytorchs_schedulers():
    """LinearLR(start_factor=0.01, total_iters=5), then CosineAnnealingLR(T_max=595), stepped every epoch.

    An epoch has 1251.1 steps; a step belongs to the epoch in which its middle lies.
    """
    config = ScheduleConfig(warmup_epochs=5.0, warmup_start=0.01, moves="every_epoch")
    steps = 1_281_167 / 1024
    schedule = make_schedule(config, 0.5, steps, round(600 * steps))
    rates = {0: 0.005, 1: 0.104, 4: 0.401, 5: 0.5, 6: 0.4999965152243937, 302: 0.25065999768998615, 599: 3.484775606e-6}
    for epoch, rate in rates.items():
        for step in (round(epoch * steps), round((epoch + 1) * steps) - 1):
            np.testing.assert_allclose(schedule(step), rate, rtol=1e-5, atol=3e-8, err_msg=f"{epoch} {step}")


def test_periods_end_where_whole_numbers_say_in_a_training_of_many_steps():
    """350 epochs of 1,281,167 images in batches of 32: 14 million steps, of which float32 cannot tell halves."""
    steps_per_epoch, total = Fraction(1_281_167, 32), 350 * 1_281_167 // 32
    schedule = make_schedule(
        ScheduleConfig(kind="exponential", every_epochs=2.4, factor=0.97), 0.1, steps_per_epoch, total
    )
    for number in (1, 2, 100, 144):
        end = math.ceil(number * Fraction(12, 5) * steps_per_epoch - Fraction(1, 2))
        before, after = (float(schedule(step)) for step in (end - 1, end))
        assert (before, after) == pytest.approx((0.1 * 0.97 ** (number - 1), 0.1 * 0.97**number), rel=1e-5)


def test_periods_shorter_than_a_step():
    """An epoch of a quarter of a step: 2 are over in the middle of the first, 6 in that of the second."""
    schedule = make_schedule(ScheduleConfig(kind="exponential", every_epochs=1.0, factor=0.5), 1.0, 0.25, 10)
    assert [float(schedule(step)) for step in range(3)] == [2**-2, 2**-6, 2**-10]


def test_a_minimum_above_the_rate_is_refused():
    with pytest.raises(ConfigError, match=r"minimum_rate 0.2 is above the learning rate of 0.1: lower it"):
        make_schedule(ScheduleConfig(minimum_rate=0.2), 0.1, 10.0, 20)


@option_group
class Lion(Optimizer):
    """The sign of a momentum (arXiv:2302.06675)."""

    learning_rate: PositiveFloat = 1e-4
    beta1: Probability = 0.9
    """The share of the momentum in an update."""
    kind: Literal["lion"] = "lion"


def lion(config, learning_rate, mask):
    return optax.lion(learning_rate, config.beta1, weight_decay=config.weight_decay, mask=mask)


def lion_in_parts(config, learning_rate, mask):
    decay = optax.add_decayed_weights(config.weight_decay, mask)
    return [optax.scale_by_lion(config.beta1), decay, optax.scale_by_learning_rate(learning_rate)]


@pytest.mark.parametrize("make", [lion, lion_in_parts])
def test_an_optimizer_that_is_not_ours(make):
    config = Lion(learning_rate=0.5, weight_decay=0.1, clip_norm=1.0, schedule=ScheduleConfig(kind="constant"))
    params = {"conv": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full(2, 2.0)}}
    with OPTIMIZERS.temporarily():
        register_optimizer(Lion, make)
        schedule, optimizer = make_optimizer(config, 10.0, 50)
        gradients = jax.tree.map(lambda leaf: -3 * leaf, params)
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        assert schedule(7) == 0.5
        # Its sign, less the decay, which is of kernels alone unless told otherwise.
        np.testing.assert_allclose(updates["conv"]["kernel"], 0.5 * (1 - 0.1 * 2), rtol=1e-6)
        np.testing.assert_allclose(updates["conv"]["bias"], 0.5, rtol=1e-6)
    with pytest.raises(
        UserError, match=r"^optimizer class Lion, which is not registered: call register_optimizer\(Lion"
    ):
        make_optimizer(config, 10.0, 50)


def test_an_optimizer_that_is_not_ours_is_checked_and_read_as_ours(capsys):
    names = [field.name for field in dataclasses.fields(Lion)]
    assert names == ["learning_rate", "beta1", "kind", "weight_decay", "decayed", "clip_norm", "schedule"]
    with pytest.raises(ConfigError, match=r"^clip_norm must be greater than 0, not -1.0$"):
        Lion(clip_norm=-1.0)
    with OPTIMIZERS.temporarily():
        register_optimizer(Lion, lion)
        config = TrainConfig(optimizer=Lion(beta1=0.8, schedule=ScheduleConfig(warmup_epochs=2.0)))
        assert from_json(to_json(config)) == config
        with pytest.raises(ConfigError, match=r"^optimizer\.lion\.schedule\.kind must be 'constant', 'step', 'expo"):
            from_json('{"optimizer": {"kind": "lion", "schedule": {"kind": "linear"}}}')

        def parse(*arguments):
            return tyro.cli(TrainConfig, default=config, args=arguments, config=(tyro.conf.AvoidSubcommands,))

        changed = parse("--optimizer.beta1", "0.7", "--optimizer.schedule.kind", "step", "--optimizer.decayed", "all")
        expected = ScheduleConfig(kind="step", warmup_epochs=2.0)
        assert changed.optimizer == Lion(beta1=0.7, decayed="all", schedule=expected)
        with pytest.raises(SystemExit):
            parse("--help")
        said = " ".join(capsys.readouterr().out.replace("│", "").split())
        assert "The sign of a momentum (arXiv:2302.06675)." in said
        assert "--optimizer.beta1 FLOAT The share of the momentum in an update. (default: 0.8)" in said
        assert "--optimizer.clip-norm {None}|FLOAT The global norm to which larger gradients are scaled down" in said
        with pytest.raises(
            UserError, match=r"^optimizer kind 'lion' of \S+\.Lion is taken by \S+\.Lion: register a cl"
        ):
            register_optimizer(Lion, lion)
    way_out = r"its function must take \(options, learning_rate, mask\), and this one does not: too many positional"
    with pytest.raises(UserError, match=rf"^Lion cannot be registered as an optimizer: {way_out}"):
        register_optimizer(Lion, lambda config, learning_rate: optax.lion(learning_rate))


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        (SGD(), ["add_decayed_weights", "trace", "scale_by_learning_rate"]),
        (SGD(clip_norm=1.0), ["clip_by_global_norm", "add_decayed_weights", "trace", "scale_by_learning_rate"]),
        (LAMB(), ["scale_by_adam", "add_decayed_weights", "scale_by_trust_ratio", "scale_by_learning_rate"]),
    ],
)
def test_states_are_one_flat_chain(config, steps):
    """Checkpoints hold them: another tree of the same numbers would not be found again."""
    _, optimizer = make_optimizer(config, 10.0, 50)
    state = optimizer.init({"kernel": jnp.ones((2, 2))})
    assert len(state) == len(steps)
    assert [hasattr(each, "trace") for each in state] == [name == "trace" for name in steps]
    assert [hasattr(each, "mu") for each in state] == [name == "scale_by_adam" for name in steps]
