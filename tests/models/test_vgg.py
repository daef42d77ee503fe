import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.models.registry import get_variant
from jaxcnn.models.variant import Rule
from jaxcnn.models.vgg import VGG
from jaxcnn.tables.networks import describe
from jaxcnn.weights.errors import WeightsError
from tests.parity import parity_weights
from tests.parity.parity_variables import variables_of

GOLDEN = Path(__file__).parent.parent / "golden" / "classical.npz"


def narrow(name, **options):
    return jaxcnn.create_model(name, num_classes=10, lowering="xla", **options).clone(width=2)


def filled(model, images):
    """Variables, made without the initializers, which take as long to compile as the network."""
    shapes, random = jax.eval_shape(model.init, jax.random.key(0), images), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.2 * random.standard_normal(leaf.shape, np.float32), shapes)


@pytest.mark.parametrize(("name", "options"), [("vgg11_lrn", {}), ("vgg16_1x1", {"activation": "tanh"})])
def test_logits_of_what_torchvision_has_not_equal_those_of_pytorchs_functions(name, options):
    with np.load(GOLDEN) as golden:
        shapes, expected = json.loads(str(golden[f"{name}/state_dict"])), golden[f"{name}/70"]
    model, images = narrow(name, **options), 100 * parity_weights.images(2, 70).transpose(0, 2, 3, 1)
    state = {key: parity_weights.weight(key, tuple(shape)) for key, shape in shapes.items()}
    rules = (Rule(r"(conv\d_\d)", r"\1"), Rule(r"classifier\.(fc\d)", r"classifier/\1"))
    variables = variables_of(model, images, rules, state)
    found = jax.jit(model.apply)(variables, images)
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


def test_at_its_own_size_fully_convolutional_changes_nothing():
    images = jax.random.normal(jax.random.key(1), (1, 224, 224, 3))
    model, convolutional = narrow("vgg11"), narrow("vgg11", fully_convolutional=True)
    variables = filled(model, images)
    np.testing.assert_allclose(
        jax.jit(convolutional.apply)(variables, images), jax.jit(model.apply)(variables, images), rtol=1e-6, atol=1e-7
    )


def test_the_smallest_size_is_what_the_strides_need(monkeypatch):
    monkeypatch.setattr(VGG, "smallest_size", 1)
    with pytest.raises(ValueError, match="larger than the padded image"):
        jax.eval_shape(narrow("vgg11").init, jax.random.key(0), jnp.zeros((1, 31, 31, 3)))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vgg11", 7.609e9),
        ("vgg11_bn", 7.609e9),
        ("vgg11_lrn", 7.609e9),  # as vgg11
        ("vgg13", 11.308e9),
        ("vgg13_bn", 11.308e9),
        ("vgg16", 15.47e9),
        ("vgg16_bn", 15.47e9),
        ("vgg19", 19.632e9),
        ("vgg19_bn", 19.632e9),
    ],
)
def test_multiply_adds_are_the_published_ones(name, published):
    assert abs(describe(name).multiply_adds - published) < 0.01 * published  # torchvision


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [
        ("vgg11", "0 3 6 8 11 13 16 18"),
        ("vgg11_bn", "0 4 8 11 15 18 22 25"),
        ("vgg13", "0 2 5 7 10 12 15 17 20 22"),
        ("vgg13_bn", "0 3 7 10 14 17 21 24 28 31"),
        ("vgg19", "0 2 5 7 10 12 14 16 19 21 23 25 28 30 32 34"),
        ("vgg19_bn", "0 3 7 10 14 17 20 23 27 30 33 36 40 43 46 49"),
    ],
)
def test_each_of_torchvisions_layers_has_a_rule(name, convolutions):
    # The last three are timm's, which names the dense layers in its own way.
    *rules, fc6, fc7, fc8 = get_variant(name).rules
    assert [rule.replacement for rule in (fc6, fc7, fc8)] == [f"classifier/fc{i}" for i in (6, 7, 8)]
    table = {rule.replacement: rule.pattern for rule in rules}
    assert len(table) == len(rules)
    paths = [path for path in table if path.startswith("conv")]
    assert paths == sorted(paths)
    indices = [int(index) for index in convolutions.split()]
    assert [table[path] for path in paths] == [rf"features\.{index}" for index in indices]
    if name.endswith("_bn"):
        norms = [table[path.replace("conv", "norm")] for path in paths]
        assert norms == [rf"features\.{index + 1}" for index in indices]
    assert [table[f"classifier/fc{i}"] for i in (6, 7, 8)] == [rf"classifier\.{i}" for i in (0, 3, 6)]


@pytest.mark.parametrize("name", ["vgg11_lrn", "vgg16_1x1"])
def test_there_are_no_pytorch_weights_of_what_torchvision_has_not(name):
    with pytest.raises(WeightsError, match=f"no published weights to load for {name}: initialize it"):
        jaxcnn.load_pretrained(name, {})


def test_dense_layers_start_small():
    # Random numbers that compile quickly.
    key = jax.random.key(0, impl="unsafe_rbg")
    params = jax.jit(narrow("vgg11").init)(key, jnp.zeros((1, 32, 32, 3)))["params"]
    for layer in params["classifier"].values():
        assert abs(layer["kernel"].std() - 0.01) < 0.001
        assert not layer["bias"].any()


def test_gradients_flow_and_batch_statistics_follow():
    model, images = (
        narrow("vgg11_bn").clone(stage_sizes=(1, 1, 1, 1, 1)),
        jax.random.normal(jax.random.key(1), (4, 32, 32, 3)),
    )
    variables = filled(model, images)

    @jax.jit
    def step(params, key):
        def loss(params):
            state = {**variables, "params": params}
            outputs = model.apply(state, images, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
            return -jax.nn.log_softmax(outputs[0])[:, 0].mean(), outputs[1]["batch_stats"]

        return jax.grad(loss, has_aux=True)(params)

    gradient, statistics = step(variables["params"], jax.random.key(2))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all()
        # A bias before a normalization changes nothing.
        assert leaf.any() or "bias" in str(path), path
    for name, layer in statistics.items():
        assert not np.allclose(layer["var"], variables["batch_stats"][name]["var"])
    dropped = step(variables["params"], jax.random.key(3))[0]["classifier"]["fc8"]["kernel"]
    assert not np.allclose(gradient["classifier"]["fc8"]["kernel"], dropped)


def test_computing_again_changes_nothing():
    images, found = jax.random.normal(jax.random.key(1), (4, 32, 32, 3)), []
    for remat in ((), (1, 4)):
        model = narrow("vgg11_bn", remat=remat, dropout_rate=0.0).clone(stage_sizes=(1, 1, 1, 1, 1))
        variables = filled(model, images)

        def loss(params, model=model, variables=variables):
            outputs = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
            return jnp.square(outputs[0]).mean(), outputs[1]

        gradient = jax.grad(loss, has_aux=True)
        assert str(jax.make_jaxpr(gradient)(variables["params"])).count("remat") >= len(remat)
        found.append(jax.jit(gradient)(variables["params"]))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4), *found)
