"""Forward mode through networks, alone and over reverse mode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import jaxcnn
from jaxcnn.models.registry import get_variant
from tests.small_network import Small


def draw(tree, seed):
    """A tree of normal numbers, with the shapes and dtypes of another."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return structure.unflatten(
        [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    )


def dot(left, right):
    """The inner product of two trees, as one float64."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return sum(np.vdot(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs)


def outputs_of(model, variables, images):
    """A network in training, as a function of its parameters and images."""
    rest = {name: value for name, value in variables.items() if name != "params"}

    def outputs(params, images):
        mutable = ["batch_stats"] if rest else False
        found = model.apply(
            {"params": params, **rest}, images, train=True, mutable=mutable, rngs={"dropout": jax.random.key(2)}
        )
        return found[0] if rest else found

    return outputs, (variables["params"], images)


def small(**options):
    model = Small(num_classes=3, **options)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    variables = jax.jit(functools.partial(Small(num_classes=3).init, train=False))(jax.random.key(1), images)
    return outputs_of(model, variables, images)


@functools.partial(jax.jit, static_argnums=0)
def both_modes(outputs, inputs, tangents, cotangent):
    value, tangent = jax.jvp(outputs, inputs, tangents)
    linear = jax.linearize(outputs, *inputs)[1](*tangents)
    return value, tangent, linear, jax.vjp(outputs, *inputs)[1](cotangent)


def check_that_modes_agree(outputs, inputs, tolerance):
    """Each derivative J satisfies u (J v) = (u J) v, here for arbitrary u and v."""
    tangents = draw(inputs, 3)
    cotangent = draw(jax.eval_shape(outputs, *inputs), 4)
    value, tangent, linear, gradients = both_modes(outputs, inputs, tangents, cotangent)
    assert jax.tree.map(jnp.shape, tangent) == jax.tree.map(jnp.shape, value)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), linear, tangent)
    size = np.sqrt(dot(gradients, gradients) * dot(tangents, tangents))
    assert size > 0
    assert abs(dot(cotangent, tangent) - dot(gradients, tangents)) < tolerance * size


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), pytest.param("bfloat16", 0.03, marks=pytest.mark.slow)]
)
def test_both_modes_agree_in_training(dtype, tolerance):
    check_that_modes_agree(*small(dtype=jnp.dtype(dtype), batch_norm_groups=2), tolerance)


@pytest.mark.slow
def test_the_product_of_a_hessian_and_a_vector_is_the_same_forward_over_reverse_and_reverse_over_forward():
    outputs, (params, images) = small()

    def loss(params):
        return -jnp.mean(jax.nn.log_softmax(outputs(params, images))[:, 0])

    @jax.jit
    def products(params, along):
        def slope(params):
            return jax.jvp(loss, (params,), (along,))[1]

        return jax.jvp(jax.grad(loss), (params,), (along,))[1], jax.grad(slope)(params)

    first, second = products(params, draw(params, 5))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), second, first)


def test_jacobians_of_both_modes_agree():
    outputs, (params, images) = small()
    forward = jax.jit(jax.jacfwd(outputs))(params, images)
    backward = jax.jit(jax.jacrev(outputs))(params, images)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), forward, backward)


def test_statistics_over_devices_move_with_all_of_the_batch():
    mesh = jax.make_mesh((4,), ("data",), (jax.sharding.AxisType.Auto,))
    split, whole = PartitionSpec("data"), PartitionSpec()
    one, (params, images) = small()
    many, _ = small(batch_norm_axis="data")
    moved, along = draw(images, 6), draw(params, 7)

    def tangent(outputs, params, images, along, moved):
        return jax.jvp(outputs, (params, images), (along, moved))[1]

    expected = jax.jit(functools.partial(tangent, one))(params, images, along, moved)
    for check_vma in (True, False):
        mapped = jax.shard_map(
            functools.partial(tangent, many),
            mesh=mesh,
            in_specs=(whole, split, whole, split),
            out_specs=split,
            check_vma=check_vma,
        )
        np.testing.assert_allclose(jax.jit(mapped)(params, images, along, moved), expected, rtol=1e-3, atol=1e-4)


FAMILIES = {
    "lenet": 32,
    "lenet5": 32,
    "alexnet": 67,
    "alexnet_2012": 67,
    "vgg11_bn": 32,
    "vgg11_lrn": 32,
    "googlenet": 64,
    "bn_inception": 64,
    "inception_v3": 96,
    "resnet18": 32,
    "resnext50_32x4d": 32,
    "densenet121": 32,
    "nasnet_a_cifar": 16,
    "regnet_y_400mf": 32,
    "efficientnet_b0": 32,
    "convnext_tiny": 32,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_both_modes_agree_in_every_family(name):
    options = {"auxiliary_heads": False} if name in ("googlenet", "inception_v3", "nasnet_a_cifar") else {}
    model = jaxcnn.create_model(name, num_classes=3, **options)
    images = jax.random.normal(jax.random.key(0), (2, FAMILIES[name], FAMILIES[name], get_variant(name).channels))
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(1), images)
    check_that_modes_agree(*outputs_of(model, variables, images), 1e-3)
