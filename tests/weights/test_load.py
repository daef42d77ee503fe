"""What `load_pretrained` takes besides the weights of the very network: other classes, our own names."""

import logging

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.load import variable_shapes
from jaxcnn.weights.save import save_variables
from tests.parity import parity_weights


def weights(name, num_classes=1000):
    """A network's variables by their places, made from names and shapes alone."""
    shapes = variable_shapes(name, {"num_classes": num_classes})
    return {place: parity_weights.weight(place, leaf.shape) for place, leaf in shapes.items()}


def initial_head(name, key):
    model = jaxcnn.create_model(name, num_classes=10)
    head = jax.jit(lambda key: model.init(key, jnp.zeros((1, 64, 64, 3)), train=False)["params"]["classifier"]["dense"])
    return {f"params/classifier/dense/{leaf}": value for leaf, value in head(key).items()}


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny"])
def test_a_classifier_of_other_classes_starts_anew_and_the_rest_is_loaded(name, caplog):
    state, key = weights(name), jax.random.key(7)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        variables = jaxcnn.load_pretrained(name, state, num_classes=10, key=key)
    places = "params/classifier/dense/bias, params/classifier/dense/kernel"
    assert f"{name} starts with a new classifier of 10 classes: {places}" in caplog.text
    expected = state | initial_head(name, key)
    for place, value in flax.traverse_util.flatten_dict(variables, sep="/").items():
        np.testing.assert_allclose(value, expected[place], rtol=1e-6, atol=1e-7, err_msg=place)


def test_auxiliary_classifiers_start_anew_too():
    options = {"auxiliary_heads": True, "num_classes": 10}
    state = {
        place: np.ones(leaf.shape) for place, leaf in variable_shapes("googlenet", options | {"num_classes": 7}).items()
    }
    variables = jaxcnn.load_pretrained("googlenet", state, **options)
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    assert {place: leaf.shape for place, leaf in flat.items()} == {
        place: leaf.shape for place, leaf in variable_shapes("googlenet", options).items()
    }
    heads = ("auxiliary1/dense", "auxiliary2/dense", "classifier/dense")
    anew = {f"params/{head}/{leaf}" for head in heads for leaf in ("bias", "kernel")}
    assert {place for place, value in flat.items() if not np.all(value == 1)} == anew


def test_weights_of_the_same_classes_are_all_loaded(caplog):
    state = weights("resnet18", num_classes=10)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        variables = jaxcnn.load_pretrained("resnet18", state, num_classes=10)
    assert not caplog.text
    np.testing.assert_array_equal(
        variables["params"]["classifier"]["dense"]["kernel"], state["params/classifier/dense/kernel"]
    )


def test_other_classes_are_an_error_where_no_number_was_given():
    with pytest.raises(WeightsError, match=r"classifier/dense/bias, \(1000,\)"):
        jaxcnn.load_pretrained("resnet18", weights("resnet18", num_classes=10))


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("params/classifier/dense/kernel", np.zeros((511, 1000), np.float32), r"\(511, 1000\), which does not fit"),
        ("params/conv1/kernel", np.zeros((7, 7, 3, 63), np.float32), r"\(7, 7, 3, 63\), which does not fit"),
        ("params/conv1/kernel", np.zeros((7, 7, 3, 64), np.int8), "params/conv1/kernel holds int8, not floating point"),
        ("params/conv1/scale", np.zeros(64, np.float32), "without a place in it params/conv1/scale"),
    ],
)
def test_nothing_else_may_differ(place, value, sentence):
    with pytest.raises(WeightsError, match=sentence):
        jaxcnn.load_pretrained("resnet18", {**weights("resnet18"), place: value}, num_classes=10)


def test_a_missing_head_is_missing():
    state = {place: value for place, value in weights("resnet18").items() if "classifier" not in place}
    with pytest.raises(
        WeightsError, match="not filled by them params/classifier/dense/bias, params/classifier/dense/ke"
    ):
        jaxcnn.load_pretrained("resnet18", state, num_classes=10)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, jnp.bfloat16])
def test_other_precisions_become_float32(dtype):
    state = weights("resnet18")
    variables = jaxcnn.load_pretrained("resnet18", {place: value.astype(dtype) for place, value in state.items()})
    kernel = variables["params"]["conv1"]["kernel"]
    assert kernel.dtype == jnp.float32
    expected = state["params/conv1/kernel"].astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(kernel, expected)


@pytest.mark.parametrize("name", ["resnet20_cifar", "lenet", "lenet5"])
def test_our_own_names_load_into_any_network(name):
    state = weights(name, num_classes=10)
    variables = jaxcnn.load_pretrained(name, state, num_classes=10)
    assert flax.traverse_util.flatten_dict(variables, sep="/").keys() == state.keys()


@pytest.mark.parametrize("format", ["safetensors", "orbax"])
def test_what_is_saved_loads_again(format, tmp_path):
    state = weights("resnet20_cifar", num_classes=10)
    variables = jaxcnn.load_pretrained("resnet20_cifar", state)
    save_variables(variables, tmp_path / "new" / "out", format)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    again = jaxcnn.load_pretrained("resnet20_cifar", tmp_path / "new" / "out")
    for place, value in flax.traverse_util.flatten_dict(again, sep="/").items():
        assert value.dtype == jnp.float32
        np.testing.assert_array_equal(value, state[place])
    with pytest.raises(WeightsError, match=r"there is .*out already: remove it"):
        save_variables(variables, tmp_path / "new" / "out", format)


def test_where_nothing_can_be_written_a_sentence_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"out cannot be written: (Not a directory|File exists)"):
        save_variables({"params": {"a": np.zeros(1)}}, tmp_path / "file" / "out")
