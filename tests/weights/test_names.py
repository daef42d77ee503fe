"""The names that other packages give to the parameters of every network of which they publish weights."""

import json
import lzma
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.models.registry import get_variant
from jaxcnn.weights.load import convert, variable_shapes
from jaxcnn.weights.published import all_published
from tests.golden import make_parameter_trees

TREES = json.loads(make_parameter_trees.FILE.read_text())
THEIRS = json.loads(lzma.decompress((Path(__file__).parent.parent / "parity" / "state_dicts.json.xz").read_bytes()))
# The options are those on which the shapes depend.
OURS = {
    entry.names[-1].rpartition(".")[0]: (model, {"widths": "paper"} if "widths" in entry.options else {})
    for model, entries in all_published()["timm"].items()
    for entry in entries
}
OURS |= {f"efficientnet_pytorch/efficientnet-b{number}": (f"efficientnet_b{number}", {}) for number in range(8)}
OURS |= {f"efficientnet_lite_pytorch/efficientnet-lite{i}": (f"efficientnet_lite{i}", {}) for i in range(5)}
OURS |= {f"torchvision/{name}": (name, {}) for name in all_published()["torchvision"]}


def shapes_of(name, options):
    """The shapes of all variables of a network, by their paths."""
    if options:
        return {path: leaf.shape for path, leaf in variable_shapes(name, options).items()}
    return {
        f"{'batch_stats' if leaf in ('mean', 'var') else 'params'}/{module}/{leaf}": tuple(map(int, shape.split("x")))
        for module, leaves in TREES[name].items()
        for leaf, shape in leaves.items()
    }


def sides(shape):
    """The lengths that tell two layouts of one tensor from another tensor."""
    return sorted(length for length in shape if length > 1)


def test_all_names_of_these_packages_are_known():
    assert THEIRS.keys() == OURS.keys()


@pytest.mark.parametrize("theirs", sorted(THEIRS))
def test_every_tensor_has_one_variable_of_its_shape(theirs):
    name, options = OURS[theirs]
    ours = shapes_of(name, options)
    wanted = {path: jax.ShapeDtypeStruct((1,) * len(shape), jnp.float32) for path, shape in ours.items()}
    shapes = [(key, shape) for key, shape in THEIRS[theirs].items() if not key.endswith("num_batches_tracked")]
    # Each tensor is one number, which tells it from all others.
    state = {key: np.full((1,) * len(shape), number, np.float32) for number, (key, shape) in enumerate(shapes)}
    found = {path: int(value.item()) for path, value in convert(state, get_variant(name).rules, wanted).items()}
    assert found.keys() == ours.keys()
    assert sorted(found.values()) == list(range(len(shapes)))
    for path, number in found.items():
        *inputs, outputs = ours[path] or (1,)
        # A dense layer over a flattened map is a convolution here.
        assert sides(shapes[number][1]) in (sides(ours[path]), sides((math.prod(inputs), outputs))), path


def authors_name(name):
    """The name that ConvNeXt's authors give to a tensor, from timm's: the stem is a downsampling there."""
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)
    name = name.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
    return name.replace("head.norm", "norm").replace("head.fc", "head")


def test_convnexts_authors_names_stand_for_the_same_variables():
    rules, found = get_variant("convnext_tiny").rules, []
    paths = shapes_of("convnext_tiny", {})
    wanted = {path: jax.ShapeDtypeStruct((1,) * len(shape), jnp.float32) for path, shape in paths.items()}
    for rename in (str, authors_name):
        shapes = THEIRS["timm/convnext_tiny"].items()
        state = {rename(key): np.full((1,) * len(shape), i, np.float32) for i, (key, shape) in enumerate(shapes)}
        found.append(convert(state, rules, wanted))
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_a_1x1_convolution_is_a_dense_layer():
    """timm makes VGG's second dense layer so, and those of some ConvNeXts."""
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)
    for name, module, path in (("vgg11", "pre_logits.fc2", "fc7"), ("vgg11", "head.fc", "fc8")):
        wanted = {f"params/classifier/{path}/kernel": jax.ShapeDtypeStruct((3, 2), jnp.float32)}
        (found,) = convert({f"{module}.weight": kernel}, get_variant(name).rules, wanted).values()
        np.testing.assert_array_equal(found, kernel[:, :, 0, 0].T)
