"""Batch normalization folded into the convolution before it: the same network with fewer operations."""

import flax.errors
import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.models.densenet import DenseNet
from jaxcnn.models.network import BatchNormNetwork
from jaxcnn.models.resnet import BasicBlock, ResNet

RESNET = ResNet(block_type=BasicBlock, stage_sizes=(3,), width=4, stem="cifar", shortcut="projection", num_classes=3)
DENSENET = DenseNet(
    stage_sizes=(2, 1),
    growth_rate=2,
    stem="imagenet",
    stem_features=4,
    bottleneck=True,
    compression=0.5,
    dropout_rate=0.2,
    num_classes=3,
)
FAMILIES = {
    # The network, the size of its images, and the number of its normalizations, of which this many are folded.
    "resnet": (RESNET, 8, 7, 7),
    "resnet, scanned": (RESNET.clone(scan=True, remat=(1,)), 8, 5, 5),
    "densenet": (DENSENET, 33, 9, 4),  # the stem's, and between the two convolutions of each of three layers
}
LARGE = {
    "vgg11_bn": (32, 8, 8),
    "googlenet": (33, 57, 57),
    "bn_inception": (33, 69, 69),
    "inception_v3": (80, 94, 94),
    "resnext50_32x4d": (33, 53, 53),
    "regnet_y_400mf": (33, 53, 53),
    "efficientnet_b0": (33, 49, 49),
    "efficientnet_lite0": (33, 49, 49),
    "nasnet_a_cifar": (16, 64, 62),  # the others are of two convolutions together
    "convnext_tiny": (32, 0, 0),
}


def filled(model, size, dtype=np.float32):
    """Random variables, in which each channel has statistics of its own."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    random = np.random.RandomState(0)

    def fill(path, leaf):
        values = random.randn(*leaf.shape)
        if path[-1].key in ("scale", "var"):
            values = 0.5 + np.abs(values)
        elif path[-1].key == "kernel":
            values /= np.sqrt(np.prod(leaf.shape[-4:-1]))
        return values.astype(dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def images_of(size, dtype=np.float32):
    return np.random.RandomState(1).randn(2, size, size, 3).astype(dtype)


def normalizations(variables):
    paths = flax.traverse_util.flatten_dict(variables, sep="/")
    return {path.rpartition("/")[0].removeprefix("batch_stats/") for path in paths if path.startswith("batch_stats/")}


def apply(model, variables, images):
    return np.asarray(jax.jit(lambda variables, images: model.apply(variables, images, train=False))(variables, images))


def distance(found, expected):
    found, expected = (np.asarray(each, np.float64) for each in (found, expected))
    return np.abs(found - expected).max() / np.abs(expected).max()


def check(model, size, count, folded_count, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        kept = np.float64 if dtype == "float64" else np.float32
        model = model.clone(dtype=jnp.dtype(dtype), lowering="xla")
        variables, images = filled(model, size, kept), images_of(size, kept)
        folded = jaxcnn.fold_batch_norm(model, variables, (size, size, 3))
        assert len(normalizations(variables)) == count
        assert len(normalizations(variables) - normalizations(folded)) == folded_count
        assert {leaf.dtype for leaf in jax.tree.leaves(folded)} == {np.dtype(kept)}
        expected = apply(model, variables, images)
        assert expected.std() > 0.01
        assert distance(apply(model, folded, images), expected) <= tolerance


@pytest.mark.parametrize("family", [pytest.param("resnet", marks=pytest.mark.slow), "resnet, scanned", "densenet"])
def test_folded_networks_compute_the_same_to_round_off(family):
    check(*FAMILIES[family], "float64", 1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_folded_networks_are_as_exact_as_their_type(dtype, tolerance):
    check(*FAMILIES["resnet"], dtype, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("family", LARGE)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-4)])
def test_all_families_can_be_folded(family, dtype, tolerance):
    size, count, folded_count = LARGE[family]
    model = jaxcnn.create_model(family, num_classes=5)
    if family.startswith("nasnet"):
        model = model.clone(cells=1, features=4, stem_features=6)  # the published one compiles for minutes
    check(model, size, count, folded_count, dtype, tolerance)


def test_folding_again_changes_nothing_and_training_is_refused():
    model, size, *_ = FAMILIES["resnet, scanned"]
    variables = filled(model, size)
    before = jax.tree.map(np.copy, variables)
    folded = jaxcnn.fold_batch_norm(model, variables, (size, size, 3))
    jax.tree.map(np.testing.assert_array_equal, before, variables)
    jax.tree.map(np.testing.assert_array_equal, folded, jaxcnn.fold_batch_norm(model, folded, (size, size, 3)))
    kernel = variables["params"]["stage1_block1-2"]["conv2"]["kernel"]
    norm = {**variables["params"]["stage1_block1-2"]["norm2"], **variables["batch_stats"]["stage1_block1-2"]["norm2"]}
    factor = norm["scale"].astype(np.float64) / np.sqrt(norm["var"].astype(np.float64) + 1e-5)
    expected = (kernel * factor[:, None, None, None]).astype(np.float32)
    np.testing.assert_array_equal(folded["params"]["stage1_block1-2"]["conv2"]["kernel"], expected)
    with pytest.raises(
        UserError, match=r"^batch normalization norm1 is folded into the .* has no statistics: train with"
    ):
        model.apply(folded, images_of(size), train=True, mutable=["batch_stats"])


class Odd(BatchNormNetwork):
    """Normalizations that cannot be folded, and one that can, after a convolution with a bias."""

    @nn.compact
    def __call__(self, images, *, train=False):
        conv, norm = self.conv(), self.norm(train, epsilon=0.1)
        taken_twice = conv(3, (3, 3), name="taken_twice")(images)
        x = norm(name="of_taken_twice")(taken_twice) + taken_twice
        shared = conv(3, (1, 1), name="shared")
        x = norm(name="of_shared1")(shared(x)) + norm(name="of_shared2")(shared(2 * x))
        x = norm(name="of_halves")(jnp.concatenate([conv(2, (1, 1), name=name)(x) for name in ("left", "right")], -1))
        twice = norm(name="twice")
        x = twice(conv(4, (1, 1), name="first")(x)) + twice(conv(4, (1, 1), name="second")(x))
        x = norm(name="of_activation")(nn.relu(conv(4, (1, 1), name="activated")(x)))
        x = norm(name="of_biased")(conv(5, (3, 3), use_bias=True, name="biased")(x))
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(nn.relu(x).mean((1, 2)))


def test_a_normalization_is_folded_only_where_nothing_else_sees_what_it_takes():
    check(Odd(num_classes=3), 8, 7, 1, "float64", 1e-13)


def test_a_normalization_without_variables_is_not_taken_for_a_folded_one():
    with pytest.raises(flax.errors.ScopeCollectionNotFound):
        BatchNorm(train=False).apply({"params": {}}, jnp.zeros((1, 2, 2, 3)))
