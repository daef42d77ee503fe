import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from jaxcnn.ops.backend import rules_of, several_devices
from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.norm import batch_norm
from jaxcnn.ops.pool import average_pool, max_pool
from jaxcnn.ops.tracing import traced_once


@pytest.fixture
def traces():
    return []


@pytest.fixture
def scaled(traces):
    @traced_once
    def scaled(x, offset=None, *, by):
        traces.append((x.shape, by))
        return x * by if offset is None else x * by + offset

    return scaled


def test_arrays_of_one_type_and_equal_options_are_traced_once(scaled, traces):
    x = jnp.arange(3.0)
    for start in range(3):
        np.testing.assert_array_equal(scaled(x + start, by=2), 2 * (np.arange(3.0) + start))
    assert traces == [((3,), 2)]
    np.testing.assert_array_equal(scaled(x, by=3), 3 * np.arange(3.0))
    np.testing.assert_array_equal(scaled(jnp.ones(4), by=2), np.full(4, 2.0))
    np.testing.assert_array_equal(scaled(x, jnp.float32(1), by=2), 2 * np.arange(3.0) + 1)
    assert traces[1:] == [((3,), 3), ((4,), 2), ((3,), 2)]
    jax.grad(lambda x: scaled(scaled(x, by=2), by=2).sum())(x)
    jax.jit(jax.value_and_grad(lambda x: scaled(scaled(x, by=2), by=2).sum()))(x)
    assert len(traces) == 4


def test_what_an_operation_asks_for_besides_is_traced_anew(scaled, traces, monkeypatch):
    x = jnp.ones(3)
    for backend in ("gpu", "tpu", "gpu"):
        with rules_of(backend):
            scaled(x, by=2)
    assert len(traces) == 2
    scaled(x, by=2)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    scaled(x, by=2)
    scaled(x, by=2)
    assert len(traces) == 4


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_batch_is_normalized_for_the_backend_that_it_is_asked_for(backend):
    x, ones = jnp.ones((2, 8, 8, 4)), jnp.ones(4)
    for other in ("cpu", "gpu", backend):
        with rules_of(other):
            text = str(jax.make_jaxpr(functools.partial(batch_norm, epsilon=1e-3))(x, ones, ones))
    assert ("optimization_barrier" in text) == (backend == "gpu")


def test_layers_of_one_shape_are_lowered_once():
    """However many layers there are: each map stands in the program once, and so does each of its gradients."""

    def loss(kernels, images):
        for kernel in kernels:
            images = conv2d(images, kernel, padding="same", lowering="xla")
            images = average_pool(images, (3, 3), strides=(1, 1), padding="same")
            images = max_pool(images, (3, 3), strides=(1, 1), padding=((1, 1), (1, 1)))
        return images.sum()

    def lowered(layers):
        kernels, images = [jnp.ones((3, 3, 2, 2))] * layers, jnp.ones((1, 6, 6, 2))
        return jax.jit(jax.grad(loss, argnums=(0, 1))).lower(kernels, images).as_text()

    three, six = lowered(3), lowered(6)
    assert three.count("stablehlo.convolution") == six.count("stablehlo.convolution") == 3
    assert three.count("func.func private @max_pool") == six.count("func.func private @max_pool") > 0
    assert three.count("func.func private") == six.count("func.func private")


def test_what_each_device_computes_on_its_own_is_lowered_as_on_one_device():
    found = []

    @jax.jit
    def part(values):
        found.append(several_devices())
        return 2 * values

    mesh = Mesh(np.array(jax.devices()), ("data",))
    own = jax.shard_map(part, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"))
    np.testing.assert_array_equal(jax.jit(own)(np.arange(8.0, dtype=np.float32)), 2 * np.arange(8))
    part(np.arange(8.0, dtype=np.float32))
    assert found == [False, True]
