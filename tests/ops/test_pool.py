from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

from jaxcnn.ops.backend import rules_of
from jaxcnn.ops.pool import adaptive_average_pool, average_pool, max_pool
from jaxcnn.ops.relu import relu_and_max_pool
from jaxcnn.ops.window import resolve_padding
from tests.ops import reference

GOLDEN = Path(__file__).parent.parent / "golden"
BACKENDS = st.sampled_from(["cpu", "gpu", "tpu"])


@st.composite
def problems(draw, ceil_modes=(False, True)):
    window = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    # As in PyTorch, at most half a window of padding, so that no window lies wholly in it.
    half = [st.integers(0, length // 2) for length in window]
    padding = draw(st.one_of(st.just("same"), st.just("valid"), st.tuples(*(st.tuples(side, side) for side in half))))
    explicit = resolve_padding(padding, size, window, strides)
    ceil_mode = draw(st.sampled_from(ceil_modes))
    missing = [window[i] - size[i] - sum(explicit[i]) for i in (0, 1)]
    assume(all(missing[i] <= 0 or (ceil_mode and missing[i] < strides[i]) for i in (0, 1)))
    # Small integers make ties, the interesting case of the maximum's gradient.
    images = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(-2, 3, (2, *size, 2)).astype(np.float32)
    return images, window, strides, padding, explicit, ceil_mode


@settings(max_examples=10, deadline=None)
@given(problems(), BACKENDS)
def test_max_pool(problem, backend):
    images, window, strides, padding, explicit, ceil_mode = problem

    def largest(values, kinds):
        return np.max(values[:, [kind == "pixel" for kind in kinds]], axis=1)

    expected = reference.pool(images, window, strides, explicit, ceil_mode, largest)
    with rules_of(backend):
        found = max_pool(jnp.asarray(images), window, strides=strides, padding=padding, ceil_mode=ceil_mode)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=10, deadline=None)
@given(problems(), st.booleans(), BACKENDS)
def test_average_pool(problem, count_padding, backend):
    images, window, strides, padding, explicit, ceil_mode = problem
    counted = {"pixel", "padding"} if count_padding else {"pixel"}

    def mean(values, kinds):
        return values.sum(1) / sum(kind in counted for kind in kinds)

    expected = reference.pool(images, window, strides, explicit, ceil_mode, mean)
    options = {"strides": strides, "padding": padding, "ceil_mode": ceil_mode, "count_padding": count_padding}
    with rules_of(backend):
        found = average_pool(jnp.asarray(images), window, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=3, deadline=None)
@given(problems((False,)), BACKENDS)
def test_rectified_values_are_pooled_in_the_same_bits_in_either_order(problem, backend):
    images, window, strides, _, explicit, _ = problem
    options = {"strides": strides, "padding": explicit}
    cotangent = np.random.default_rng(0)
    with rules_of(backend):
        found, pull_back = jax.vjp(lambda x: relu_and_max_pool(x, window, **options), jnp.asarray(images))
        expected, plain = jax.vjp(lambda x: max_pool(jax.nn.relu(x), window, **options), jnp.asarray(images))
        np.testing.assert_array_equal(found, expected)
        along = jnp.asarray(cotangent.standard_normal(found.shape), jnp.float32)
        np.testing.assert_array_equal(pull_back(along)[0], plain(along)[0])


@settings(max_examples=6, deadline=None)
@given(problems((False,)), BACKENDS)
def test_gradient_of_max_pool_goes_to_the_first_of_equals(problem, backend):
    images, window, strides, _, explicit, _ = problem
    edges = ((0, 0), *explicit, (0, 0))

    # XLA's select-and-scatter with "greater or equal" keeps the first, too.
    def by_xla(images):
        return lax.reduce_window(images, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), edges)

    outputs, pullback = jax.vjp(by_xla, jnp.asarray(images))
    cotangent = jnp.asarray(np.random.default_rng(0).standard_normal(outputs.shape), jnp.float32)
    with rules_of(backend):
        _, ours = jax.vjp(
            lambda images: max_pool(images, window, strides=strides, padding=explicit), jnp.asarray(images)
        )
        np.testing.assert_allclose(ours(cotangent)[0], pullback(cotangent)[0], rtol=1e-5, atol=1e-6)


@jax.jit
def adaptive_average_pool_and_gradient(images, cotangent):
    outputs, pullback = jax.vjp(lambda images: adaptive_average_pool(images, cotangent.shape[1:3]), images)
    return outputs, pullback(cotangent)[0]


