"""Values that XLA computes once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.ops.fusion import computed_once
from jaxcnn.ops.pool import average_pool, max_pool


@pytest.fixture
def alone(monkeypatch):
    """One device: over several nothing is kept apart."""
    if jax.default_backend() != "cpu":
        pytest.skip("it is for CPUs")
    monkeypatch.setattr(jax, "device_count", lambda: 1)


@pytest.mark.parametrize("first", [1.0, np.inf, -np.inf, np.nan])
@pytest.mark.usefixtures("alone")
def test_every_value_stays_what_it_is(first):
    x = jnp.array([[first, -0.0], [np.nan, np.inf]])
    np.testing.assert_array_equal(jax.jit(computed_once)(x), x)
    np.testing.assert_array_equal(jax.vmap(computed_once)(x), x)
    assert computed_once(x[:0]).shape == (0, 2)


@pytest.mark.usefixtures("alone")
def test_derivatives_pass_it_in_every_mode():
    def cubes(x):
        return jnp.sum(computed_once(x) ** 3)

    x = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(jax.grad(cubes)(x), 3 * x**2)
    for hessian in (jax.jacrev(jax.grad(cubes)), jax.jacfwd(jax.grad(cubes))):
        np.testing.assert_allclose(hessian(x), jnp.diag(6 * x))


def given_back(pool, **options):
    """Returns the gradient of a pool for cotangents that are sines, and whether they are merged into its pixels."""
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 4))

    def gradient(angles):
        return jax.vjp(lambda images: pool(images, **options), images)[1](jnp.sin(angles))[0]

    outputs = jax.eval_shape(lambda: pool(images, **options))
    compiled = jax.jit(gradient).lower(outputs).compile()
    angles = jnp.linspace(0, 1, outputs.size).reshape(outputs.shape)
    return compiled(angles), "while(" not in compiled.as_text()


@pytest.mark.parametrize(("window", "strides"), [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((3, 3), (1, 1))])
@pytest.mark.parametrize("pool", [average_pool, max_pool])
def test_what_a_pool_gives_back_is_not_computed_again_for_each_pixel(alone, monkeypatch, pool, window, strides):
    apart, merged = given_back(pool, window=window, strides=strides)
    assert not merged
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    expected, merged = given_back(pool, window=window, strides=strides)
    assert merged
    np.testing.assert_allclose(apart, expected, rtol=1e-6, atol=1e-7)
