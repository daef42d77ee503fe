"""Export with a symbolic batch, height and width, in a scope without constraints on them."""

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.models.registry import get_variant
from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowering_rules import choose
from jaxcnn.ops.lowerings import LOWERINGS
from jaxcnn.ops.pool import adaptive_average_pool, average_pool, max_pool
from jaxcnn.ops.window import resolve_padding, sizes, subsample
from tests.small_network import Small


def symbolic(channels, text="b, h, w"):
    """The type of images whose batch, height and width are symbols."""
    return jax.ShapeDtypeStruct((*export.symbolic_shape(text), channels), jnp.float32)


def check(function, *sizes, channels=4, text="b, h, w"):
    """Exports a function of images once, and compares it with itself at some sizes."""
    exported = export.export(jax.jit(function))(symbolic(channels, text))
    for size in sizes:
        images = jax.random.normal(jax.random.key(0), (*size, channels))
        found, expected = exported.call(images), jax.jit(function)(images)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
        jax.tree.map(close, found, expected)


def test_pools():
    pools = [
        functools.partial(max_pool, window=(3, 3), strides=(2, 2)),
        functools.partial(max_pool, window=(3, 3), strides=(2, 2), ceil_mode=True),
        functools.partial(max_pool, window=(2, 2), padding=((1, 1), (0, 1)), ceil_mode=True),
        functools.partial(max_pool, window=(3, 2), strides=(2, 3), padding="same"),
        functools.partial(average_pool, window=(3, 3), strides=(2, 2), padding="same"),
        functools.partial(average_pool, window=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)), ceil_mode=True),
        functools.partial(average_pool, window=(2, 3), padding=((1, 1), (1, 1)), ceil_mode=True, count_padding=True),
        functools.partial(adaptive_average_pool, size=(3, 4)),
    ]
    check(lambda images: [pool(images) for pool in pools], (2, 7, 8), (1, 4, 5))


def test_convolutions():
    key = jax.random.key(1)
    dense, depthwise = jax.random.normal(key, (3, 3, 4, 2)), jax.random.normal(key, (5, 5, 1, 4))

    def convolve(images):
        return [
            # Whether the kernel fits is not known, so that only XLA's own convolution can be used.
            conv2d(images, dense),
            conv2d(images, dense, strides=(2, 2), padding="same"),
            conv2d(images, dense, strides=(1, 2), padding=((1, 1), (1, 1)), dilation=(2, 1)),
            conv2d(images, depthwise, groups=4, strides=(2, 2), padding="same"),
            *(conv2d(images, dense, padding=((1, 1), (1, 1)), lowering=lowering) for lowering in LOWERINGS),
        ]

    check(convolve, (2, 7, 8), (1, 5, 6))


def test_tiles_of_any_number_of_images():
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 4, 2))
    check(lambda images: conv2d(images, kernel, lowering="winograd"), (1, 6, 7), (3, 6, 7), text="b, 6, 7")


def test_what_is_left_of_every_other_pixel_adds_to_what_windows_see():
    """As where a shortcut leaves out pixels, and the branches beside it have strides and paddings of all kinds."""

    def add(images):
        windows = [
            max_pool(images, (3, 3), strides=(2, 2), padding="same"),
            max_pool(images, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1))),
            average_pool(images, (5, 5), strides=(2, 2), padding="same"),
        ]
        return subsample(images, (2, 2)) + sum(windows)

    check(add, (2, 7, 8), (1, 5, 6))
    images = jnp.arange(60.0).reshape(1, 5, 6, 2)
    np.testing.assert_array_equal(subsample(images, (2, 3)), images[:, ::2, ::3])


def test_slices_are_used_where_it_is_known_that_they_fit():
    def forward(text, padding):
        shape = ConvShape(sizes(symbolic(4, text).shape), (3, 3, 1, 4), padding=(padding, padding), groups=4)
        return choose("auto", "cpu", shape).forward

    assert forward("b, h, w", (1, 1)) == "shift"
    assert forward("b, h, w", (0, 0)) == "xla"
    (b, h, w) = export.symbolic_shape("b, h, w", constraints=("h >= 3", "w >= 3"))
    assert choose("auto", "cpu", ConvShape((b, h, w, 4), (3, 3, 1, 4), groups=4)).forward == "shift"
    assert forward("b, 8, 8", (0, 0)) == choose("auto", "cpu", ConvShape((2, 8, 8, 4), (3, 3, 1, 4), groups=4)).forward


