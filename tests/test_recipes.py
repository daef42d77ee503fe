"""The recipes of configs/, assembled without their data sets: steps traced, and rates worked out by hand."""

from pathlib import Path

import jax
import pytest

from jaxcnn.analysis.dry_run import abstract_arguments
from jaxcnn.assembly import assemble
from jaxcnn.data.stand_in import stand_in
from jaxcnn.models.registry import get_variant
from jaxcnn.runs import load_config

CONFIGS = Path(__file__).parent.parent / "configs"

# Epoch, and the learning rate at a step in the middle of it, within 0.2 %.
RATES = {
    "alexnet_imagenet": {0: 0.01, 29: 0.01, 30: 0.001, 59: 0.001, 60: 0.0001, 89: 0.0001},
    "resnet18_imagenet": {0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001},
    "resnet50_imagenet": {0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001},
    # 0.5 * (0.01 + 0.99 e / 5), then 0.5 * (1 + cos(pi (e - 5) / 595)) / 2: a fifth, two and three fifths of it.
    "resnet50_imagenet_v2": {0: 0.005, 1: 0.104, 4: 0.401, 5: 0.5, 124: 0.4522542, 243: 0.3272542, 362: 0.1727458},
    "convnext_tiny_imagenet": {0: 1e-5, 4: 8.02e-4, 5: 1e-3, 124: 9.045085e-4, 362: 3.454915e-4},
    # 0.8 * (0.1 + 0.9 e / 5); 24, 43 and 62 are a fifth, two and three fifths of the cosine.
    "regnet_x_800mf_imagenet": {0: 0.08, 1: 0.224, 5: 0.8, 24: 0.7236068, 43: 0.5236068, 62: 0.2763932},
    # 0.128 e / 5 in the middle of an epoch; 5.5 / 2.4 and 24.5 / 2.4 are past 2 and 10 whole periods.
    "efficientnet_b0_imagenet": {
        0: 0.0128,
        4: 0.1152,
        5: 0.128 * 0.97**2,
        24: 0.128 * 0.97**10,
        349: 0.128 * 0.97**145,
    },
    # 0.008 * (1 + cos(pi (e + 0.5 - 5) / 95)) / 2: the middle of epoch 52 is that of the cosine.
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
    for known in get_variant(config.model.name).published:
        if (known.protocol, known.source) == (published.protocol, published.source):
            assert (known.top1_error, known.top5_error) == (published.top1_error, published.top5_error)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_assembled_and_its_rates_are_those_worked_out_by_hand(path, one_device):
    config = load_config(path)
    assembly = assemble(config, stand_in(config.data), one_device)
    for epoch, expected in RATES[path.stem].items():
        rate = assembly.learning_rate(round((epoch + 0.5) * assembly.steps_per_epoch))
        assert float(rate) == pytest.approx(expected, rel=2e-3), epoch
    arguments = abstract_arguments(assembly)
    for given, found in zip(arguments[:2], jax.eval_shape(assembly.train_step, *arguments), strict=True):
        assert jax.tree.structure(found) == jax.tree.structure(given)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(given), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
