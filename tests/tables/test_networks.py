import json

import pytest

from jaxcnn.errors import UserError
from jaxcnn.tables.networks import count, counted, describe, describe_matching
from tests.golden import make_parameter_trees

QUICK = {"alexnet", "lenet", "lenet5", "resnet18", "vgg11_lrn"}
"""The networks that are counted again even in a short run of the tests."""


def test_every_network_of_ours_is_counted():
    assert list(counted()) == sorted(json.loads(make_parameter_trees.FILE.read_text()))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in counted()]
)
def test_what_is_kept_is_what_is_counted(name):
    """Where a network has changed on purpose, tests/golden/make_counted.py counts again."""
    assert counted()[name] == count(name)


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("lenet", 5),
        ("resnet18", 18),
        ("resnet50", 50),
        ("resnet152", 152),
        ("resnet110_cifar", 110),
    ],
)
def test_depth_is_what_the_name_says(name, depth):
    assert describe(name).depth == depth


# Published, in billions: torchvision 0.28's weight entries; the papers' where it says so.
MULTIPLY_ADDS = {
    "resnet18": 1.814,
    "resnet50": 4.089,
    "resnet152": 11.514,
    "wide_resnet50_2": 11.398,
    "resnext50_32x4d": 4.230,
    "resnext101_64x4d": 15.46,
    "regnet_x_400mf": 0.414,
    "regnet_y_32gf": 32.28,
    "efficientnet_b0": 0.386,
    "efficientnet_b7": 37.746,
    "convnext_tiny": 4.456,
    "convnext_large": 34.361,
}


@pytest.mark.parametrize("name", sorted(MULTIPLY_ADDS))
def test_multiply_adds_are_the_published_ones(name):
    assert describe(name).multiply_adds == pytest.approx(1e9 * MULTIPLY_ADDS[name], rel=0.01)


def test_the_papers_bottleneck_costs_what_the_paper_says():
    assert describe("resnet50", stride_in_first_conv=True).multiply_adds == pytest.approx(3.8e9, rel=0.02)


def test_describe_matching_sorts_and_refuses():
    assert [row.name for row in describe_matching("lenet*")] == ["lenet", "lenet5"]
    with pytest.raises(UserError, match=r"no model matches 'resnet5': did you mean 'resnet50'"):
        describe_matching("resnet5")
