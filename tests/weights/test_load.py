"""What `load_pretrained` takes besides weights of the network itself: other classes, our own names, own networks."""

import logging

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.models.registry import register
from jaxcnn.models.resnet import BasicBlock, ResNet
from jaxcnn.models.variant import Rule, Variant
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.load import load_variables, variable_shapes
from jaxcnn.weights.save import save_variables
from tests.parity import parity_weights


def weights(name, num_classes=1000):
    """A network's variables by their paths, made from names and shapes alone."""
    shapes = variable_shapes(name, {"num_classes": num_classes})
    return {path: parity_weights.weight(path, leaf.shape) for path, leaf in shapes.items()}


def flat(variables):
    return flax.traverse_util.flatten_dict(variables, sep="/")


def initial_head(name, key):
    model = jaxcnn.create_model(name, num_classes=10)
    head = jax.jit(lambda key: model.init(key, jnp.zeros((1, 64, 64, 3)), train=False)["params"]["classifier"]["dense"])
    return {f"params/classifier/dense/{leaf}": value for leaf, value in head(key).items()}


@pytest.mark.parametrize("name", ["resnet18", pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_a_classifier_of_other_classes_starts_anew_and_the_rest_is_loaded(name, caplog):
    state, key = weights(name), jax.random.key(7)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        variables = jaxcnn.load_pretrained(name, state, num_classes=10, key=key)
    reason = "because the weights have another number: params/classifier/dense/bias, params/classifier/dense/kernel"
    assert f"{name} starts with a new classifier of 10 classes, {reason}" in caplog.text
    expected = state | initial_head(name, key)
    for path, value in flat(variables).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-6, atol=1e-7, err_msg=path)


@pytest.mark.slow
def test_auxiliary_classifiers_start_anew_too():
    options = {"auxiliary_heads": True, "num_classes": 10}
    shapes = variable_shapes("googlenet", options | {"num_classes": 7})
    state = {path: np.ones(leaf.shape) for path, leaf in shapes.items()}
    variables = flat(jaxcnn.load_pretrained("googlenet", state, **options))
    wanted = variable_shapes("googlenet", options)
    assert {path: leaf.shape for path, leaf in variables.items()} == {path: leaf.shape for path, leaf in wanted.items()}
    heads = ("auxiliary1/dense", "auxiliary2/dense", "classifier/dense")
    anew = {f"params/{head}/{leaf}" for head in heads for leaf in ("bias", "kernel")}
    assert {path for path, value in variables.items() if not np.all(value == 1)} == anew
    state |= {path: np.ones(leaf.shape) for path, leaf in wanted.items() if path.startswith("params/classifier")}
    with pytest.raises(WeightsError, match=r"have several numbers of classes: params/auxiliary1/dense/bias, .* do not"):
        jaxcnn.load_pretrained("googlenet", state, **options)


def test_weights_of_the_same_classes_are_all_loaded(caplog):
    state = weights("resnet18", num_classes=10)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        variables = jaxcnn.load_pretrained("resnet18", state, num_classes=10)
    assert "resnet18 starts with the classifier of 10 classes that the weights have" in caplog.text
    np.testing.assert_array_equal(
        variables["params"]["classifier"]["dense"]["kernel"], state["params/classifier/dense/kernel"]
    )


def test_other_classes_are_an_error_where_no_number_was_given():
    with pytest.raises(WeightsError, match=r"classifier/dense/bias, \(1000,\)"):
        jaxcnn.load_pretrained("resnet18", weights("resnet18", num_classes=10))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("params/classifier/dense/kernel", np.zeros((511, 1000), np.float32), r"\(511, 1000\), which does not fit"),
        ("params/conv1/kernel", np.zeros((7, 7, 3, 63), np.float32), r"\(7, 7, 3, 63\), which does not fit"),
        ("params/conv1/kernel", np.zeros((7, 7, 3, 64), np.int8), "params/conv1/kernel holds int8, not floating point"),
        ("params/conv1/scale", np.zeros(64, np.float32), "it has no variable for params/conv1/scale; che"),
    ],
)
def test_nothing_else_may_differ(path, value, sentence):
    with pytest.raises(WeightsError, match=sentence):
        jaxcnn.load_pretrained("resnet18", {**weights("resnet18"), path: value}, num_classes=10)


def test_a_missing_head_is_missing():
    state = {path: value for path, value in weights("resnet18").items() if "classifier" not in path}
    with pytest.raises(
        WeightsError, match="in them fills params/classifier/dense/bias, params/classifier/dense/kernel"
    ):
        jaxcnn.load_pretrained("resnet18", state, num_classes=10)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, jnp.bfloat16])
def test_other_precisions_become_float32(dtype):
    state = weights("resnet18")
    variables = jaxcnn.load_pretrained("resnet18", {path: value.astype(dtype) for path, value in state.items()})
    kernel = variables["params"]["conv1"]["kernel"]
    assert kernel.dtype == jnp.float32
    expected = state["params/conv1/kernel"].astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(kernel, expected)


