import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.models.lenet import C3_INPUTS, DIGIT_PICTURES
from jaxcnn.models.registry import ModelError, get_variant, options_of, register

PARAMETERS = {
    "lenet": 61_706,
    "lenet5": 60_000,  # the paper's own count
    "resnet18": 11_689_512,  # these five: torchvision
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20_cifar": 269_722,
    "resnet32_cifar": 464_154,
    "resnet44_cifar": 658_586,
    "resnet56_cifar": 853_018,
    "resnet110_cifar": 1_727_962,
}


def abstract(name, train=False, **options):
    """Variables and logits of a network, as shapes."""
    model, variant = jaxcnn.create_model(name, **options), get_variant(name)
    images = jax.ShapeDtypeStruct((2, variant.input_size, variant.input_size, variant.channels), jnp.float32)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    logits, variables = jax.eval_shape(lambda images: model.init_with_output(keys, images, train=train), images)
    return variables, logits


@pytest.mark.parametrize("name", jaxcnn.list_models())
def test_parameters_and_logits(name):
    variables, logits = abstract(name)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == PARAMETERS[name]
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert (logits.shape, logits.dtype) == ((2, get_variant(name).num_classes), jnp.float32)


@pytest.mark.parametrize("name", ["lenet", "lenet5", "resnet18", "resnet50"])
def test_logits_are_float32_in_bfloat16_and_batch_statistics_too(name):
    variables, logits = abstract(name, train=True, dtype=jnp.bfloat16)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_lenet_takes_any_number_of_channels():
    model = jaxcnn.create_model("lenet", num_classes=7)
    for channels in (1, 3, 5):
        logits, _ = model.init_with_output(jax.random.key(0), jnp.ones((1, 20, 28, channels)))
        assert logits.shape == (1, 7)


def test_dropout_obeys_train():
    model = jaxcnn.create_model("lenet", dropout_rate=0.5)
    images = jnp.ones((2, 32, 32, 1))
    variables = model.init(jax.random.key(0), images)

    def run(train, key):
        return model.apply(variables, images, train=train, rngs={"dropout": jax.random.key(key)})

    np.testing.assert_array_equal(run(False, 0), run(False, 1))
    assert not np.allclose(run(True, 0), run(True, 1))


def test_batch_normalization_obeys_train():
    model = jaxcnn.create_model("resnet20_cifar")
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    variables = model.init(jax.random.key(0), images)
    evaluated, unchanged = model.apply(variables, images, train=False, mutable=["batch_stats"])
    trained, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
    assert not np.allclose(evaluated, trained)
    jax.tree.map(np.testing.assert_array_equal, unchanged["batch_stats"], variables["batch_stats"])
    assert not np.allclose(updated["batch_stats"]["norm1"]["var"], variables["batch_stats"]["norm1"]["var"])


def test_zero_init_residual_starts_as_the_identity():
    model = jaxcnn.create_model("resnet20_cifar", zero_init_residual=True)
    variables = model.init(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
    assert not variables["params"]["stage1_block0"]["norm2"]["scale"].any()
    assert variables["params"]["stage1_block0"]["norm1"]["scale"].all()


def test_lenet5_is_the_papers():
    assert sum(map(len, C3_INPUTS)) == 60
    assert [sum(i in inputs for inputs in C3_INPUTS) for i in range(6)] == [10] * 6
    params = abstract("lenet5")[0]["params"]
    counts = {
        "C1": params["c1"],
        "S2": [params["s2_coefficient"], params["s2_bias"]],
        "C3": [params["c3_kernel"], params["c3_bias"]],
        "S4": [params["s4_coefficient"], params["s4_bias"]],
        "C5": params["c5"],
        "F6": params["f6"],
    }
    found = {layer: sum(leaf.size for leaf in jax.tree.leaves(tree)) for layer, tree in counts.items()}
    assert found == {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48120, "F6": 10164}
    assert DIGIT_PICTURES.shape == (10, 84)
    assert len({tuple(row) for row in DIGIT_PICTURES}) == 10
    assert set(np.unique(DIGIT_PICTURES)) == {-1, 1}


def test_lenet5_sees_only_its_connections():
    """A change in one map of S2 moves only the maps of C3 that table I connects to it."""
    model = jaxcnn.create_model("lenet5")
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))

    def c3_change(channel):
        bias = variables["params"]["s2_bias"]
        moved = {"params": {**variables["params"], "s2_bias": bias.at[channel].add(1.0)}}
        # All of C5's inputs but one map at a time are cut, and the logits tell whether it moved.
        changes = []
        for index in range(16):
            kernel = jnp.zeros_like(moved["params"]["c5"]["kernel"])
            kernel = kernel.at[:, :, index].set(moved["params"]["c5"]["kernel"][:, :, index])
            cut = {"c5": {**moved["params"]["c5"], "kernel": kernel}}
            before = model.apply({"params": {**variables["params"], **cut}}, jnp.ones((1, 32, 32, 1)))
            after = model.apply({"params": {**moved["params"], **cut}}, jnp.ones((1, 32, 32, 1)))
            changes.append(not np.array_equal(before, after))
        return changes

    for channel in (0, 4):
        assert c3_change(channel) == [channel in inputs for inputs in C3_INPUTS]


def test_lenet5_refuses_what_the_paper_has_not():
    with pytest.raises(UserError, match="32x32 pixels, not 28x28"):
        jaxcnn.create_model("lenet5").init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    with pytest.raises(UserError, match="not of 11 classes: use lenet"):
        jaxcnn.create_model("lenet5", num_classes=11).init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))


def test_names():
    assert jaxcnn.list_models() == sorted(PARAMETERS)
    assert jaxcnn.list_models("resnet1*") == ["resnet101", "resnet110_cifar", "resnet152", "resnet18"]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("resnet5", {}, "there is no model 'resnet5': did you mean 'resnet50'"),
        ("vgg", {}, "there is no model 'vgg': choose from 'lenet'"),
        ("lenet", {"dropout": 0.5}, "lenet has no option 'dropout': did you mean 'dropout_rate'"),
        ("lenet", {"dropout_rate": "0.5"}, "option 'dropout_rate' of lenet cannot be '0.5'"),
        ("lenet", {"activation": "relo"}, "option 'activation' of lenet cannot be 'relo'"),
        ("lenet", {"dtype": "float33"}, "option 'dtype' of lenet cannot be 'float33'"),
        ("resnet50", {"stage_sizes": (1, 1, 1, 1)}, "resnet50 has no option 'stage_sizes'"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, sentence):
    with pytest.raises(ModelError, match=sentence):
        jaxcnn.create_model(name, **options)


def test_a_duplicate_name_is_refused():
    with pytest.raises(ModelError, match="there is a model named 'lenet' already"):
        register(get_variant("lenet"))


def test_options_are_the_modules_fields():
    assert {"num_classes", "dtype", "lowering", "zero_init_residual"} <= options_of(get_variant("resnet50")).keys()
