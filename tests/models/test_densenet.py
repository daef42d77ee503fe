import json
import re
import zlib
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.models.densenet import DenseNet
from jaxcnn.tables.networks import describe

PARITY = Path(__file__).parents[1] / "parity"


def small(**options):
    settings = {"stage_sizes": (2, 1), "growth_rate": 4, "stem": "cifar", "stem_features": 8, "num_classes": 3}
    return DenseNet(**{"bottleneck": True, "compression": 0.5, "lowering": "xla", **settings, **options})


def loss_of(model, variables, images):
    def loss(params):
        state = {**variables, "params": params}
        rngs = {"dropout": jax.random.key(2)}
        logits, updated = model.apply(state, images, train=True, rngs=rngs, mutable=["batch_stats"])
        return jnp.square(logits).sum(), updated["batch_stats"]

    return loss


@pytest.mark.parametrize(("name", "billions"), [("densenet121", 2.834), ("densenet161", 7.728)])
def test_multiply_adds_are_torchvisions(name, billions):
    assert describe(name).multiply_adds / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.mark.slow
def test_the_old_names_of_the_published_files_are_known():
    with np.load(PARITY / "densenet121.npz") as stored:
        shapes = json.loads(str(stored["state_dict"]))

    def fill(key):
        return np.full(shapes[key], zlib.crc32(key.encode()) % 1000, np.float32)

    old = {re.sub(r"(layer\d+\.(norm|conv))([12])", r"\1.\3", key): fill(key) for key in shapes}
    assert "features.denseblock4.denselayer16.norm.2.running_var" in old
    variables = jaxcnn.load_pretrained("densenet121", old)
    layer, statistics = variables["params"]["stage2_layer12"], variables["batch_stats"]["stage2_layer12"]
    for found, key in (
        (layer["bottleneck_norm"]["scale"], "norm1.weight"),
        (layer["bottleneck_conv"]["kernel"], "conv1.weight"),
        (statistics["norm"]["var"], "norm2.running_var"),
        (layer["conv"]["kernel"], "conv2.weight"),
    ):
        value = fill(f"features.denseblock2.denselayer12.{key}")
        np.testing.assert_array_equal(found.ravel(), value.ravel())


@pytest.mark.parametrize(("name", "size"), [("densenet121", 29), ("densenet40_k12_cifar", 4)])
def test_one_pixel_below_the_smallest_size_is_refused(name, size):
    model = jaxcnn.create_model(name)
    assert model.smallest_size == size
    with pytest.raises(UserError, match=f"too small for the strides of DenseNet: give at least {size}x{size}"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size + 1, size - 1, 3)))


@pytest.mark.parametrize(("bottleneck", "count"), [(False, 4), (True, 7)])
def test_dropout_is_after_every_convolution_but_the_first(bottleneck, count):
    model = small(bottleneck=bottleneck, dropout_rate=0.2)
    found = []

    def look(module, _):
        if isinstance(module, nn.Dropout) and module.rate:
            found.append((module.rate, module.deterministic))
        return False

    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    images = jnp.zeros((1, 8, 8, 3))
    jax.eval_shape(lambda: model.init_with_output(rngs, images, train=True, capture_intermediates=look))
    assert found == [(0.2, False)] * count


@pytest.mark.slow
def test_computing_again_changes_nothing_and_draws_the_same():
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    variables = jax.jit(small().init)(jax.random.key(0), images)
    found = []
    for remat in ((), (1, 2)):
        model = small(remat=remat, dropout_rate=0.5)
        found.append(jax.jit(jax.grad(loss_of(model, variables, images), has_aux=True))(variables["params"]))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4), *found)
    gradient, batch_stats = found[0]
    assert all(leaf.any() for leaf in jax.tree.leaves(gradient))
    assert all((leaf != 1).all() for leaf in jax.tree.leaves(batch_stats))


@pytest.mark.parametrize(("remat", "growth"), [((), (2.8, 4)), ((1,), (1.6, 2))])
def test_memory_grows_with_the_depth_of_a_block_if_computed_again_else_with_its_square(remat, growth):
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)

    def kept(depth):
        model = small(stage_sizes=(depth,), remat=remat, bottleneck=False)
        variables = jax.eval_shape(model.init, jax.random.key(0), images)

        def backward(variables, images):
            return jax.vjp(lambda params: loss_of(model, variables, images)(params)[0], variables["params"])[1]

        # Activations alone: two images of 8x8 pixels.
        saved = jax.tree.leaves(jax.eval_shape(backward, variables, images))
        return sum(leaf.size for leaf in saved if leaf.shape[:3] == (2, 8, 8))

    low, high = growth
    assert low < kept(16) / kept(8) < high
