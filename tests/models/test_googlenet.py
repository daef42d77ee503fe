import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn import loading
from jaxcnn.errors import UserError
from jaxcnn.models import googlenet
from jaxcnn.models.googlenet import GoogLeNet, to_half_normalization
from jaxcnn.tables.networks import describe
from tests.models.shapes import size_of, trace
from tests.parity import parity_weights

GOLDEN = Path(__file__).parent.parent / "golden"
PARITY = Path(__file__).parent.parent / "parity"


@pytest.mark.slow
def test_the_papers_network_is_the_one_made_a_second_time_from_its_text():
    with np.load(GOLDEN / "googlenet_2014.npz") as stored:
        shapes = json.loads(str(stored["state_dict"]))
        expected = [stored[name] for name in ("logits", "auxiliary1", "auxiliary2")]
    state = {key: parity_weights.weight(key, tuple(shape)) for key, shape in shapes.items()}
    options = {"auxiliary_heads": True, "lowering": "xla", "dropout_rate": 0.0, "auxiliary_dropout_rate": 0.0}
    variables = jaxcnn.load_pretrained("googlenet_2014", state, auxiliary_heads=True)
    model = jaxcnn.create_model("googlenet_2014", **options)
    images = 5 * parity_weights.images(1, 224).transpose(0, 2, 3, 1)
    found = jax.jit(lambda variables, images: model.apply(variables, images, train=True))(variables, images)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


@pytest.mark.parametrize(
    ("name", "size", "maps"),
    [
        ("googlenet", 224, (112, 28, 14, 7)),
        ("googlenet_2014", 224, (112, 28, 14, 7)),
        # Where pooling must not leave the last pixels out, and where it must not add any.
        ("googlenet", 250, (125, 31, 15, 8)),
        ("googlenet_2014", 250, (125, 31, 15, 7)),
        ("googlenet", 15, (8, 2, 1, 1)),
        ("googlenet_2014", 31, (16, 4, 2, 1)),
    ],
)
def test_maps_are_table_1s(name, size, maps):
    found = trace(jaxcnn.create_model(name), size)[2]
    features = {
        **{"conv1": 64, "inception3a": 256, "inception3b": 480, "inception4a": 512, "inception4b": 512},
        **{"inception4c": 512, "inception4d": 528, "inception4e": 832, "inception5a": 832, "inception5b": 1024},
    }
    sides = dict(zip("1345", maps, strict=True))
    for module, channels in features.items():
        side = sides[next(filter(str.isdigit, module))]
        assert found[module] == (side, side, channels)


@pytest.mark.parametrize(("name", "millions"), [("googlenet", 1498), ("googlenet_2014", 1583)])
def test_multiply_adds(name, millions):
    """Torchvision's 1.498 billion, and ours of the paper's network, which is to have a budget of 1.5 billion."""
    assert describe(name).multiply_adds == pytest.approx(millions * 1e6, rel=0.01)


# The paper's: reference/papers.json; torchvision's: its own count with heads.
@pytest.mark.parametrize(("name", "count"), [("googlenet", 13_004_888), ("googlenet_2014", 13_378_280)])
def test_auxiliary_heads_are_returned_in_training_and_made_before(name, count):
    model = jaxcnn.create_model(name, auxiliary_heads=True)
    logits, evaluated, _ = trace(model, 224)
    outputs, trained_, _ = trace(model, 224, train=True)
    assert logits.shape == (2, 1000)
    assert [(each.shape, each.dtype) for each in outputs] == [((2, 1000), jnp.float32)] * 3
    assert evaluated == trained_
    assert size_of(evaluated["params"]) == count
    without = jaxcnn.create_model(name)
    assert trace(without, 224, train=True)[0].shape == (2, 1000)
    plain = trace(without, 224)[1]["params"]
    assert plain.keys() == evaluated["params"].keys() - {"auxiliary1", "auxiliary2"}


@pytest.mark.slow
def test_a_files_heads_are_loaded_where_there_are_heads():
    with np.load(PARITY / "googlenet.npz") as stored:
        shapes = json.loads(str(stored["state_dict"]))
    state = {key: parity_weights.weight(key, tuple(shape)) for key, shape in shapes.items()}
    params = jaxcnn.load_pretrained("googlenet", state, auxiliary_heads=True)["params"]
    np.testing.assert_array_equal(params["auxiliary2"]["dense"]["kernel"], state["aux2.fc2.weight"].T)
    hidden = params["auxiliary1"]["hidden"]["conv"]["kernel"]
    flattened = hidden.transpose(3, 2, 0, 1).reshape(1024, 2048)
    np.testing.assert_array_equal(flattened, state["aux1.fc1.weight"])
    assert "auxiliary1" not in jaxcnn.load_pretrained("googlenet", state)["params"]


@pytest.mark.parametrize(
    ("name", "size", "options", "sentence"),
    [
        ("googlenet", 14, {}, "images of 14x14 pixels are too small for the strides of GoogLeNet: give at least 15x15"),
        ("googlenet_2014", 30, {}, "too small for the strides of GoogLeNet: give at least 31x31"),
        (
            "googlenet_2014",
            78,
            {"auxiliary_heads": True},
            "78x78 pixels are too small for the auxiliary heads of GoogLeNet: give at least 79x79, or auxiliary_heads=",
        ),
        ("googlenet", 15, {"remat": (5,)}, "remat names stage 5, and GoogLeNet has stages 1 to 4"),
    ],
)
def test_what_it_cannot_compute_is_refused(name, size, options, sentence):
    with pytest.raises(UserError, match=sentence):
        trace(jaxcnn.create_model(name, **options), size)