sides = st.tuples(st.integers(1, 8), st.integers(1, 8))


@settings(max_examples=8, deadline=None)
@given(sides, sides, st.integers(0, 2**32 - 1))
def test_adaptive_average_pool_and_its_gradient(length, size, seed):
    random = np.random.default_rng(seed)
    images, cotangent = (random.standard_normal((2, *shape, 2)).astype(np.float32) for shape in (length, size))
    found, gradient = adaptive_average_pool_and_gradient(images, cotangent)
    np.testing.assert_allclose(found, reference.adaptive_average_pool(images, size), rtol=1e-5, atol=1e-6)
    expected = reference.adaptive_average_pool_gradient(cotangent, length)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


def test_adaptive_average_pool_equals_pytorchs():
    golden = np.load(GOLDEN / "adaptive_pools.npz")
    for name in {key.split("/")[0] for key in golden}:
        images, cotangent, outputs, gradient = (
            golden[f"{name}/{part}"] for part in ("images", "cotangent", "outputs", "gradient")
        )
        found = adaptive_average_pool_and_gradient(images, cotangent)
        np.testing.assert_allclose(found[0], outputs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[1], gradient, rtol=1e-5, atol=1e-6)


def test_adaptive_average_pool_changes_nothing_at_its_own_size_and_sums_bfloat16_in_float32():
    images = jnp.linspace(0, 1, 18).reshape(1, 3, 3, 2)
    assert adaptive_average_pool(images, (3, 3)) is images
    # A sum in bfloat16 stays at 256, where adding 1 is lost.
    ones = jnp.ones((1, 40, 40, 1), jnp.bfloat16)
    found = adaptive_average_pool(ones, (1, 3))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found.astype(jnp.float32), jnp.ones((1, 1, 3, 1)))


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pools_equal_pytorchs(ceil_mode):
    golden = np.load(GOLDEN / "pools.npz")
    options = {"strides": (2, 2), "padding": ((1, 1), (1, 1)), "ceil_mode": ceil_mode}
    found = max_pool(jnp.asarray(golden["images"]), (3, 3), **options)
    np.testing.assert_array_equal(found, golden[f"max_{ceil_mode}"])
    for count_padding in (False, True):
        found = average_pool(jnp.asarray(golden["images"]), (3, 3), **options, count_padding=count_padding)
        np.testing.assert_allclose(found, golden[f"average_{ceil_mode}_{count_padding}"], rtol=1e-5, atol=1e-6)


@settings(max_examples=4, deadline=None)
@given(problems(), st.booleans(), BACKENDS)
def test_gradient_of_average_pool(problem, count_padding, backend):
    """A linear map's gradient has the same product with what comes in as its result has with what goes out."""
    images, window, strides, padding, _, ceil_mode = problem
    options = {"strides": strides, "padding": padding, "ceil_mode": ceil_mode, "count_padding": count_padding}
    with rules_of(backend):
        outputs, pullback = jax.vjp(lambda images: average_pool(images, window, **options), jnp.asarray(images))
        cotangent = np.random.default_rng(0).standard_normal(outputs.shape).astype(np.float32)
        (gradient,) = pullback(jnp.asarray(cotangent))
    np.testing.assert_allclose((gradient * images).sum(), (cotangent * outputs).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "tpu"])
def test_second_derivatives_go_through_max_pool(backend):
    images = jnp.arange(16.0).reshape(1, 4, 4, 1)

    def cubes(images):
        with rules_of(backend):
            return jnp.sum(max_pool(images, (2, 2)) ** 3)

    hessian_diagonal = jax.jvp(jax.grad(cubes), (images,), (jnp.ones_like(images),))[1]
    assert hessian_diagonal[0, 1, 1, 0] == 6 * 5.0
    assert hessian_diagonal[0, 0, 0, 0] == 0


def test_window_larger_than_image_is_refused():
    images = jnp.arange(4.0).reshape(1, 2, 2, 1)
    # As in PyTorch, whose ceil mode knows a partial window also where there is no whole one.
    assert max_pool(images, (3, 3), strides=(2, 2), ceil_mode=True).tolist() == [[[[3.0]]]]
    assert average_pool(images, (3, 3), strides=(2, 2), ceil_mode=True).tolist() == [[[[1.5]]]]
    for options in ({}, {"strides": (1, 1), "ceil_mode": True}):
        with pytest.raises(ValueError, match="larger than the padded image"):
            max_pool(images, (3, 3), **options)
