import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.window import resolve_padding

pairs = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def problems(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, features = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    window = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    size = tuple((k - 1) * d + 1 + draw(st.integers(0, 4)) for k, d in zip(window, dilation, strict=True))
    padding = draw(st.one_of(st.just("same"), st.just("valid"), st.tuples(pairs, pairs)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = rng.standard_normal((2, *size, channels))
    kernel = rng.standard_normal((*window, channels // groups, features))
    return images, kernel, strides, padding, dilation, groups


@settings(max_examples=40, deadline=None)
@given(problems())
def test_every_lowering_is_the_same_map(problem):
    images, kernel, strides, padding, dilation, groups = problem
    explicit = resolve_padding(padding, images.shape[1:3], kernel.shape[:2], strides, dilation)
    expected = reference.conv2d(images, kernel, strides, explicit, dilation, groups)
    with jax.enable_x64(True):
        arguments = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
        cotangent = jnp.asarray(np.random.default_rng(0).standard_normal(expected.shape))
        gradients = {}
        for lowering in ("xla", "auto", "gemm", "toeplitz") if groups == 1 else ("xla", "auto"):
            outputs, pullback = jax.vjp(
                lambda images, kernel: conv2d(images, kernel, lowering=lowering, **arguments),  # noqa: B023
                jnp.asarray(images),
                jnp.asarray(kernel),
            )
            np.testing.assert_allclose(outputs, expected, rtol=1e-10, atol=1e-10)
            gradients[lowering] = pullback(cotangent)
        for lowering in gradients:
            for found, wanted in zip(gradients[lowering], gradients["xla"], strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3))
def test_same_is_tensorflows(length, window, stride, dilation):
    (before, after), _ = resolve_padding("same", (length, 1), (window, 1), (stride, 1), (dilation, 1))
    assert after - before in (0, 1)
    outputs = (length + before + after - (window - 1) * dilation - 1) // stride + 1
    assert outputs == -(-length // stride)


def test_same_differs_from_symmetric_at_stride_two():
    assert resolve_padding("same", (224, 224), (3, 3), (2, 2)) == ((0, 1), (0, 1))


@pytest.mark.parametrize(
    ("images", "kernel", "options", "sentence"),
    [
        ((1, 4, 4, 3), (3, 3, 2, 4), {}, "in 1 groups does not fit images with 3 channels"),
        ((1, 4, 4, 3), (5, 3, 3, 4), {}, "larger than the padded image"),
        ((1, 4, 4), (3, 3, 3, 4), {}, "4-D"),
        ((1, 4, 4, 4), (3, 3, 2, 4), {"groups": 2, "lowering": "gemm"}, "has no groups"),
        ((1, 4, 4, 3), (3, 3, 3, 4), {"lowering": "winograd"}, "'winograd' is none of"),
        ((1, 4, 4, 3), (3, 3, 3, 4), {"padding": "SAME"}, "'SAME' is none of"),
    ],
)
def test_misfits_are_refused(images, kernel, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        conv2d(jnp.zeros(images), jnp.zeros(kernel), **options)
