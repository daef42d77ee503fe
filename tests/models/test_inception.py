import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.models import inception
from jaxcnn.models.inception import InceptionV3
from jaxcnn.tables.networks import describe
from tests.models.shapes import size_of, trace
from tests.parity import parity_weights

PARITY = Path(__file__).parent.parent / "parity"


def test_maps_are_table_1s():
    maps = trace(jaxcnn.create_model("inception_v3"), 299)[2]
    assert {name: shape for name, shape in maps.items() if name != "classifier"} == {
        "conv1a": (149, 149, 32),
        "conv2a": (147, 147, 32),
        "conv2b": (147, 147, 64),
        "conv3b": (73, 73, 80),
        "conv4a": (71, 71, 192),
        "mixed5b": (35, 35, 256),
        "mixed5c": (35, 35, 288),
        "mixed5d": (35, 35, 288),
        **{f"mixed6{letter}": (17, 17, 768) for letter in "abcde"},
        "mixed7a": (8, 8, 1280),
        "mixed7b": (8, 8, 2048),
        "mixed7c": (8, 8, 2048),
    }


def test_multiply_adds_are_torchvisions():
    assert describe("inception_v3").multiply_adds == pytest.approx(5.713e9, rel=1e-3)


def test_the_auxiliary_head_is_returned_in_training_and_made_before():
    model = jaxcnn.create_model("inception_v3", auxiliary_heads=True)
    logits, evaluated, _ = trace(model, 299)
    outputs, trained, _ = trace(model, 299, train=True)
    assert logits.shape == (2, 1000)
    assert [(each.shape, each.dtype) for each in outputs] == [((2, 1000), jnp.float32)] * 2
    assert evaluated == trained
    assert size_of(evaluated["params"]) == 27_161_264  # torchvision's
    plain_outputs, plain, _ = trace(jaxcnn.create_model("inception_v3"), 299, train=True)
    assert plain_outputs.shape == (2, 1000)
    assert plain["params"].keys() == evaluated["params"].keys() - {"auxiliary1"}


@pytest.mark.slow
def test_a_files_head_is_loaded_where_there_is_a_head():
    with np.load(PARITY / "inception_v3.npz") as stored:
        shapes = json.loads(str(stored["state_dict"]))
    state = {key: parity_weights.weight(key, tuple(shape)) for key, shape in shapes.items()}
    head = jaxcnn.load_pretrained("inception_v3", state, auxiliary_heads=True)["params"]["auxiliary1"]
    np.testing.assert_array_equal(head["classifier"]["dense"]["kernel"], state["AuxLogits.fc.weight"].T)
    np.testing.assert_array_equal(head["conv2"]["norm"]["scale"], state["AuxLogits.conv1.bn.weight"])


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        (74, {}, "images of 74x74 pixels are too small for the strides of InceptionV3: give at least 75x75"),
        (
            298,
            {"auxiliary_heads": True},
            "images of 298x298 pixels are too small for the auxiliary head of InceptionV3: give at least 299x299, or "
            "auxiliary_heads=False",
        ),
        (75, {"remat": (5,)}, "remat names stage 5, and InceptionV3 has stages 1 to 4"),
    ],
)
def test_what_it_cannot_compute_is_refused(size, options, sentence):
    with pytest.raises(UserError, match=sentence):
        trace(jaxcnn.create_model("inception_v3", **options), size)


@pytest.mark.slow
def test_the_smallest_sizes_are_the_smallest():
    class Unchecked(InceptionV3):
        smallest_size = 1

    assert trace(Unchecked(), 75)[0].shape == (2, 1000)
    with pytest.raises(ValueError, match="is larger than the"):
        trace(Unchecked(), 74)
    # The head's pooling must leave 5x5, and so needs 17x17.
    maps = [trace(jaxcnn.create_model("inception_v3"), size)[2]["mixed6e"][0] for size in (298, 299)]
    assert maps == [16, 17]
    # Larger images leave its convolution more than one position, which are averaged.
    with_head = jaxcnn.create_model("inception_v3", auxiliary_heads=True)
    assert trace(with_head, 400, train=True)[0][1].shape == (2, 1000)


@pytest.fixture
def short(monkeypatch):
    """A model of one module a stage, because each takes seconds to compile; images, and variables."""
    monkeypatch.setattr(inception, "MODULES", tuple(stage[:1] for stage in inception.MODULES))
    model = jaxcnn.create_model("inception_v3", num_classes=3, dropout_rate=0.0, lowering="xla")
    images = jax.random.normal(jax.random.key(1), (2, 75, 75, 3))
    shapes, random = jax.eval_shape(model.init, jax.random.key(0), images), np.random.default_rng(0)
    return model, images, jax.tree.map(lambda leaf: 0.2 * random.standard_normal(leaf.shape, np.float32), shapes)


def test_count_padding_changes_what_the_border_sees(short):
    model, images, variables = short

    def first_module(model):
        def run(variables):
            _, state = model.apply(variables, images, capture_intermediates=lambda each, _: each.name == "mixed5b")
            return state["intermediates"]["mixed5b"]["__call__"][0][..., -32:]

        return jax.jit(run)(jax.tree.map(jnp.abs, variables))

    counted, uncounted = first_module(model), first_module(model.clone(count_padding=False))
    np.testing.assert_allclose(counted[:, 1:-1, 1:-1], uncounted[:, 1:-1, 1:-1], rtol=1e-5)
    assert not np.allclose(counted[:, 0], uncounted[:, 0], rtol=1e-2)


def test_gradients_are_finite_and_statistics_move(short):
    model, images, variables = short

    @jax.jit
    def gradients(params):
        def loss(params):
            state = {**variables, "params": params}
            logits, updated = model.apply(state, images, train=True, mutable=["batch_stats"])
            return jnp.square(logits).sum(), updated["batch_stats"]

        return jax.grad(loss, has_aux=True)(params)

    gradient, statistics = gradients(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert all(leaf.any() for leaf in jax.tree.leaves(gradient["conv1a"]))
    changed = jax.tree.map(lambda new, old: not np.allclose(new, old), statistics, variables["batch_stats"])
    assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize(("stages", "parts"), [((), 0), ((1, 3), 2)])
def test_computing_again_is_by_stem_and_module_and_keeps_the_parameters(short, stages, parts):
    model, images, variables = short
    again = model.clone(remat=stages)
    shapes = jax.eval_shape(again.init, jax.random.key(0), images)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
    traced = jax.make_jaxpr(lambda variables: again.apply(variables, images, train=True, mutable=["batch_stats"]))(
        variables
    )
    assert sum(equation.primitive.name.startswith("remat") for equation in traced.eqns) == parts
