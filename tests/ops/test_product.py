"""Products of few rows, which are computed in other ways where that is faster, and are the same up to rounding."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.layers.dense import Dense
from jaxcnn.ops.backend import rules_of
from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowerings import LOWERINGS, input_gradient, narrows, weight_gradient
from jaxcnn.ops.product import product, row_product


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)


def arrays(count, inputs, features, dtype=np.float32):
    random = np.random.default_rng(count * inputs + features)
    shapes = (count, inputs), (inputs, features)
    return [jnp.asarray(random.standard_normal(shape), dtype) for shape in shapes]


def operations(function, *arguments):
    """The names of the operations that a function consists of, those of the functions in it included."""

    def names(jaxpr):
        for equation in jaxpr.eqns:
            yield equation.primitive.name
            for value in equation.params.values():
                if isinstance(value, jax.extend.core.ClosedJaxpr):
                    yield from names(value.jaxpr)

    traced = jax.make_jaxpr(lambda *arguments: function(*arguments))(*arguments)  # anew, whatever JAX has traced before
    return set(names(traced.jaxpr)) - {"jit", "reshape", "convert_element_type"}


BY_BLOCKS = {"dot_general", "reduce_sum"}
FILLED = {"dot_general", "pad", "slice"}
PLAIN = {"dot_general"}


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize(
    ("count", "inputs", "features", "expected"),
    [
        (1, 4096, 1000, BY_BLOCKS),
        (1, 1056, 1000, BY_BLOCKS),
        (1, 2 * 263, 1000, PLAIN),  # no number of rows from 64 to 256 divides 526
        (1, 1021, 1000, PLAIN),
        (1, 512, 1000, PLAIN),  # small
        (2, 4096, 1000, PLAIN),
        (32, 256, 512, PLAIN),
        (33, 256, 512, FILLED),
        (49, 100, 1024, FILLED),
        (60, 256, 512, FILLED),
        (61, 256, 512, PLAIN),
        (49, 256, 500, PLAIN),
    ],
)
def test_few_rows(count, inputs, features, expected):
    rows, matrix = arrays(count, inputs, features)
    assert operations(product, rows, matrix) == expected
    exact, sizes = (np.asarray(f(rows), np.float64) @ np.asarray(f(matrix), np.float64) for f in (np.asarray, np.abs))
    # A sum of n products is rounded by some sqrt(n) units of the sum of their sizes (Higham, section 2.8).
    bound = np.sqrt(inputs) * np.finfo(np.float32).eps * sizes
    assert (np.abs(product(rows, matrix) - exact) <= bound).all()


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize(("count", "inputs", "features"), [(1, 1024, 512), (49, 100, 512)])
@pytest.mark.parametrize("times", [product, row_product])
def test_derivatives(times, count, inputs, features):
    rows, matrix = arrays(count, inputs, features)
    weights = jnp.asarray(np.random.default_rng(1).standard_normal((count, features)), jnp.float32)

    def loss(times, rows, matrix):
        return (weights * times(rows, matrix)).sum()

    for derivative in (jax.grad, jax.jacfwd):
        found, expected = (
            derivative(lambda scale, each=each: loss(each, scale * rows, jnp.sin(scale) * matrix))(0.5)
            for each in (times, jnp.matmul)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    found, expected = (jax.grad(loss, (1, 2))(each, rows, matrix) for each in (times, jnp.matmul))
    for each, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(each, other, rtol=1e-4, atol=1e-4)


def test_several_devices_and_other_backends_take_the_plain_product(monkeypatch):
    """A matrix that is spread over devices would be gathered."""
    rows, matrix = arrays(1, 4096, 1000)
    assert operations(product, rows, matrix) == PLAIN
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    with rules_of("gpu"):
        assert operations(product, rows, matrix) == PLAIN


@pytest.mark.usefixtures("one_device")
def test_sums_of_blocks_are_not_rounded_to_bfloat16():
    assert operations(product, *arrays(1, 4096, 1000, jnp.bfloat16)) == PLAIN


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("shape", [(1,), (3,), (1, 1, 1), (1, 7, 7), (0,), ()])
def test_a_dense_layer_is_flaxs(shape):
    inputs = jnp.asarray(np.random.default_rng(0).standard_normal((*shape, 1024)), jnp.float32)
    variables = nn.Dense(512).init(jax.random.key(0), inputs)
    assert jax.tree.map(jnp.shape, Dense(512).init(jax.random.key(0), inputs)) == jax.tree.map(jnp.shape, variables)
    found, expected = Dense(512).apply(variables, inputs), nn.Dense(512).apply(variables, inputs)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("one_device")
def test_a_dense_layer_of_a_symbolic_batch_is_exported():
    layer, inputs = Dense(512), np.random.default_rng(0).standard_normal((5, 1024)).astype(np.float32)
    variables = layer.init(jax.random.key(0), inputs)
    batch = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("n"), 1024), jnp.float32)
    exported = jax.export.export(jax.jit(lambda inputs: layer.apply(variables, inputs)))(batch)
    np.testing.assert_allclose(exported.call(inputs), layer.apply(variables, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("one_device")
def test_a_convolution_with_few_positions_takes_it_and_its_gradients_do_not():
    images, kernel, cotangent = jnp.ones((1, 7, 7, 64)), jnp.ones((1, 1, 64, 512)), jnp.ones((1, 7, 7, 512))
    shape = ConvShape(images.shape, kernel.shape)
    assert operations(lambda *arrays: conv2d(*arrays, lowering="gemm"), images, kernel) >= FILLED
    for gradient, other in ((input_gradient, kernel), (weight_gradient, images)):
        found = operations(lambda *arrays, of=gradient: of(*arrays, shape, "gemm"), cotangent, other)
        assert "dot_general" in found
        assert "pad" not in found


@pytest.mark.parametrize(
    ("shape", "gathers"),
    [
        (ConvShape((2, 6, 5, 3), (6, 5, 3, 4)), False),
        (ConvShape((2, 6, 5, 3), (6, 5, 3, 4), strides=(2, 2)), False),
        (ConvShape((2, 6, 5, 3), (5, 5, 3, 4)), True),
        (ConvShape((2, 6, 6, 3), (6, 6, 3, 4), strides=(4, 4), padding=((1, 1), (1, 1))), True),
        (ConvShape((2, 3, 3, 3), (3, 3, 3, 4), padding=((1, 1), (1, 1)), dilation=(2, 2)), True),
    ],
)
def test_a_kernel_that_covers_the_images_needs_no_patches(shape, gathers):
    random = np.random.default_rng(0)
    images, kernel = (jnp.asarray(random.standard_normal(size), jnp.float32) for size in (shape.images, shape.kernel))
    lowered = [LOWERINGS[name](images, kernel, shape) for name in ("gemm", "xla")]
    np.testing.assert_allclose(*lowered, rtol=1e-5, atol=1e-5)
    assert lowered[0].shape[1:3] == (1, 1) or shape.kernel[0] == 5
    found = operations(lambda images, kernel: LOWERINGS["gemm"](images, kernel, shape), images, kernel)
    assert ("concatenate" in found) == gathers


@pytest.mark.parametrize(
    ("images", "forward", "input_gradient", "weight_gradient"),
    [
        ((16, 56, 56, 128), True, True, True),
        ((8, 13, 13, 128), True, True, True),
        ((1, 13, 13, 128), True, False, True),
        ((1, 2, 2, 128), False, False, False),
    ],
)
def test_patches_are_gathered_on_the_narrow_side_where_it_saves_enough(
    images, forward, input_gradient, weight_gradient
):
    shape = ConvShape(images, (3, 3, 128, 32), padding=((1, 1), (1, 1)))
    found = tuple(narrows(shape, direction) for direction in ("forward", "input_gradient", "weight_gradient"))
    assert found == (forward, input_gradient, weight_gradient)
