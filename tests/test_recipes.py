"""The recipes of configs/, assembled without their data sets: steps traced, and rates worked out by hand."""

import math
from pathlib import Path

import jax
import pytest

from jaxcnn.assembly import abstract_arguments, assemble
from jaxcnn.data.stand_in import ILSVRC2012_SIZES, stand_in
from jaxcnn.models.registry import get_variant
from jaxcnn.recipes import load_config
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.weights.published import published_weights

CONFIGS = Path(__file__).parent.parent / "configs"

_EVERY_30 = {0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001}
# 0.8 * (0.1 + 0.9 e / 5); 24, 43 and 62 are a fifth, two and three fifths of the cosine.
_REGNET = {0: 0.08, 1: 0.224, 5: 0.8, 24: 0.7236068, 43: 0.5236068, 62: 0.2763932}
# 0.128 e / 5 in the middle of an epoch; 5.5 / 2.4 and 24.5 / 2.4 are past 2 and 10 whole periods.
_EFFICIENTNET = {0: 0.0128, 4: 0.1152, 5: 0.128 * 0.97**2, 24: 0.128 * 0.97**10, 349: 0.128 * 0.97**145}

# Epoch, and the learning rate at a step in the middle of it, within 0.2 %.
RATES = {
    "alexnet_imagenet": {0: 0.01, 29: 0.01, 30: 0.001, 59: 0.001, 60: 0.0001, 89: 0.0001},
    "alexnet_2012_imagenet": {0: 0.01, 19: 0.01, 20: 0.001, 40: 0.0001, 59: 0.0001, 60: 0.00001, 89: 0.00001},
    "vgg16_imagenet": {0: 0.01, 17: 0.01, 19: 0.001, 36: 0.001, 37: 0.0001, 54: 0.0001, 56: 0.00001, 73: 0.00001},
    "googlenet_2014_imagenet": {0: 0.01, 7: 0.01, 8: 0.0096, 16: 0.009216, 249: 0.01 * 0.96**31},
    "inception_v3_imagenet": {0: 2.25, 1: 2.25, 2: 2.115, 4: 1.9881, 99: 2.25 * 0.94**49},
    "resnet18_imagenet": _EVERY_30,
    "resnet50_imagenet": _EVERY_30,
    "resnet50_imagenet_fb": _EVERY_30,
    "resnet50_imagenet_2015": {0: 0.1, 30: 0.01, 60: 0.001, 89: 0.001, 90: 0.0001, 119: 0.0001},
    "resnext50_32x4d_imagenet": {0: 0.1, 30: 0.01, 60: 0.001, 89: 0.001, 90: 0.0001, 99: 0.0001},
    "densenet121_imagenet": _EVERY_30,
    # 1.5, 2.5, 24.5 and 311.5 over 2.4 are past 0, 1, 10 and 129 whole periods.
    "nasnet_a_mobile_imagenet": {1: 2.0, 2: 1.94, 24: 2 * 0.97**10, 311: 2 * 0.97**129},
    # 0.2 (e + 0.5) / 5, then 0.2 (1 + cos(pi (e + 0.5 - 5) / 95)) / 2: the middle of epoch 52 is that of the cosine.
    "resnet50_imagenet_flax": {0: 0.02, 4: 0.18, 52: 0.1},
    # 0.5 * (0.01 + 0.99 e / 5), then 0.5 * (1 + cos(pi (e - 5) / 595)) / 2: a fifth, two and three fifths of it.
    "resnet50_imagenet_v2": {0: 0.005, 1: 0.104, 4: 0.401, 5: 0.5, 124: 0.4522542, 243: 0.3272542, 362: 0.1727458},
    "convnext_tiny_imagenet": {0: 1e-5, 4: 8.02e-4, 5: 1e-3, 124: 9.045085e-4, 362: 3.454915e-4},
    # 0.004 (e + 0.5) / 20; epoch 159's middle is 139.5 / 280 of the cosine.
    "convnext_tiny_imagenet_2022": {9: 1.9e-3, 19: 3.9e-3, 159: 2.0117e-3},
    "regnet_x_800mf_imagenet": _REGNET,
    "regnet_y_400mf_imagenet": _REGNET,
    "efficientnet_b0_imagenet": _EFFICIENTNET,
    "efficientnet_b0_imagenet_autoaugment": _EFFICIENTNET,
    # (e + 0.5) / 5 of the rate, and half of it in the middle of the cosine: of 595 epochs, 295 and 95.
    "resnet50_imagenet_a1": {0: 0.0005, 4: 0.0045, 302: 0.0025005},
    "resnet50_imagenet_a2": {0: 0.0005, 4: 0.0045, 152: 0.0025005},
    "resnet50_imagenet_a3": {0: 0.0008, 4: 0.0072, 52: 0.0040005},
}
RECIPES = sorted(CONFIGS.glob("*_imagenet*.py"))


def test_every_imagenet_recipe_has_its_rates():
    assert {path.stem for path in RECIPES} == set(RATES)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_a_recipe_should_reach_is_what_is_known_of_its_network(path):
    config = load_config(path)
    published = config.published
    assert published.top1_error is not None or published.top5_error is not None
    weights = [entry.published for entry in published_weights(config.model.name)]
    for known in (*get_variant(config.model.name).published, *weights):
        # A recipe may add to the protocol; what follows a semicolon in a source are options of the network.
        if published.protocol.startswith(known.protocol) and _release(known) == _release(published):
            assert (known.top1_error, known.top5_error) == (published.top1_error, published.top5_error)
            break
    else:
        assert not published.source.startswith(("torchvision", "timm"))


def _release(published):
    return published.source.partition(";")[0]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_rates_are_those_worked_out_by_hand(path):
    config = load_config(path)
    steps_per_epoch = ILSVRC2012_SIZES[0] / config.data.batch_size
    rate, _ = make_optimizer(config.optimizer, steps_per_epoch, math.ceil(config.epochs * steps_per_epoch))
    for epoch, expected in RATES[path.stem].items():
        assert float(rate(round((epoch + 0.5) * steps_per_epoch))) == pytest.approx(expected, rel=2e-3), epoch


# Networks that take long to trace, and recipes that differ from another one in numbers alone.
SLOW = {
    "alexnet_imagenet",
    "convnext_tiny_imagenet_2022",
    "efficientnet_b0_imagenet",
    "convnext_tiny_imagenet",
    "densenet121_imagenet",
    "efficientnet_b0_imagenet_autoaugment",
    "googlenet_2014_imagenet",
    "inception_v3_imagenet",
    "nasnet_a_mobile_imagenet",
    "regnet_x_800mf_imagenet",
    "regnet_y_400mf_imagenet",
    "resnet50_imagenet",
    "resnet50_imagenet_2015",
    "resnet50_imagenet_a1",
    "resnet50_imagenet_a2",
    "resnet50_imagenet_a3",
    "resnet50_imagenet_fb",
    "resnet50_imagenet_flax",
    "resnet50_imagenet_v2",
    "resnext50_32x4d_imagenet",
}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW), id=path.stem) for path in RECIPES],
)
def test_a_recipe_is_assembled_and_its_step_traced(path, one_device):
    config = load_config(path)
    assembly = assemble(config, stand_in(config.data), one_device)
    arguments = abstract_arguments(assembly)
    for given, found in zip(arguments[:2], jax.eval_shape(assembly.train_step, *arguments), strict=True):
        assert jax.tree.structure(found) == jax.tree.structure(given)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(given), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
