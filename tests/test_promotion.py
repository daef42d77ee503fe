"""No dtype is promoted in silence in networks, losses and the evaluator. Optax's schedules promote, so the step may."""

import functools

import jax
import jax.numpy as jnp
import pytest

import jaxcnn
from jaxcnn.config import Normalization, SingleCrop
from jaxcnn.evaluation.metrics import rank_of_label
from jaxcnn.models.registry import get_variant
from jaxcnn.networks import make_evaluator
from jaxcnn.training.losses import binary_cross_entropy, softmax_cross_entropy

NETWORKS = (
    "alexnet_2012",
    "bn_inception",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "googlenet_2014",
    "inception_v3",
    "lenet5",
    "nasnet_a_mobile",
    "regnet_y_400mf",
    "resnext50_32x4d",
    "vgg11_lrn",
)


QUICK = {"alexnet_2012", "lenet5"}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_networks_promote_nothing(name):
    """Forward and backward in float32, traced alone. Under bfloat16 normalization promotes on purpose."""
    variant = get_variant(name)
    model = jaxcnn.create_model(name)
    images = jax.ShapeDtypeStruct((2, variant.input_size, variant.input_size, variant.channels), jnp.float32)
    variables = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), images)

    def loss(params, images):
        rngs = {"dropout": jax.random.key(1)}
        logits, _ = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"], rngs=rngs)
        return logits.sum()

    def gradient(variables_given, images):
        nonlocal variables
        variables = variables_given
        return jax.grad(loss)(variables["params"], images)

    with jax.numpy_dtype_promotion("strict"):
        gradients = jax.eval_shape(gradient, variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}


def test_losses_and_errors_promote_nothing():
    logits, labels = jnp.zeros((4, 10)), jnp.zeros(4, jnp.int32)
    with jax.numpy_dtype_promotion("strict"):
        for loss in (softmax_cross_entropy, binary_cross_entropy):
            assert loss(logits, labels, label_smoothing=0.1).dtype == jnp.float32
        assert rank_of_label(logits, labels).dtype == jnp.int32


def test_the_evaluator_promotes_nothing(one_device):
    from jaxcnn.devices.feed import Feed
    from tests.evaluation.test_evaluation import pixels

    model = jaxcnn.create_model("lenet", num_classes=7)
    images = jnp.zeros((1, 32, 32, 1))
    variables = model.init(jax.random.key(0), images, train=False)
    evaluator = make_evaluator(model, Normalization(mean=(0.5,), std=(0.2,)), one_device, SingleCrop())
    split = pixels(5)
    whole = type(split)(split.images[:, :, :, :1].repeat(32, 1).repeat(32, 2), split.labels)
    with jax.numpy_dtype_promotion("strict"):
        (result,) = evaluator.results(Feed(whole, one_device, 4), variables, top_k=(1,))
        evaluator.predictions(Feed(whole, one_device, 4), variables)
    assert result.images == 5
