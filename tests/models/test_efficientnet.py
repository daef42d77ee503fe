"""EfficientNets: the names that packages for PyTorch give to their blocks."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.models.registry import get_variant
from jaxcnn.weights.load import convert
from tests.golden import make_parameter_trees

TREES = json.loads(make_parameter_trees.FILE.read_text())
# Blocks in each stage: the paper's 1, 2, 2, 3, 3, 4 and 1 times the depth, rounded up. Lite does not scale the first
# stage and the last.
SIZES = {
    "b0": (1, 2, 2, 3, 3, 4, 1),
    "b1": (2, 3, 3, 4, 4, 5, 2),
    "b2": (2, 3, 3, 4, 4, 5, 2),
    "b3": (2, 3, 3, 5, 5, 6, 2),
    "b4": (2, 4, 4, 6, 6, 8, 2),
    "b5": (3, 5, 5, 7, 7, 9, 3),
    "b6": (3, 6, 6, 8, 8, 11, 3),
    "b7": (4, 7, 7, 10, 10, 13, 4),
    "lite0": (1, 2, 2, 3, 3, 4, 1),
    "lite1": (1, 3, 3, 4, 4, 5, 1),
    "lite2": (1, 3, 3, 4, 4, 5, 1),
    "lite3": (1, 3, 3, 5, 5, 6, 1),
    "lite4": (1, 4, 4, 6, 6, 8, 1),
}
LAYERS = {
    "expand_conv": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "squeeze_excite/reduce": "_se_reduce",
    "squeeze_excite/expand": "_se_expand",
    "project_conv": "_project_conv",
    "project_norm": "_bn2",
}
OUTSIDE = {
    "stem_conv": "_conv_stem",
    "stem_norm": "_bn0",
    "head_conv": "_conv_head",
    "head_norm": "_bn1",
    "classifier/dense": "_fc",
}
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def efficientnet_pytorch_names(variant):
    """Our modules to those of efficientnet_pytorch, which counts the blocks of all stages together."""
    blocks = [f"stage{stage}_block{index}" for stage, size in enumerate(SIZES[variant], 1) for index in range(size)]
    inside = {
        f"{block}/{ours}": f"_blocks.{number}.{theirs}"
        for number, block in enumerate(blocks)
        for ours, theirs in LAYERS.items()
    }
    return OUTSIDE | inside


@pytest.mark.parametrize("variant", sorted(SIZES))
def test_blocks_that_are_counted_together_go_where_the_variant_has_them(variant):
    name = f"efficientnet_{variant}"
    names, state, wanted, expected = efficientnet_pytorch_names(variant), {}, {}, {}
    for module, leaves in TREES[name].items():
        for leaf, shape in leaves.items():
            path = f"{'batch_stats' if leaf in ('mean', 'var') else 'params'}/{module}/{leaf}"
            expected[path] = len(state)
            # Each tensor is one number, which tells it from all others.
            shape = (1,) * len(shape.split("x"))
            state[f"{names[module]}.{LEAVES[leaf]}"] = np.full(shape, len(state), np.float32)
            wanted[path] = jax.ShapeDtypeStruct(shape, jnp.float32)
    assert sum(key.endswith("_depthwise_conv.weight") for key in state) == sum(SIZES[variant])
    found = convert(state, get_variant(name).rules, wanted)
    assert {path: value.item() for path, value in found.items()} == expected


def test_block_3_depends_on_the_variant():
    """It is the first block of stage 3 in B0, the second of stage 2 in B1 and the third in Lite1."""
    for variant, block in (("b0", "stage3_block0"), ("b1", "stage2_block1"), ("lite1", "stage2_block2")):
        path = f"params/{block}/depthwise_conv/kernel"
        wanted = {path: jax.ShapeDtypeStruct((1, 1, 1, 1), jnp.float32)}
        state = {"_blocks.3._depthwise_conv.weight": np.ones((1, 1, 1, 1), np.float32)}
        assert convert(state, get_variant(f"efficientnet_{variant}").rules, wanted).keys() == {path}
