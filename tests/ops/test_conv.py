import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from jaxcnn.ops.backend import rules_of
from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowering_rules import TunedLowerings, choose
from jaxcnn.ops.lowerings import LOWERINGS, input_gradient, weight_gradient
from jaxcnn.ops.rules import Lowerings
from jaxcnn.ops.window import resolve_padding
from tests.ops import reference

pairs = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def problems(draw):
    """Sizes from smaller than the kernel upwards, strides 1 to 4, dilation, groups 1 to depthwise, all paddings."""
    channels = draw(st.sampled_from([1, 2, 3, 4, 6]))
    groups = draw(st.sampled_from([groups for groups in range(1, channels + 1) if channels % groups == 0]))
    features = groups * draw(st.integers(1, 2))
    window = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    size = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    padding = draw(st.one_of(st.just("same"), st.just("valid"), st.tuples(pairs, pairs)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = rng.standard_normal((2, *size, channels))
    kernel = rng.standard_normal((*window, channels // groups, features))
    return images, kernel, strides, padding, dilation, groups


def check(problem):
    images, kernel, strides, padding, dilation, groups = problem

    @jax.jit
    def outputs_and_gradients(images, kernel, cotangent):
        found = []
        for lowering in (*LOWERINGS, "auto"):  # the first one is XLA's own
            convolve = functools.partial(
                conv2d, strides=strides, padding=padding, dilation=dilation, groups=groups, lowering=lowering
            )
            outputs, pullback = jax.vjp(convolve, images, kernel)
            found.append((outputs, *pullback(cotangent)))
        return found

    explicit = resolve_padding(padding, images.shape[1:3], kernel.shape[:2], strides, dilation)
    expected = reference.conv2d(images, kernel, strides, explicit, dilation, groups)
    with jax.enable_x64(True):
        cotangent = np.random.default_rng(0).standard_normal(expected.shape)
        found = outputs_and_gradients(images, kernel, cotangent)
    for outputs, *gradients in found:
        np.testing.assert_allclose(outputs, expected, rtol=1e-10, atol=1e-10)
        for gradient, wanted in zip(gradients, found[0][1:], strict=True):
            np.testing.assert_allclose(gradient, wanted, rtol=1e-10, atol=1e-10)


RNG = np.random.default_rng(0)
NARROWING = (
    RNG.standard_normal((2, 5, 6, 4)),
    RNG.standard_normal((3, 2, 4, 3)),
    (1, 1),
    ((3, 0), (0, 1)),
    (1, 2),
    1,
)
TILED = (RNG.standard_normal((2, 4, 7, 3)), RNG.standard_normal((3, 3, 3, 2)), (1, 1), ((3, 0), (0, 1)), (1, 1), 1)
TILED_BY_BLOCKS = (
    RNG.standard_normal((2, 6, 11, 2)),
    RNG.standard_normal((5, 8, 2, 3)),
    (2, 3),
    ((3, 0), (0, 2)),
    (1, 1),
    1,
)


@settings(max_examples=6, deadline=None)
@example(NARROWING)
@example(TILED)
@example(TILED_BY_BLOCKS)
@given(problems())
def test_every_lowering_is_the_same_map(problem):
    check(problem)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(problems())
def test_every_lowering_is_the_same_map_at_length(problem):
    check(problem)


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3))
def test_same_is_tensorflows(length, window, stride, dilation):
    (before, after), _ = resolve_padding("same", (length, 1), (window, 1), (stride, 1), (dilation, 1))
    assert after - before in (0, 1)
    outputs = (length + before + after - (window - 1) * dilation - 1) // stride + 1
    assert outputs == -(-length // stride)


def test_same_differs_from_symmetric_at_stride_two():
    assert resolve_padding("same", (224, 224), (3, 3), (2, 2)) == ((0, 1), (0, 1))


IMAGES = jax.random.normal(jax.random.key(0), (8, 5, 6, 4))
KERNEL = jax.random.normal(jax.random.key(1), (3, 3, 2, 6))
MIXED = Lowerings("shift", "gemm", "dense")


def cubes(images, kernel, lowering=MIXED):
    return jnp.sum(conv2d(images, kernel, padding="same", groups=2, lowering=lowering) ** 3)


def close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-3), found, expected)


def test_second_derivatives():
    def product(images, kernel, lowering):
        return jax.grad(lambda k: jnp.sum(jax.grad(cubes, 0)(images, k, lowering) ** 2))(kernel)

    close(jax.jit(product, static_argnums=2)(IMAGES, KERNEL, MIXED), product(IMAGES, KERNEL, "xla"))

    def along(images, kernel, lowering):  # forward over reverse
        return jax.jvp(jax.grad(lambda k: cubes(images, k, lowering)), (kernel,), (jnp.ones_like(kernel),))[1]

    close(jax.jit(along, static_argnums=2)(IMAGES, KERNEL, MIXED), along(IMAGES, KERNEL, "xla"))


def test_vmap_over_images_and_over_kernels():
    gradients = jax.jit(jax.vmap(jax.grad(cubes, (0, 1)), (0, None)))(IMAGES[:, None], KERNEL)
    expected = jax.grad(cubes, (0, 1))(IMAGES, KERNEL, "xla")
    close((gradients[0][:, 0], gradients[1].sum(0)), expected)
    kernels = jnp.stack([KERNEL, 2 * KERNEL])
    found = jax.jit(jax.vmap(jax.grad(cubes, 1), (None, 0)))(IMAGES, kernels)
    close(found, jnp.stack([jax.grad(cubes, 1)(IMAGES, kernel, "xla") for kernel in kernels]))


def test_checkpoint():
    close(jax.jit(jax.grad(jax.checkpoint(cubes), (0, 1)))(IMAGES, KERNEL), jax.grad(cubes, (0, 1))(IMAGES, KERNEL))


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map(check_vma):
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    split, whole = PartitionSpec("data"), PartitionSpec()

    def gradients(images, kernel):
        images_gradient, kernel_gradient = jax.grad(cubes, (0, 1))(images, kernel)
        # With vma checked, the gradient of a replicated kernel is summed over devices by differentiation itself.
        return images_gradient, kernel_gradient if check_vma else jax.lax.psum(kernel_gradient, "data")

    sharded = jax.shard_map(
        gradients, mesh=mesh, in_specs=(split, whole), out_specs=(split, whole), check_vma=check_vma
    )
    close(jax.jit(sharded)(IMAGES, KERNEL), jax.grad(cubes, (0, 1))(IMAGES, KERNEL, "xla"))


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_bfloat16(lowering):
    images, kernel = IMAGES.astype(jnp.bfloat16), KERNEL.astype(jnp.bfloat16)
    outputs, pullback = jax.vjp(lambda *xs: conv2d(*xs, groups=2, lowering=lowering), images, kernel)
    exact = conv2d(images.astype(jnp.float32), kernel.astype(jnp.float32), groups=2, lowering="xla")
    assert outputs.dtype == jnp.bfloat16
    np.testing.assert_allclose(outputs.astype(jnp.float32), exact, rtol=0.01, atol=0.05)
    assert {gradient.dtype for gradient in pullback(outputs)} == {jnp.dtype("bfloat16")}


def test_a_tuned_table_is_followed_where_it_knows_the_shape():
    shape = ConvShape((1, 8, 8, 4), (3, 3, 4, 4))
    tuned = TunedLowerings(((shape, Lowerings("gemm", "shift", "xla")),))
    assert choose(tuned, "cpu", shape) == ("gemm", "shift", "xla")
    other = ConvShape((2, 8, 8, 4), (3, 3, 4, 4))
    assert choose(tuned, "cpu", other) == choose("auto", "cpu", other)


def test_rules_of_another_backend_hold_for_what_is_traced_inside():
    def trace():  # a new function each time: JAX keeps traces
        return str(jax.make_jaxpr(lambda images: conv2d(images, jnp.zeros((1, 1, 4, 4))))(jnp.zeros((1, 8, 8, 4))))

    here = trace()
    with rules_of("tpu"):
        there = trace()
    assert "conv_general_dilated" in there
    assert "conv_general_dilated" not in here
    assert trace() == here


@pytest.mark.parametrize(
    ("images", "kernel", "options", "sentence"),
    [
        ((1, 4, 4, 3), (3, 3, 2, 4), {}, "in 1 groups does not fit images with 3 channels"),
        ((1, 4, 4), (3, 3, 3, 4), {}, "4-D"),
        ((1, 4, 4, 3), (3, 3, 3, 4), {"lowering": "fourier"}, "there is no lowering 'fourier': choose from auto"),
        ((1, 4, 4, 3), (3, 3, 3, 4), {"padding": "SAME"}, "there is no padding 'SAME': give 'same'"),
    ],
)
@pytest.mark.usefixtures("unchecked_annotations")
def test_misfits_are_refused(images, kernel, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        conv2d(jnp.zeros(images), jnp.zeros(kernel), **options)
    with pytest.raises(ValueError, match="images are float32 and the kernel is bfloat16"):
        conv2d(jnp.zeros((1, 4, 4, 3)), jnp.zeros((3, 3, 3, 4), jnp.bfloat16))


def test_tiles_round_no_worse_than_other_lowerings():
    """Lavin and Gray found the same of F(2x2, 3x3), arXiv:1509.09308."""
    rng = np.random.default_rng(0)
    shape = ConvShape((2, 9, 12, 64), (3, 3, 64, 48), padding=((1, 1), (1, 1)))
    arrays = [rng.standard_normal(size).astype(np.float32) for size in (shape.images, shape.kernel, shape.outputs)]

    @functools.partial(jax.jit, static_argnums=0)
    def compute(name, images, kernel, cotangent):
        return (
            LOWERINGS[name](images, kernel, shape),
            input_gradient(cotangent, kernel, shape, name),
            weight_gradient(cotangent, images, shape, name),
        )

    def all_three(dtype, name):
        return [np.asarray(found) for found in compute(name, *(jnp.asarray(array, dtype) for array in arrays))]

    with jax.enable_x64(True):
        exact = all_three("float64", "gemm")
    worst = {}
    for name in ("xla", "gemm", "winograd"):
        worst[name] = [
            np.abs(found - right).max() for found, right in zip(all_three("float32", name), exact, strict=True)
        ]
    for tiled, *others in zip(worst["winograd"], worst["xla"], worst["gemm"], strict=True):
        assert tiled < 2 * max(others)


@pytest.mark.parametrize(("lowering", "groups"), [("rows", 32), ("direct", 8)])
def test_loops_make_no_array_for_each_tap(lowering, groups):
    shape = ConvShape((4, 28, 28, 32), (5, 5, 32 // groups, 32), padding=((2, 2), (2, 2)), groups=groups)
    images, kernel = jnp.ones(shape.images), jnp.ones(shape.kernel)
    for compute, operands in (
        (functools.partial(LOWERINGS[lowering], shape=shape), (images, kernel)),
        (functools.partial(input_gradient, shape=shape, lowering=lowering), (images, kernel)),
        (functools.partial(weight_gradient, shape=shape, lowering=lowering), (images, images)),
    ):
        memory = jax.jit(compute).lower(*operands).compile().memory_analysis()
        assert memory.temp_size_in_bytes < (3.5 if lowering == "rows" else 7) * images.nbytes  # of 25 taps


@pytest.mark.parametrize("channels", [1, 8, 16])
def test_no_device_gathers_the_images_of_others(channels):
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    split, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec("data"), PartitionSpec()))

    def gradients(images, kernel):
        convolve = functools.partial(conv2d, strides=(2, 2), padding="same", groups=2, lowering="direct")
        outputs, pullback = jax.vjp(convolve, images, kernel)
        return pullback(outputs)

    arrays = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)
        for shape, sharding in (((16, 7, 7, 2 * channels), split), ((3, 3, channels, 2 * channels), whole))
    ]
    program = jax.jit(gradients).lower(*arrays).compile().as_text()
    assert "all-reduce" in program
    assert "all-gather" not in program


