"""Derivatives of both modes, and of one over the other, against those that JAX derives of plain operations."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.ops.backend import rules_of
from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowerings import LOWERINGS, xla
from jaxcnn.ops.norm import batch_norm, layer_norm
from jaxcnn.ops.pool import average_pool, max_pool
from jaxcnn.ops.relu import kept_relu
from jaxcnn.ops.response_norm import local_response_norm
from jaxcnn.ops.rules import Lowerings

PADDING = ((1, 1), (0, 1))


@functools.partial(jax.jit, static_argnums=0)
def derivatives(function, arrays, tangents):
    """Derivatives of a function of some arrays, along these tangents, by the names of the transformations."""
    every = tuple(range(len(arrays)))

    def scalar(*arrays):
        return jnp.sum(jnp.sin(function(*arrays)))

    def along(function, *arrays):
        return jax.jvp(function, arrays, tangents)[1]

    def scaled(factor):
        return jax.jvp(function, arrays, tuple(factor * tangent for tangent in tangents))[1]

    gradient = jax.grad(scalar, every)
    return {
        "reverse": gradient(*arrays),
        "forward": along(function, *arrays),
        "linearize": jax.linearize(function, *arrays)[1](*tangents),
        "vmap of forward": jax.vmap(scaled)(jnp.arange(2.0)),
        "forward over reverse": along(gradient, *arrays),
        "reverse over forward": jax.grad(functools.partial(along, scalar), every)(*arrays),
        "forward over forward": along(functools.partial(along, function), *arrays),
        "reverse over reverse": jax.grad(lambda *arrays: sum(map(jnp.vdot, gradient(*arrays), tangents)), every)(
            *arrays
        ),
    }


def compare(ours, plain, *shapes):
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        arrays, tangents = (tuple(jnp.asarray(random.standard_normal(shape)) for shape in shapes) for _ in range(2))
        found, expected = derivatives(ours, arrays, tangents), derivatives(plain, arrays, tangents)
    for name in expected:
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-8, err_msg=name),
            found[name],
            expected[name],
        )


MIXED = Lowerings("shift", "gemm", "dense")
# Others are one of these under a second name there: two groups have no rows, and none have tiles.
LOWERED = [
    (1, "winograd"),
    *((2, name) for name in LOWERINGS if name not in ("rows", "winograd")),
    *((4, name) for name in LOWERINGS if name not in ("direct", "winograd")),
    (2, MIXED),
    (4, MIXED),
]


@pytest.mark.parametrize(("groups", "lowering"), LOWERED, ids=str)
def test_convolution(groups, lowering):
    strides = (2, 1) if groups == 2 else (1, 1)  # depthwise at stride 1 has an input gradient of its own
    images, kernel = (2, 5, 4, 4), (3, 3 if groups == 1 else 2, 4 // groups, 4)
    shape = ConvShape(images, kernel, strides, PADDING, (1, 1), groups, "float64")
    ours = functools.partial(conv2d, strides=strides, padding=PADDING, groups=groups, lowering=lowering)
    compare(ours, functools.partial(xla, shape=shape), images, kernel)


def test_convolution_on_a_gpu():
    shape = ConvShape((2, 4, 4, 2), (3, 2, 2, 3), (1, 1), PADDING, (1, 1), 1, "float64")
    with rules_of("gpu"):
        compare(
            functools.partial(conv2d, padding=PADDING), functools.partial(xla, shape=shape), shape.images, shape.kernel
        )


def plain_batch_norm(x, scale, bias, axes=(0, 1, 2)):
    scale, bias = (vector.reshape((1,) * (x.ndim - 1) + vector.shape) for vector in (scale, bias))
    centred = x - x.mean(axes, keepdims=True)
    return centred / jnp.sqrt(jnp.square(centred).mean(axes, keepdims=True) + 1e-3) * scale + bias


# A GPU's statistics are those of each image, joined; a TPU's are taken about a guess, here a good one and a bad one.
GUESSES = [("gpu", None), ("tpu", 0.1), ("tpu", 100.0)]
BACKENDS = pytest.mark.parametrize(
    ("backend", "guess"), [("cpu", None), *(pytest.param(*each, marks=pytest.mark.slow) for each in GUESSES)]
)


def norm_about(guess, **options):
    return functools.partial(
        batch_norm, epsilon=1e-3, shift=None if guess is None else jnp.full(2, guess, float), **options
    )


@pytest.mark.parametrize(
    ("backend", "guess"),
    [("cpu", None), ("gpu", None), ("tpu", 0.1), pytest.param("tpu", 100.0, marks=pytest.mark.slow)],
)
def test_batch_normalization(backend, guess):
    def ours(*arrays):
        return norm_about(guess)(*arrays)[0]

    with rules_of(backend):
        compare(ours, plain_batch_norm, (3, 4, 5, 2), (2,), (2,))


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_layer_normalization(backend):
    def plain(x, scale, bias):
        centred = x - x.mean(-1, keepdims=True)
        normalized = centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-3)
        return normalized * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)

    with rules_of(backend):
        compare(functools.partial(layer_norm, epsilon=1e-3), plain, (3, 2, 2, 5), (5,), (5,))


@BACKENDS
def test_batch_normalization_in_groups(backend, guess):
    def ours(*arrays):
        return norm_about(guess, groups=2)(*arrays)[0]

    def plain(x, *parameters):
        return jnp.concatenate([plain_batch_norm(part, *parameters) for part in jnp.split(x, 2)])

    with rules_of(backend):
        compare(ours, plain, (4, 4, 5, 2), (2,), (2,))


@BACKENDS
def test_batch_normalization_over_a_mapped_axis(backend, guess):
    def ours(x, scale, bias):
        norm = norm_about(guess, axis_name="data")
        return jax.vmap(norm, (0, None, None), axis_name="data")(x, scale, bias)[0]

    plain = functools.partial(plain_batch_norm, axes=(0, 1, 2, 3))
    with rules_of(backend):
        compare(ours, plain, (2, 2, 4, 5, 2), (2,), (2,))


def test_the_rectifier_that_is_read_off_its_result():
    with rules_of("gpu"):
        compare(kept_relu, jax.nn.relu, (3, 4))


def test_the_statistics_carry_no_derivative():
    def statistics(x):
        return batch_norm(x, jnp.ones(2), jnp.zeros(2), epsilon=1e-3)[1:]

    x = jnp.arange(12.0).reshape(3, 2, 2)
    for tangent in jax.jvp(statistics, (x,), (x,))[1]:
        np.testing.assert_array_equal(tangent, jnp.zeros(2))


@pytest.mark.parametrize("size", [3, 4])
def test_local_response_normalization(size):
    def plain(x):
        padded = jnp.pad(x, ((0, 0), ((size - 1) // 2, size // 2)))
        windows = sum(padded[:, i : i + x.shape[1]] ** 2 for i in range(size))
        return x / (2 + 0.3 * windows) ** 0.75

    compare(functools.partial(local_response_norm, size=size, alpha=0.3), plain, (2, 6))


def taps(images, value):
    """What each tap of a 3x2 window with strides (2, 1) sees, one array a tap."""
    padded = jnp.pad(images, ((0, 0), *PADDING, (0, 0)), constant_values=value)
    return jnp.stack([padded[:, i : i + 3 : 2, j : j + 4] for i, j in itertools.product(range(3), range(2))])


@pytest.mark.parametrize(
    ("pool", "plain"),
    [
        (max_pool, lambda images: taps(images, -jnp.inf).max(0)),
        (average_pool, lambda images: taps(images, 0).sum(0) / taps(jnp.ones_like(images), 0).sum(0)),
    ],
)
def test_pooling(pool, plain):
    compare(functools.partial(pool, window=(3, 2), strides=(2, 1), padding=PADDING), plain, (2, 4, 4, 2))


def test_of_equal_values_the_first_moves_the_maximum_in_both_modes_and_every_order():
    def cubes(images):
        return max_pool(images, (2, 2)) ** 3

    images = jnp.ones((1, 2, 2, 1))
    tangent = jnp.array([[1.0, 5], [7, 9]]).reshape(images.shape)
    first, tangents = jax.jvp(cubes, (images,), (tangent,))
    assert (first.item(), tangents.item()) == (1, 3)
    along = jax.jvp(jax.grad(lambda images: cubes(images).sum()), (images,), (tangent,))[1]
    assert along[0, :, :, 0].tolist() == [[6, 0], [0, 0]]
