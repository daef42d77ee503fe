import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.ops.backend import rules_of
from jaxcnn.ops.norm import affine_norm, batch_norm, layer_norm
from jaxcnn.ops.response_norm import local_response_norm


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


@pytest.mark.parametrize(("backend", "guess"), [("cpu", 0.0), ("gpu", 0.0), ("tpu", 0.0), ("tpu", 999.9)])
def test_a_large_mean_costs_no_digits(backend, guess):
    x = jax.random.normal(jax.random.key(0), (64, 8, 8, 1)) * 0.1 + 1000
    with rules_of(backend):
        normalized, mean, var = batch_norm(x, jnp.ones(1), jnp.zeros(1), epsilon=0.0, shift=jnp.full(1, guess))
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(normalized, (exact - exact.mean()) / exact.std(), rtol=1e-3, atol=1e-3)


def test_the_worst_pixel_to_take_sums_about_costs_few_digits():
    # In every image the pixel in the middle is the only one that is not like the others. It stays a part of the
    # variance, so it cannot be further from the mean than the square root of the number of pixels, in deviations.
    x = np.random.default_rng(0).standard_normal((4, 56, 56, 2)).astype(np.float32)
    x[:, 28, 28] = 1e4
    with rules_of("gpu"):
        _, mean, var = batch_norm(jnp.asarray(x), jnp.ones(2), jnp.zeros(2), epsilon=0.0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=2e-3)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=2e-3)


@pytest.mark.parametrize(("dtype", "bits"), [(jnp.bfloat16, 8), (jnp.float16, 11)])
def test_a_large_mean_costs_narrow_values_no_more_than_their_own_rounding(dtype, bits):
    # The mean is as large as it can be where values that differ are a few steps of the dtype apart.
    x = (2.0**bits + jax.random.normal(jax.random.key(0), (16, 8, 8, 1)) * 4).astype(dtype)
    exact = np.asarray(x, np.float64)
    expected = (exact - exact.mean()) / exact.std() * 0.5 + 0.25
    for backend in ("cpu", "gpu"):
        with rules_of(backend):
            normalized, _, var = batch_norm(x, jnp.full(1, 0.5), jnp.full(1, 0.25), epsilon=0.0)
        np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-4)
        np.testing.assert_allclose(np.asarray(normalized, np.float64), expected, rtol=2.0**-bits, atol=2.0**-bits)


@pytest.mark.parametrize("shape", [(6, 3), (5, 3, 3, 2), (3, 17, 4), (2, 4, 5, 3)], ids=str)
def test_statistics_in_one_pass_equal_those_in_two(shape):
    x, ones = jax.random.normal(jax.random.key(0), shape) * 3 + 5, jnp.ones(shape[-1])
    exact, *others = [
        norm_of(backend)(x, ones, ones, epsilon=1e-5, shift=4 * ones) for backend in ("cpu", "gpu", "tpu")
    ]
    for found in others:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), found, exact)


def test_a_constant_channel_has_no_variance():
    x = jnp.full((4, 8, 8, 2), 300.0)
    for backend in ("cpu", "gpu", "tpu"):
        normalized, _, var = norm_of(backend)(x, jnp.ones(2), jnp.zeros(2), epsilon=1e-5, shift=jnp.zeros(2))
        np.testing.assert_allclose(var, 0, atol=1e-6)
        np.testing.assert_allclose(normalized, 0, atol=1e-2)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_layer_normalization_is_flaxs_with_a_variance_of_two_passes(dtype, backend):
    x = (jax.random.normal(jax.random.key(0), (2, 3, 4, 24)) * 2 + 7).astype(dtype)
    scale, bias, cotangent = (jax.random.normal(jax.random.key(seed), (24,)) for seed in (1, 2, 3))

    def by_flax(x, scale, bias):
        layer = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, dtype=dtype)
        return layer.apply({"params": {"scale": scale, "bias": bias}}, x)

    results = []
    for norm in (functools.partial(layer_norm, epsilon=1e-6), by_flax):
        with rules_of(backend):
            outputs, pull_back = jax.vjp(norm, x, scale, bias)
            results.append((outputs, *pull_back(jnp.broadcast_to(cotangent, outputs.shape).astype(dtype))))
    bound = 1e-5 if dtype == jnp.float32 else 2e-2
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        ours, theirs = (np.asarray(each, np.float32) for each in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound * np.abs(theirs).max())


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("first", [1000.0, 0.0], ids=["like the others", "unlike them"])
def test_layer_normalization_loses_no_digits_to_a_large_mean(first, backend):
    x = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32) * 0.1 + 1000
    x[:, 0] += first - 1000  # about which GPUs take their sums
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    with rules_of(backend):
        found = layer_norm(jnp.asarray(x), jnp.ones(64), jnp.zeros(64), epsilon=0.0)
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)


def test_only_derivatives_of_layer_normalization_have_loops(monkeypatch):
    """What is exported is the forward pass, and other programs need not know loops."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)

    def norm(x):
        return layer_norm(x, jnp.ones(3), jnp.zeros(3), epsilon=1e-6)

    x = jnp.ones((2, 3))
    with rules_of("cpu"):
        assert "while" not in str(jax.make_jaxpr(norm)(x))
        assert "while" in str(jax.make_jaxpr(lambda x: jax.vjp(norm, x)[1](x))(x))


def norm_of(backend):
    """Batch normalization as another backend computes it."""

    def norm(*arrays, **options):
        with rules_of(backend):
            return batch_norm(*arrays, **options)

    return norm


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