def test_the_padding_of_a_symbol_is_that_of_its_value():
    windows = [(1, 2), (2, 3), (3, 2), (5, 2), (2, 5), (3, 5)]

    def paddings(length):
        return [resolve_padding("same", (length, 1), (window, 1), (stride, 1))[0] for window, stride in windows]

    def expected(length):
        totals = [max((-(-length // stride) - 1) * stride + window - length, 0) for window, stride in windows]
        return [(total // 2, total - total // 2) for total in totals]

    assert [paddings(length) for length in range(1, 12)] == [expected(length) for length in range(1, 12)]
    of_symbol = jax.jit(lambda images: jnp.array(paddings(images.shape[0])))
    exported = export.export(of_symbol)(jax.ShapeDtypeStruct(export.symbolic_shape("h"), jnp.float32))
    for length in (3, 4):
        assert list(map(tuple, exported.call(jnp.zeros(length)).tolist())) == expected(length)


@pytest.mark.slow
def test_a_network_and_its_gradients_in_training():
    model = Small(num_classes=3)
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), jnp.zeros((1, 8, 8, 4)))

    def logits(images):
        return model.apply(variables, images, train=False)

    def gradients(images):
        def loss(params):
            logits, state = model.apply(variables | {"params": params}, images, train=True, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(logits)), state

        return jax.grad(loss, has_aux=True)(variables["params"])

    check(lambda images: (logits(images), gradients(images)), (2, 9, 8))


def test_too_small_an_image_gives_no_numbers():
    model = Small(num_classes=3)
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), jnp.ones((1, 8, 8, 4)))
    exported = export.export(jax.jit(lambda images: model.apply(variables, images, train=False)))(symbolic(4))
    assert np.isfinite(exported.call(jnp.ones((1, 5, 7, 4)))).all()
    assert np.isnan(exported.call(jnp.ones((1, 4, 7, 4)))).all()


def export_family(name, text="b, h, w"):
    variant, model = get_variant(name), jaxcnn.create_model(name, num_classes=3)
    init = functools.partial(model.init, train=False)
    images = jax.ShapeDtypeStruct((1, variant.input_size, variant.input_size, variant.channels), jnp.float32)
    variables = jax.eval_shape(init, jax.random.key(0), images)
    run = jax.jit(functools.partial(model.apply, train=False))
    return export.export(run)(variables, symbolic(variant.channels, text))


@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_families(name):
    (logits,) = export_family(name).out_avals
    assert str(logits.shape) == "(b, 3)"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *(
            "alexnet_2012",
            "googlenet",
            "vgg11_bn",
            "vgg11_lrn",
            "googlenet_2014",
            "bn_inception",
            "inception_v3",
            "resnext50_32x4d",
        ),
        *("resnet20_cifar", "densenet121", "densenet40_k12_cifar", "nasnet_a_mobile", "nasnet_a_cifar"),
        *("regnet_y_400mf", "efficientnet_b0", "efficientnet_lite0", "convnext_tiny"),
    ],
)
def test_every_family(name):
    test_families(name)


@pytest.mark.parametrize("name", ["lenet", "lenet5"])
def test_dense_layers_of_a_flattened_map_need_numbers(name):
    with pytest.raises(UserError, match="hxw"):
        export_family(name)
    assert str(export_family(name, "b, 32, 32").out_avals[0].shape) == "(b, 3)"


@pytest.mark.slow
def test_the_example_of_the_documentation(capsys):
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (example,) = (block for block in blocks if "jax import export" in block)
    exec(example, {})
    curvature, logits = capsys.readouterr().out.splitlines()
    assert np.isfinite(float(curvature.removeprefix("curvature: ")))
    assert logits == "logits: (batch, 10) (2, 10)"
