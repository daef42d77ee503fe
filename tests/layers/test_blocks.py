import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers.blocks import FullyConnectedClassifier


def classifier(**options):
    settings = {
        "size": (3, 2),
        "train": False,
        "fully_convolutional": False,
        "dropout_rate": 0.5,
        "dropped": "outputs",
        "initializers": lambda name, inputs: {
            "kernel_init": nn.initializers.normal(inputs**-0.5),
            "bias_init": nn.initializers.normal(1.0),
        },
    }
    return FullyConnectedClassifier(5, 8, **settings | options)


@functools.cache
def problem():
    maps = jax.random.normal(jax.random.key(1), (2, 5, 3, 4))
    return maps, classifier().init(jax.random.key(0), maps)


def test_a_fully_connected_classifier_is_dense_layers_over_the_flattened_map():
    maps, variables = problem()
    maps, params = maps[:, :3, :2], variables["params"]
    assert {name: layer["kernel"].shape for name, layer in params.items()} == {
        "fc6": (3, 2, 4, 8),
        "fc7": (8, 8),
        "fc8": (8, 5),
    }
    x = np.asarray(maps).reshape(2, -1)
    for name in ("fc6", "fc7", "fc8"):
        x = x @ np.asarray(params[name]["kernel"]).reshape(x.shape[1], -1) + np.asarray(params[name]["bias"])[None]
        x = x if name == "fc8" else np.maximum(x, 0)
    for fully_convolutional in (False, True):
        found = classifier(fully_convolutional=fully_convolutional).apply(variables, maps)
        np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-5)


def test_fully_convolutional_averages_the_logits_of_all_places():
    maps, variables = problem()
    windows = [maps[:, i : i + 3, j : j + 2] for i in range(3) for j in range(2)]
    expected = sum(classifier().apply(variables, window) for window in windows) / len(windows)
    found = classifier(fully_convolutional=True).apply(variables, maps)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(found, classifier().apply(variables, maps), atol=0.1)


def test_a_map_smaller_than_a_fully_convolutional_classifier_is_refused():
    maps, variables = problem()
    sentence = "the images leave a map of 2x3, and the classifier covers 3x2: give larger images, or fully_conv"
    with pytest.raises(UserError, match=sentence):
        classifier(fully_convolutional=True).apply(variables, maps[:, :2])
    assert classifier().apply(variables, maps[:, :2]).shape == (2, 5)


@pytest.mark.parametrize("dropped", ["inputs", "outputs"])
def test_what_dropout_drops(dropped):
    maps, variables = problem()
    params = variables["params"]
    model = classifier(train=True, dropout_rate=1.0, dropped=dropped)
    found, state = model.apply(variables, maps, rngs={"dropout": jax.random.key(2)}, capture_intermediates=True)
    fc6 = state["intermediates"]["fc6"]["__call__"][0]
    constant = jnp.broadcast_to(params["fc6"]["bias"], fc6.shape)
    if dropped == "inputs":
        np.testing.assert_allclose(fc6, constant)
        logits = nn.relu(params["fc7"]["bias"]) @ params["fc8"]["kernel"] + params["fc8"]["bias"]
    else:
        assert not np.allclose(fc6, constant)
        logits = params["fc8"]["bias"]
    np.testing.assert_allclose(found, jnp.broadcast_to(logits, found.shape), rtol=1e-5, atol=1e-6)