@pytest.mark.parametrize("devices", [1, 8])
def test_what_reads_the_outputs_does_not_compute_their_sums_again(devices, monkeypatch):
    """XLA merges nothing into a loop. It merged the four phases of a strided input gradient into what read them."""
    monkeypatch.setattr("jax.device_count", lambda: devices)
    shape = ConvShape((1, 4, 4, 16), (3, 3, 8, 16), strides=(2, 2), padding=((1, 1), (1, 1)), groups=2)
    gradient = functools.partial(input_gradient, shape=shape, lowering="direct")
    program = str(jax.make_jaxpr(gradient)(jnp.ones(shape.outputs), jnp.ones(shape.kernel)))
    assert program.count("while[") + program.count("scan[") >= 4


def test_the_gradient_of_a_strided_depthwise_convolution_has_a_symbolic_size_too():
    def gradient(images):
        convolve = functools.partial(conv2d, strides=(2, 2), padding=((1, 1), (1, 1)), groups=4, lowering="shift")
        return jax.grad(lambda images: jnp.sum(convolve(images, jnp.ones((3, 3, 1, 4))) ** 2))(images)

    height, width = jax.export.symbolic_shape("h, w", constraints=["h >= 3", "w >= 3"])
    traced = jax.export.export(jax.jit(gradient))(jax.ShapeDtypeStruct((8, height, width, 4), jnp.float32))
    close(traced.call(IMAGES), gradient(IMAGES))