class Unchecked(GoogLeNet):
    smallest_size = 1


@pytest.mark.parametrize(("form", "size"), [("torchvision", 15), ("paper", 31)])
def test_the_smallest_size_is_the_smallest(form, size):
    assert trace(Unchecked(form=form), size)[0].shape == (2, 1000)
    with pytest.raises(ValueError, match="pooling window"):
        trace(Unchecked(form=form), size - 1)


@pytest.mark.slow
def test_the_heads_smallest_size_is_the_smallest():
    with_heads = jaxcnn.create_model("googlenet_2014", auxiliary_heads=True)
    assert trace(with_heads, 79, train=True)[0][2].shape == (2, 1000)
    # Their pooling covers 5x5.
    maps = [trace(jaxcnn.create_model("googlenet_2014"), size)[2]["inception4a"][0] for size in (78, 79)]
    assert maps == [4, 5]
    # Torchvision's heads take what the network takes.
    assert trace(jaxcnn.create_model("googlenet", auxiliary_heads=True), 15, train=True)[0][1].shape == (2, 1000)


def test_only_torchvisions_form_has_the_options_of_its_normalization_and_weights():
    for option in ({"transform_input": True}, {"batch_norm_axis": "batch"}):
        with pytest.raises(UserError, match=f"googlenet_2014 has no option '{next(iter(option))}'"):
            jaxcnn.create_model("googlenet_2014", **option)


@pytest.mark.parametrize("name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.slow)])
def test_transform_input_takes_imagenets_normalization(name):
    size = jaxcnn.create_model(name).smallest_size
    pixels = np.random.default_rng(0).uniform(0, 1, (2, size, size, 3)).astype(np.float32)
    usual = (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    half = (pixels - 0.5) / 0.5
    np.testing.assert_allclose(to_half_normalization(jnp.asarray(usual)), half, atol=1e-6)
    first = "conv1" if name == "googlenet" else "conv1a"

    def first_layer(transform_input, images):
        model = jaxcnn.create_model(name, transform_input=transform_input, lowering="xla")
        variables = model.init(jax.random.key(0), images)
        _, state = model.apply(variables, images, capture_intermediates=lambda module, _: module.name == first)
        return state["intermediates"][first]["__call__"][0]

    # Nothing after the first layer is computed.
    found, expected = (
        jax.jit(first_layer, static_argnums=0)(*arguments) for arguments in ((True, usual), (False, half))
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, jax.jit(first_layer, static_argnums=0)(False, usual), atol=1e-2)
    with pytest.raises(UserError, match="transform_input is for images of three channels, not 1: leave it False"):
        to_half_normalization(jnp.zeros((2, 8, 8, 1)))


@pytest.mark.parametrize(("name", "needed"), [("googlenet", True), ("inception_v3", True), ("resnet18", None)])
def test_published_weights_get_the_input_they_need(name, needed, monkeypatch):
    made = lambda name, weights, ignore, **options: (jaxcnn.create_model(name, **options), {})  # noqa: E731
    monkeypatch.setattr(loading, "load_network", made)
    assert getattr(loading.load_published(name, Path("w")).model, "transform_input", None) is needed


@pytest.fixture
def short(monkeypatch):
    """A model of two modules, because each takes seconds to compile; images, and variables."""
    monkeypatch.setattr(googlenet, "MODULES", tuple(stage[:1] for stage in googlenet.MODULES[:2]))
    images = jax.random.normal(jax.random.key(1), (4, 15, 15, 3))
    options = {"num_classes": 3, "lowering": "xla", "dropout_rate": 0.0, "auxiliary_dropout_rate": 0.0}
    model = jaxcnn.create_model("googlenet", auxiliary_heads=True, **options)
    shapes, random = jax.eval_shape(model.init, jax.random.key(0), images), np.random.default_rng(0)
    return model, images, jax.tree.map(lambda leaf: 0.2 * random.standard_normal(leaf.shape, np.float32), shapes)


def loss_of(model, images, variables):
    def loss(params, weights):
        outputs, updated = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
        return jnp.square(jnp.stack(outputs)).sum((1, 2)) @ weights, updated["batch_stats"]

    return loss


def test_gradients_reach_what_they_should(short):
    gradients = jax.jit(jax.grad(loss_of(*short), has_aux=True))
    variables = short[2]
    gradient, statistics = gradients(variables["params"], jnp.array([1.0, 0.0]))
    changed = jax.tree.map(lambda new, old: not np.allclose(new, old), statistics, variables["batch_stats"])
    assert all(jax.tree.leaves(changed))

    def moved(gradient):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        return {name for name, tree in gradient.items() if any(leaf.any() for leaf in jax.tree.leaves(tree))}

    below = {"conv1", "conv2_reduce", "conv2", "inception3a", "inception4a"}
    assert moved(gradient) == below | {"classifier"}
    assert moved(gradients(variables["params"], jnp.array([0.0, 1.0]))[0]) == below | {"auxiliary1"}


@pytest.mark.parametrize(("stages", "parts"), [((), 0), ((1,), 1), ((1, 2, 3), 3)])
def test_computing_again_is_by_stem_and_module_and_keeps_the_parameters(short, stages, parts):
    model, images, variables = short
    again = model.clone(remat=stages)
    shapes = jax.eval_shape(again.init, jax.random.key(0), images)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
    traced = jax.make_jaxpr(loss_of(again, images, variables))(variables["params"], jnp.ones(2))
    assert sum(equation.primitive.name.startswith("remat") for equation in traced.eqns) == parts
