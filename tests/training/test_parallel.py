"""One step, however it is spread: over devices, by three wrappers, in micro-batches, with the optimizer sharded."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxcnn.assembly import abstract_arguments, assemble
from jaxcnn.config import ConfigError, ModelConfig, ParallelConfig, Resize
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.ops.backend import rules_of
from jaxcnn.recipes import load_config
from jaxcnn.training.step import zero_totals


@functools.cache
def recipe():
    """Without dropout, whose masks depend on the wrapper."""
    tiny = load_config(Path(__file__).parent.parent / "recipes" / "tiny.py")
    return dataclasses.replace(tiny, model=ModelConfig(name="tiny"), augmentations=())


def assembled(config, count, **parallel):
    config = dataclasses.replace(config, parallel=ParallelConfig(**parallel))
    return assemble(config, parallel=DataParallel.over(jax.devices()[:count]))


@functools.cache
def trained(count, network="tiny", **parallel):
    """The losses of 20 steps, and the state after them."""
    config = dataclasses.replace(recipe(), model=ModelConfig(name=network))
    if network == "lenet":
        size = Resize(size=32)
        # At 0.1 it does not settle, and rounding errors grow.
        config = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, learning_rate=0.01))
        config = dataclasses.replace(
            config, data=dataclasses.replace(config.data, train_crop=size, evaluation_crop=size)
        )
    assembly = assembled(config, count, **parallel)
    state, totals, losses = assembly.make_state(), zero_totals(), []
    for batch in assembly.train_feed.training(0, 20):
        state, totals = assembly.train_step(state, totals, batch)
        losses.append(float(totals["loss"]))
    return np.diff(losses, prepend=0), state


def assert_same(found, expected):
    """All to 1e-5: each loss, and parameters and batch statistics as two vectors."""
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    for name in ("params", "batch_stats"):
        a, b = (ravel_pytree(jax.device_get(state.variables[name]))[0] for _, state in (found, expected))
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b)


def by_speed(cases, quick):
    """Marks all cases but some as slow."""
    return [case if case in quick else pytest.param(*case, marks=pytest.mark.slow) for case in cases]


WRAPPERS = ("jit", "shard_map", "pmap")


@pytest.mark.parametrize(
    ("wrapper", "count"),
    by_speed(
        [(wrapper, count) for wrapper in WRAPPERS for count in (1, 2, 4, 8)],
        quick=[("shard_map", 4), ("pmap", 2)],
    ),
)
def test_twenty_steps_are_the_same_under_every_wrapper_on_any_number_of_devices(wrapper, count):
    assert_same(trained(count, wrapper=wrapper), trained(1))


@pytest.mark.parametrize(
    ("wrapper", "scope", "count"),
    by_speed(
        [
            (wrapper, scope, count)
            for wrapper in WRAPPERS
            for scope, count in (("local", 2), ("local", 4), ("local", 8), (2, 4), (2, 8), (4, 8))
        ],
        quick=[("shard_map", 2, 4)],
    ),
)
def test_batch_statistics_of_one_scope_are_the_same_however_they_are_had(wrapper, scope, count):
    """What counts is how many parts of the batch are normalized each by itself."""
    parts = count if scope == "local" else count // scope
    expected = trained(parts, wrapper="pmap", batch_norm="local")
    assert_same(trained(count, wrapper=wrapper, batch_norm=scope), expected)
    assert abs(expected[0] / trained(1)[0] - 1).max() > 1e-3


@pytest.mark.parametrize(("wrapper", "count"), by_speed([(wrapper, 2) for wrapper in WRAPPERS], quick=[]))
def test_micro_batches_are_the_same_on_any_number_of_devices(wrapper, count):
    assert_same(trained(count, wrapper=wrapper, micro_batches=4), trained(1, micro_batches=4))


@pytest.mark.slow
def test_four_micro_batches_of_16_equal_a_batch_of_64_without_batch_normalization():
    with rules_of("gpu"):  # in a loop, as everywhere but on a CPU
        assert_same(trained(1, "lenet", micro_batches=4), trained(1, "lenet"))


@pytest.mark.parametrize(
    ("wrapper", "count"), by_speed([("jit", 4), ("shard_map", 4), ("pmap", 4)], quick=[("jit", 4)])
)
def test_a_sharded_optimizer_changes_nothing_but_where_its_state_lives(wrapper, count):
    found = trained(count, wrapper=wrapper, shard_optimizer=True)
    assert_same(found, trained(1))
    state = found[1]
    split = [leaf for leaf in jax.tree.leaves(state.optimizer_state) if leaf.ndim > 1]
    # The first convolution has one input channel and four features, all others more.
    assert all(leaf.addressable_shards[0].data.size == leaf.size // count for leaf in split)
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state.variables))


def test_arrays_are_spread_whatever_the_compiler_would_choose():
    parallel = DataParallel.over(jax.devices())
    spread = jax.jit(lambda x: parallel.spread(x[::-1], axis=1))(jnp.zeros((2, 16, 3)))
    assert spread.sharding.shard_shape(spread.shape) == (2, 2, 3)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_the_images_are_spread_after_they_are_augmented_and_in_each_micro_batch(micro_batches):
    """An augmentation that mixes them may leave all of them on each device."""
    assembly = assembled(recipe(), 8, micro_batches=micro_batches)
    traced = assembly.train_step.trace(*abstract_arguments(assembly))
    # Of images and labels each.
    assert str(traced.jaxpr).count("sharding_constraint[") == 2 * (1 if micro_batches == 1 else 2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_computation_leaves_float32_everywhere_else(dtype):
    config = dataclasses.replace(recipe(), model=ModelConfig(name="tiny", dtype=dtype))
    assembly = assembled(config, 1)
    batch = assembly.train_feed.abstract
    state, totals = jax.eval_shape(assembly.train_step, assembly.abstract_state, zero_totals(), batch)
    kept = (state.variables, state.optimizer_state, state.ema, totals["loss"])
    assert {leaf.dtype for leaf in jax.tree.leaves(kept) if leaf.dtype != jnp.int32} == {jnp.dtype("float32")}
    assert bool(state.loss_scale) == (dtype == "float16")


@pytest.mark.parametrize(
    ("parallel", "sentence"),
    [
        ({"batch_norm": 3}, "parallel.batch_norm 3 does not divide 8 devices into groups of 3"),
        ({"batch_norm": 16}, "parallel.batch_norm 16 does not divide 8 devices into groups of 16"),
        ({"micro_batches": 16}, "data.batch_size 64 cannot be split over 8 devices and 16 micro-batches: use 128"),
        ({"micro_batches": 3}, "data.batch_size 64 cannot be split over 8 devices and 3 micro-batches: use 48 or 72"),
    ],
)
def test_what_cannot_be_divided_is_refused(parallel, sentence):
    with pytest.raises(UserError, match=sentence):
        assembled(recipe(), 8, **parallel)


@pytest.mark.parametrize(
    ("batch_size", "count", "parallel", "sentence"),
    [
        (
            1,
            1,
            {},
            "images of 4x4 leave one a channel at a data.batch_size of 1: set data.batch_size to 2",
        ),
        (2, 1, {"micro_batches": 2}, "2, in 2 parts that are normalized separately: set data.batch_size to 4"),
        (2, 2, {"batch_norm": "local"}, "2, in 2 parts that are normalized separately: set data.batch_size to 4"),
        (2, 2, {}, None),
        (4, 2, {"batch_norm": "local"}, None),
    ],
)
def test_batch_normalization_over_one_value_a_channel_is_refused_before_anything_is_compiled(
    batch_size, count, parallel, sentence
):
    """The last stage of this network makes one pixel of 4x4, and four of 8x8."""
    data = dataclasses.replace(
        recipe().data, batch_size=batch_size, train_crop=Resize(size=4), evaluation_crop=Resize(size=4)
    )
    config = dataclasses.replace(recipe(), data=data, model=ModelConfig(name="resnet20_cifar"))
    if sentence is None:
        assembled(config, count, **parallel)
    else:
        with pytest.raises(UserError, match=rf"{sentence}, or train on images of 8x8$"):
            assembled(config, count, **parallel)


def test_the_scope_of_batch_statistics_is_set_in_one_place():
    model = ModelConfig(name="tiny", options={"batch_norm_axis": "data"})
    with pytest.raises(ConfigError, match=r"batch_norm_axis follows from the devices: set parallel\.batch_norm"):
        assembled(dataclasses.replace(recipe(), model=model), 1)
