import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.ops.backend import rules_of

GOLDEN = Path(__file__).parent.parent / "golden"


def test_three_training_steps_equal_pytorchs():
    golden = np.load(GOLDEN / "batch_norm.npz")
    params = {"scale": jnp.asarray(golden["scale"]), "bias": jnp.asarray(golden["bias"])}
    stats = {"mean": jnp.zeros(7), "var": jnp.ones(7)}

    def apply(params, images, stats):
        return BatchNorm(train=True).apply({"params": params, "batch_stats": stats}, images, mutable=["batch_stats"])

    for images in jnp.asarray(golden["images"]):
        outputs, pullback, updated = jax.vjp(lambda *xs: apply(*xs, stats), params, images, has_aux=True)  # noqa: B023
        stats = updated["batch_stats"]
    params_gradient, images_gradient = pullback(jnp.asarray(golden["cotangent"]))
    np.testing.assert_allclose(stats["mean"], golden["mean"], rtol=1e-5)
    np.testing.assert_allclose(stats["var"], golden["var"], rtol=1e-5)
    np.testing.assert_allclose(outputs, golden["outputs"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(params_gradient["scale"], golden["scale_gradient"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(images_gradient, golden["images_gradient"], rtol=1e-3, atol=1e-4)
    evaluated = BatchNorm(train=False).apply(
        {"params": params, "batch_stats": stats}, jnp.asarray(golden["images"][-1])
    )
    np.testing.assert_allclose(evaluated, golden["evaluated"], rtol=1e-4, atol=1e-4)


def test_bfloat16_keeps_float32_statistics():
    images = (jax.random.normal(jax.random.key(0), (8, 4, 4, 3)) + 20).astype(jnp.bfloat16)
    layer = BatchNorm(train=True, dtype=jnp.bfloat16)
    outputs, variables = layer.init_with_output(jax.random.key(0), images)
    assert outputs.dtype == jnp.bfloat16
    _, updated = layer.apply(variables, images, mutable=["batch_stats"])
    assert updated["batch_stats"]["var"].dtype == jnp.float32
    exact = np.asarray(images, np.float64).var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * exact, rtol=1e-5)


# A GPU's statistics are those of each image, joined, where images have 16 pixels or more; a TPU's are taken about the
# running mean.
@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_axis_name_makes_statistics_global(backend):
    images = jax.random.normal(jax.random.key(0), (16, 4, 5, 2)) * 3 + 1
    variables = BatchNorm(train=True).init(jax.random.key(0), images)
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))

    def run(axis_name):
        layer = BatchNorm(train=True, axis_name=axis_name)
        return lambda images: layer.apply(variables, images, mutable=["batch_stats"])

    split, whole = PartitionSpec("data"), PartitionSpec()
    sharded = jax.shard_map(run("data"), mesh=mesh, in_specs=split, out_specs=(split, whole))
    with rules_of(backend):
        outputs, updated = jax.jit(sharded)(images)
    expected, expected_updated = run(None)(images)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updated, expected_updated)


@pytest.mark.parametrize(("groups", "backend"), [(2, "cpu"), (4, "gpu"), (4, "tpu"), (8, "cpu")])
def test_groups_are_normalized_each_by_itself_with_an_axis_and_without(groups, backend):
    images, cotangent = jax.random.normal(jax.random.key(0), (2, 16, 4, 5, 2)) * 3 + 1
    variables = BatchNorm(train=True).init(jax.random.key(0), images)
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))

    def run(images, **settings):
        outputs, updated = BatchNorm(train=True, **settings).apply(variables, images, mutable=["batch_stats"])
        return outputs, updated["batch_stats"]

    def with_gradient(run):
        outputs, pull_back, updated = jax.vjp(run, images, has_aux=True)
        return outputs, updated, *pull_back(cotangent)

    parts = [run(part) for part in jnp.split(images, groups)]
    expected = jnp.concatenate([outputs for outputs, _ in parts])
    statistics = jax.tree.map(lambda *leaves: sum(leaves) / groups, *(updated for _, updated in parts))
    gradients = jax.vjp(lambda x: jnp.concatenate([run(part)[0] for part in jnp.split(x, groups)]), images)[1]

    split, whole = PartitionSpec("data"), PartitionSpec()
    of_device = functools.partial(run, axis_name="data", groups=groups)
    sharded = jax.shard_map(of_device, mesh=mesh, in_specs=split, out_specs=(split, whole))
    with rules_of(backend):
        without, with_axis = with_gradient(functools.partial(run, groups=groups)), with_gradient(jax.jit(sharded))
    for found in (without, with_axis):
        wanted = (expected, statistics, *gradients(cotangent))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, wanted)


def normalized(shape, train=True, **options):
    """The shape of a batch normalization's output."""
    layer = BatchNorm(train=train, name="norm", **options)
    variables = {"params": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}}
    variables["batch_stats"] = {"mean": jnp.zeros(3), "var": jnp.ones(3)}
    images = jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
    return jax.eval_shape(lambda images: layer.apply(variables, images, mutable=["batch_stats"]), images)[0].shape


def test_one_value_a_channel_is_no_batch():
    refused = pytest.raises(
        UserError, match=r"^batch normalization in training .* one a channel, of one image: train on"
    )
    with refused:
        normalized((1, 1, 1))
    with refused:
        normalized((1,))
    with pytest.raises(UserError, match="at least 2 images in each of the 4 parts of a batch, or on larger images"):
        normalized((4, 1, 1), groups=4)
    for shape, options in (((2, 1, 1), {}), ((1, 1, 2), {}), ((4, 1, 1), {"groups": 2}), ((1, 1, 1), {"train": False})):
        assert normalized(shape, **options) == (*shape, 3)
    # Its own initialization is no training.
    BatchNorm(train=True).init(jax.random.key(0), jnp.ones((1, 1, 1, 3)))


@pytest.mark.parametrize("wrapper", ["shard_map", "pmap"])
def test_one_value_a_channel_on_a_device_is_no_batch_where_statistics_are_its_own(wrapper):
    parallel = dataclasses.replace(DataParallel.over(jax.devices()[:2]), wrapper=wrapper)
    variables = BatchNorm(train=False).init(jax.random.key(0), jnp.ones((1, 3)))

    def mean(batch, groups):
        layer = BatchNorm(train=True, axis_name=parallel.axis_name, groups=groups)
        return parallel.average(layer.apply(variables, batch, mutable=["batch_stats"])[0].mean())

    def trace(batch_size, groups):
        run = parallel.over_devices(lambda _, batch: mean(batch, groups))
        return jax.eval_shape(jax.jit(run), (), jax.ShapeDtypeStruct((batch_size, 3), jnp.float32)).shape

    assert trace(2, groups=1) == trace(4, groups=2) == ()
    with pytest.raises(UserError, match="at least 2 images in each of the 2 parts of a batch"):
        trace(2, groups=2)
