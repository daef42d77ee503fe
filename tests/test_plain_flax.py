import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.norm import BatchNorm, LayerNorm
from jaxcnn.models import resnet
from jaxcnn.models.registry import create_model
from jaxcnn.plain_flax import plain_flax


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = Conv(4, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)), groups=2, use_bias=True, name="conv")(x)
        x = resnet.relu_and_max_pool(BatchNorm(train, name="norm")(x), (2, 2), strides=(1, 1))
        return LayerNorm(name="last")(x)


def test_the_same_numbers_come_from_other_layers():
    images = jax.random.normal(jax.random.key(0), (3, 9, 9, 2))
    ours = jax.jit(lambda: Block().init(jax.random.key(1), images, train=False))()
    before = resnet.relu_and_max_pool, resnet.kept_relu
    with plain_flax():
        theirs = jax.eval_shape(lambda: Block().init(jax.random.key(1), images, train=False))
        assert theirs["params"]["conv"].keys() == {"Conv_0"}
        assert theirs["batch_stats"]["norm"].keys() == {"BatchNorm_0"}
        moved = {
            kind: {
                "conv": {"Conv_0": layers.get("conv", {})},
                "norm": {"BatchNorm_0": layers["norm"]},
                "last": {"LayerNorm_0": layers.get("last", {})},
            }
            for kind, layers in ours.items()
        }
        expected, _ = jax.jit(lambda: Block().apply(moved, images, train=True, mutable=["batch_stats"]))()
        assert resnet.kept_relu is nn.relu
    assert (resnet.relu_and_max_pool, resnet.kept_relu) == before
    found, _ = jax.jit(lambda: Block().apply(ours, images, train=True, mutable=["batch_stats"]))()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_operations_keep_the_names_of_our_layers():
    images = jnp.zeros((3, 9, 9, 2))

    def apply(images):
        return Block().init_with_output(jax.random.key(1), images, train=False)[0]

    with plain_flax():
        text = jax.jit(apply).lower(images).as_text(debug_info=True)
    assert "Block/conv/Conv_0/conv_general_dilated" in text


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("resnet20_cifar", {"batch_norm_groups": 2}, "flax.linen normalizes the whole batch: compare with parallel.ba"),
        ("googlenet", {}, "flax.linen has no pooling with ceil mode, which this network has: compare another network"),
    ],
)
def test_what_flax_does_not_have_is_refused_in_a_sentence(name, options, sentence):
    network, images = create_model(name, **options), jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    with plain_flax(), pytest.raises(UserError, match=sentence):
        jax.eval_shape(lambda images: network.init(jax.random.key(0), images, train=True), images)