@pytest.mark.parametrize("name", ["resnet20_cifar", "lenet", "lenet5"])
def test_our_own_names_load_into_any_network(name):
    state = weights(name, num_classes=10)
    variables = jaxcnn.load_pretrained(name, state, num_classes=10)
    assert flat(variables).keys() == state.keys()


@pytest.mark.parametrize("format", ["safetensors", "orbax"])
def test_what_is_saved_loads_again(format, tmp_path):
    state = weights("resnet20_cifar", num_classes=10)
    variables = jaxcnn.load_pretrained("resnet20_cifar", state)
    save_variables(variables, tmp_path / "new" / "out", format)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    again = jaxcnn.load_pretrained("resnet20_cifar", tmp_path / "new" / "out")
    for path, value in flat(again).items():
        assert value.dtype == jnp.float32
        np.testing.assert_array_equal(value, state[path])
    with pytest.raises(WeightsError, match=r"there is .*out already: remove it"):
        save_variables(variables, tmp_path / "new" / "out", format)


def test_where_nothing_can_be_written_a_sentence_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"out cannot be written: (Not a directory|File exists)"):
        save_variables({"params": {"a": np.zeros(1)}}, tmp_path / "file" / "out")


OWN = "a_network_of_the_weights_tests"
RULES = (Rule(r"stem\.(conv|norm)", r"\g<1>1"), Rule(r"head", "classifier/dense"))


def own_network(rules=RULES, **options):
    """A network without blocks, registered with its rules, as a recipe may do."""
    name = f"{OWN}_{len(jaxcnn.list_models(f'{OWN}*'))}"
    block = {"block_type": BasicBlock, "stage_sizes": (), "stem": "cifar", "shortcut": "identity"}
    register(Variant(name, OWN, ResNet, {**block, "width": 4}, 8, num_classes=10, rules=rules))
    return name, jaxcnn.create_model(name, **options)


def own_state(num_classes=10):
    shapes = {"stem.conv.weight": (4, 3, 3, 3), "head.weight": (num_classes, 4), "head.bias": (num_classes,)}
    shapes |= {f"stem.norm.{leaf}": (4,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    return {name: parity_weights.weight(name, shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(("classes", "classifier"), [(10, "fitting"), (7, "fitting"), (7, "new")])
def test_a_network_that_is_made_already_is_filled_by_its_own_rules(classes, classifier, caplog):
    name, model = own_network(num_classes=7)
    state, key = own_state(classes), jax.random.key(3)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        variables = load_variables(model, name, state, key=key, classifier=classifier)
    np.testing.assert_array_equal(
        variables["params"]["conv1"]["kernel"], state["stem.conv.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(variables["batch_stats"]["norm1"]["var"], state["stem.norm.running_var"])
    initial = jax.jit(model.init)(key, jnp.zeros((1, 8, 8, 3)))["params"]["classifier"]["dense"]["kernel"]
    taken = classes == 7 and classifier == "fitting"
    expected = state["head.weight"].T if taken else initial
    np.testing.assert_array_equal(variables["params"]["classifier"]["dense"]["kernel"], expected)
    assert ("starts with the classifier of 7 classes" if taken else "a new classifier of 7 classes") in caplog.text
    assert ("because the weights have another number" in caplog.text) == (classes == 10)
    assert model.apply(variables, jnp.ones((2, 8, 8, 3))).shape == (2, 7)
    # Variables as Flax has them are a source too.
    again = load_variables(model, name, variables)
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_a_new_classifier_can_be_refused():
    name, model = own_network(num_classes=7)
    with pytest.raises(WeightsError, match=r"head.weight has shape \(10, 4\), which does not fit .* number of classes"):
        load_variables(model, name, own_state(), classifier="taken")


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (
            (*RULES, Rule(r"stem\.conv", "conv2")),
            "the weight rules give stem.conv.weight to params/conv1/kernel and to params/conv2/kernel: let one rule",
        ),
        ((*RULES, Rule("(", "conv2")), r"the weight rule \('\(', 'conv2'\) cannot be used: missing \)"),
        ((*RULES, Rule("x", r"\1")), r"the weight rule \('x', .* cannot be used: invalid group reference 1"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(rules, sentence):
    name, model = own_network(rules)
    with pytest.raises(WeightsError, match=sentence):
        load_variables(model, name, own_state())


@pytest.mark.slow
def test_auxiliary_heads_for_images_of_another_size():
    name = "nasnet_a_cifar"
    model = jaxcnn.create_model(name, auxiliary_heads=True, lowering="xla").clone(cells=1, features=4, stem_features=6)
    images = jax.ShapeDtypeStruct((1, 48, 48, 3), jnp.float32)
    shapes = flat(jax.eval_shape(model.init, jax.random.key(0), images))
    state = {path: np.zeros(leaf.shape, np.float32) for path, leaf in shapes.items()}
    kernel = load_variables(model, name, state, image_shape=(48, 48, 3))["params"]["auxiliary_head"]["conv2"]["kernel"]
    assert kernel.shape == (7, 7, 128, 768)
    with pytest.raises(WeightsError, match=r"auxiliary_head/conv2/kernel, \(4, 4, 128, 768\)"):
        load_variables(model, name, state)
