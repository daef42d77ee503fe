import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.ops.norm import affine_norm, batch_norm, local_response_norm


def plain(x, scale, bias):
    """Batch normalization as one would write it, differentiated by JAX."""
    mean = x.mean((0, 1, 2), keepdims=True)
    var = jnp.square(x - mean).mean((0, 1, 2), keepdims=True)
    return (x - mean) / jnp.sqrt(var + 1e-3) * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)


def test_gradients_of_every_order_equal_those_jax_derives():
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 4)
        x, cotangent = (jax.random.normal(key, (3, 4, 5, 2), jnp.float64) + 3 for key in keys[:2])
        scale, bias = (jax.random.normal(key, (2,), jnp.float64) for key in keys[2:])

        def ours(x, scale, bias):
            return batch_norm(x, scale, bias, epsilon=1e-3)[0]

        def gradients(norm):
            def weighted(x, scale, bias):
                return jnp.sum(norm(x, scale, bias) * cotangent)

            return jax.grad(weighted, (0, 1, 2))(x, scale, bias)

        # float32 statistics bound what float64 inputs can agree to.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradients(ours), gradients(plain)
        )

        def along(norm):  # forward over reverse
            def squared(x):
                return jnp.sum(norm(x, scale, bias) ** 2 * cotangent)

            return jax.jvp(jax.grad(squared), (x,), (cotangent,))[1]

        np.testing.assert_allclose(along(ours), along(plain), rtol=1e-3, atol=1e-4)
        _, mean, var = batch_norm(x, scale, bias, epsilon=1e-3)
        np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-6)
        np.testing.assert_allclose(var, x.var((0, 1, 2)), rtol=1e-5)
        np.testing.assert_allclose(affine_norm(x, scale, bias, mean, var, epsilon=1e-3), ours(x, scale, bias))


def test_a_large_mean_costs_no_digits():
    x = jax.random.normal(jax.random.key(0), (64, 8, 8, 1)) * 0.1 + 1000
    _, _, var = batch_norm(x, jnp.ones(1), jnp.zeros(1), epsilon=0.0)
    np.testing.assert_allclose(var, np.asarray(x, np.float64).var((0, 1, 2)), rtol=1e-4)


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 9), st.integers(1, 5))
def test_local_response_norm_is_the_papers_sum(channels, size):
    x = np.random.default_rng(channels).standard_normal((2, 2, 2, channels)).astype(np.float32) * 10
    expected = np.zeros_like(x)
    for i in range(channels):
        first, last = max(0, i - (size - 1) // 2), min(channels, i + size // 2 + 1)
        total = (x[..., first:last].astype(np.float64) ** 2).sum(-1)
        expected[..., i] = x[..., i] / (2 + 1e-2 * total) ** 0.75
    found = local_response_norm(jnp.asarray(x), size=size, alpha=1e-2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert local_response_norm(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_batch_norm_keeps_the_dtype(dtype):
    x = jnp.ones((2, 3, 3, 4), dtype)
    normalized, mean, _ = batch_norm(x, jnp.ones(4), jnp.zeros(4), epsilon=1e-5)
    assert (normalized.dtype, mean.dtype) == (dtype, jnp.float32)
