import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.models.alexnet import AlexNet
from jaxcnn.models.registry import get_variant
from jaxcnn.models.variant import Rule
from jaxcnn.tables.networks import describe
from jaxcnn.weights.errors import WeightsError
from tests.parity import parity_weights
from tests.parity.parity_variables import variables_of

GOLDEN = Path(__file__).parent.parent / "golden" / "classical.npz"


def narrow(name, **options):
    """A sixteenth of the features, and few classes."""
    model = jaxcnn.create_model(name, num_classes=10, lowering="xla", **options)
    rows = tuple(row._replace(features=row.features // 16) for row in model.convolutions)
    return model.clone(convolutions=rows, hidden_features=20)


def filled(model, images):
    """Variables, made without the initializers, which take as long to compile as the network."""
    shapes, random = jax.eval_shape(model.init, jax.random.key(0), images), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.2 * random.standard_normal(leaf.shape, np.float32), shapes)


@pytest.mark.parametrize("size", [227, 100])
def test_the_papers_logits_equal_those_of_pytorchs_functions(size):
    with np.load(GOLDEN) as golden:
        shapes, expected = json.loads(str(golden["alexnet_2012/state_dict"])), golden[f"alexnet_2012/{size}"]
    model, images = narrow("alexnet_2012"), 100 * parity_weights.images(2, size).transpose(0, 2, 3, 1)
    state = {key: parity_weights.weight(key, tuple(shape)) for key, shape in shapes.items()}
    rules = (Rule(r"(conv\d)", r"\1"), Rule(r"classifier\.(fc\d)", r"classifier/\1"))
    variables = variables_of(model, images, rules, state)
    found = jax.jit(model.apply)(variables, images)
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
def test_at_its_own_size_fully_convolutional_changes_nothing(name):
    size = get_variant(name).input_size
    images = jax.random.normal(jax.random.key(1), (1, size, size, 3))
    model, convolutional = narrow(name), narrow(name, fully_convolutional=True)
    variables = filled(model, images)
    np.testing.assert_allclose(
        jax.jit(convolutional.apply)(variables, images), jax.jit(model.apply)(variables, images), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize(("name", "size"), [("alexnet", 63), ("alexnet_2012", 67)])
def test_the_smallest_size_is_what_the_strides_need(name, size, monkeypatch):
    """One pixel less, unchecked, leaves the last pooling less than its window."""
    assert jaxcnn.create_model(name).smallest_size == size
    monkeypatch.setattr(AlexNet, "smallest_size", 1)
    with pytest.raises(ValueError, match="larger than the padded image"):
        jax.eval_shape(narrow(name).init, jax.random.key(0), jnp.zeros((1, size - 1, size - 1, 3)))


def test_multiply_adds_are_the_published_ones():
    assert abs(describe("alexnet").multiply_adds - 0.714e9) < 0.01 * 0.714e9  # torchvision


def test_the_papers_initialization():
    # Random numbers that compile quickly.
    key = jax.random.key(0, impl="unsafe_rbg")
    params = jax.jit(narrow("alexnet_2012").init)(key, jnp.zeros((1, 67, 67, 3)))["params"]
    layers = {name: layer for name, layer in {**params, **params["classifier"]}.items() if name != "classifier"}
    biased = {name for name, layer in layers.items() if (layer["bias"] == 1).all()}
    assert biased == {"conv2", "conv4", "conv5", "fc6", "fc7"}
    assert not any(layers[name]["bias"].any() for name in layers.keys() - biased)
    for layer in layers.values():
        # Within four deviations of an estimate from so many numbers.
        assert abs(layer["kernel"].std() / 0.01 - 1) < 4 / (2 * layer["kernel"].size) ** 0.5


def test_pytorchs_initialization():
    # Random numbers that compile quickly.
    key = jax.random.key(0, impl="unsafe_rbg")
    params = jax.jit(narrow("alexnet").init)(key, jnp.zeros((1, 63, 63, 3)))["params"]
    inputs = {"conv1": 3 * 121, "conv2": 4 * 25, "conv3": 12 * 9, "conv4": 24 * 9, "conv5": 16 * 9}
    layers = {name: (params[name], count) for name, count in inputs.items()}
    layers |= {name: (params["classifier"][name], count) for name, count in (("fc6", 576), ("fc7", 20), ("fc8", 20))}
    for layer, count in layers.values():
        bound = count**-0.5
        assert 0.95 * bound < abs(layer["kernel"]).max() < bound
        assert 0.4 * bound < abs(layer["bias"]).max() < bound


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
def test_dropout_and_activation_are_options(name):
    images = jax.random.normal(jax.random.key(1), (2, 67, 67, 3))
    variables = jax.tree.map(jnp.asarray, filled(narrow(name), images))

    def run(train=True, **options):
        run = jax.jit(lambda key: narrow(name, **options).apply(variables, images, train=train, rngs={"dropout": key}))
        return run(jax.random.key(2))

    evaluated = run(train=False)
    np.testing.assert_array_equal(evaluated, run(dropout_rate=0.0))
    assert not np.array_equal(evaluated, run())
    assert not np.allclose(evaluated, run(train=False, activation="tanh"))
    # All outputs of the hidden layers dropped leave the last layer's biases; all inputs leave more.
    biases = np.broadcast_to(variables["params"]["classifier"]["fc8"]["bias"], (2, 10))
    assert np.array_equal(run(dropout_rate=1 - 1e-9), biases) == (name == "alexnet_2012")


def test_computing_again_changes_nothing():
    images = jax.random.normal(jax.random.key(1), (2, 67, 67, 3))
    variables, found = filled(narrow("alexnet_2012"), images), []
    for remat in ((), (1, 3)):
        model = narrow("alexnet_2012", remat=remat)
        assert jax.tree.structure(jax.eval_shape(model.init, jax.random.key(0), images)) == jax.tree.structure(
            variables
        )
        gradient = jax.grad(lambda variables, model=model: jnp.square(model.apply(variables, images)).mean())
        assert str(jax.make_jaxpr(gradient)(variables)).count("remat") >= len(remat)
        found.append(jax.jit(gradient)(variables))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4), *found)


def test_there_are_no_pytorch_weights_of_the_papers_network():
    with pytest.raises(WeightsError, match="no published weights to load for alexnet_2012: initialize it"):
        jaxcnn.load_pretrained("alexnet_2012", {})
