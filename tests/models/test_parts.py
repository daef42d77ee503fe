"""The parts of networks, beside what their stages compute again."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core.primitives import remat_p

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.models.parts import parts_of
from jaxcnn.models.registry import get_variant

SMALL = {"cells": 1, "features": 4, "stem_features": 6}
QUICK = ("lenet", "lenet5")
NETWORKS = (
    *QUICK,
    *("alexnet", "vgg11_bn", "resnet20_cifar"),
    *("googlenet", "bn_inception", "inception_v3", "resnet18", "densenet40_k12_cifar", "densenet121"),
    *("nasnet_a_mobile", "nasnet_a_cifar", "efficientnet_b0", "efficientnet_lite0", "regnet_y_200mf", "convnext_tiny"),
)


def made(name, **options):
    model = jaxcnn.create_model(name, lowering="xla", **options)
    model = model.clone(**SMALL) if name.startswith("nasnet") else model
    variant = get_variant(name)
    return model, (variant.input_size, variant.input_size, variant.channels)


@functools.cache
def found(name):
    return parts_of(*made(name))


def computed_again(model, image_shape):
    """The paths of the parameters that some stage takes which is computed again in the backward pass."""
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    leaves, tree = jax.tree.flatten(variables)
    paths = ["/".join(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(variables)]

    def apply(leaves, images):
        return model.apply(jax.tree.unflatten(tree, leaves), images, train=False)

    jaxpr = jax.make_jaxpr(apply)(leaves, jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)).jaxpr
    names = dict(zip(jaxpr.invars, paths, strict=False))
    again = [equation for equation in jaxpr.eqns if equation.primitive is remat_p]
    assert again
    taken = set()
    for equation in again:
        # A stage without blocks is given all parameters of the network.
        inner = equation.params["jaxpr"]
        used = {id(var) for each in inner.eqns for var in each.invars}
        taken |= {outer for outer, var in zip(equation.invars, inner.invars, strict=True) if id(var) in used}
    known = {names[var] for var in taken if var in names}
    return {path.removeprefix("params/") for path in known if path.startswith("params/")}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_the_stages_are_those_that_are_computed_again(name):
    """Every other one is, so that a parameter of a neighbour would be seen."""
    model, image_shape = made(name)
    parts = parts_of(model, image_shape)
    odd = tuple(stage for stage in parts.stages if stage % 2)
    again = computed_again(model.clone(remat=odd), image_shape)
    expected = {path for path, part in parts.of.items() if part in map(str, odd)}
    # ConvNeXt halves the resolution between the blocks of two stages, and what is there is kept.
    assert again == {path for path in expected if "downsample" not in path}
    assert parts.stages == list(range(1, len(parts.stages) + 1))


@pytest.mark.parametrize(
    ("name", "part", "modules"),
    [
        ("lenet", "neck", {"dense1", "dense2"}),
        ("lenet", "head", {"dense3"}),
        ("resnet20_cifar", "stem", {"conv1", "norm1"}),
        ("resnet20_cifar", "head", {"classifier"}),
        ("resnet20_cifar", "3", {"stage3_block0", "stage3_block1", "stage3_block2"}),
    ],
)
def test_the_parts_beside_the_stages(name, part, modules):
    parts = found(name)
    assert {path.split("/")[0] for path in parts.named(part, "here")} == modules
    trunk = parts.named("trunk", "here")
    assert trunk == parts.of.keys() - parts.named("head", "here")


@pytest.mark.slow
def test_auxiliary_heads_are_of_the_head():
    parts = parts_of(*made("googlenet", auxiliary_heads=True))
    modules = {path.split("/")[0] for path in parts.named("head", "here")}
    assert modules == {"classifier", "auxiliary1", "auxiliary2"}


def test_a_pattern_names_parameters_and_modules():
    parts = found("resnet20_cifar")
    assert parts.named("stage1_block0/conv1", "here") == {"stage1_block0/conv1/kernel"}
    assert parts.named("stage[12]_block0/norm?/scale", "here") == {
        f"stage{stage}_block0/norm{number}/scale" for stage in (1, 2) for number in (1, 2)
    }
    assert parts.named("*norm*", "here") == {path for path in parts.of if "norm" in path}


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        (
            "resnet20_cifar",
            "4",
            "here names stage 4, which ResNet does not have: choose from stem, 1, 2, 3, head, trunk, or give a pattern",
        ),
        ("resnet20_cifar", "0", "here names stage 0, which ResNet does not have"),
        ("resnet20_cifar", "neck", "here names the neck, which ResNet does not have"),
        ("lenet", "stem", "here names the stem, which LeNet does not have: choose from 1, 2, neck, head, trunk"),
        (
            "resnet20_cifar",
            "stage1_blok0",
            "here 'stage1_blok0' matches no parameter of ResNet and names no part of it: did you mean 'stage1_block0'",
        ),
        ("resnet20_cifar", "trnk", ".* did you mean 'trunk'"),
    ],
)
def test_a_name_of_nothing_is_refused_with_the_nearest(name, given, sentence):
    with pytest.raises(UserError, match=f"^{sentence}"):
        found(name).named(given, "here")


def test_how_far_a_parameter_is_from_the_head():
    parts = found("resnet20_cifar")
    distances = [
        parts.distance_from_head(f"{module}/kernel")
        for module in ("classifier/dense", "stage3_block2/conv1", "stage2_block0/conv2", "stage1_block1/conv1", "conv1")
    ]
    assert distances == [0, 1, 2, 3, 4]
    parts = found("lenet")
    assert [parts.distance_from_head(f"{name}/kernel") for name in ("dense3", "dense1", "conv2", "conv1")] == [
        0,
        1,
        1,
        2,
    ]
