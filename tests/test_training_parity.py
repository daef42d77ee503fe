"""One training step of a network of each family against PyTorch's: loss, gradients, running statistics.

The goldens are PyTorch's in double precision, from the same weights, images and labels
(golden/make_training_golden.py).
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcnn
from jaxcnn.models.registry import get_variant, options_of
from tests.parity import parity_weights
from tests.parity.parity_variables import variables_of

TOLERANCE = 1e-5
GOLDEN = Path(__file__).parent / "golden"
NOTHING_DROPPED = {"dropout_rate": 0.0, "auxiliary_dropout_rate": 0.0, "drop_path_rate": 0.0}
# Those of golden/make_training_golden.py.
NARROW = {"nasnet_a_large": {"features": 8, "stem_features": 12, "count_padding": True, "batch_norm_momentum": 0.9}}
# Each takes a quarter of a minute or more to compile, and others remain for what is in it.
SLOW = {
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "nasnet_a_large",
    "regnet_y_400mf",
    "resnext50_32x4d",
    "vgg11_bn",
}


def names():
    """Those of the goldens there are."""
    for path in sorted(GOLDEN.glob("training_*.npz")):
        name = path.stem.removeprefix("training_")
        yield pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])


@pytest.mark.parametrize("name", list(names()))
def test_a_training_step_equals_pytorchs(name):
    with np.load(GOLDEN / f"training_{name}.npz") as stored:
        batch, size, weight, loss = (stored[key].item() for key in ("batch", "size", "auxiliary_weight", "loss"))
        shapes, gradients, statistics = (json.loads(str(stored[k])) for k in ("state_dict", "gradients", "statistics"))
    variant = get_variant(name)
    known = options_of(variant)
    options = {key: value for key, value in NOTHING_DROPPED.items() if key in known}
    if weight:
        options["auxiliary_heads"] = True
    # In double precision, as the goldens: a value beside a ReLU's corner may fall on either side in float32, and then
    # PyTorch's own gradients differ from those of its double precision by up to 2 %.
    model = jaxcnn.create_model(name, **options, dtype=jnp.float64).clone(**NARROW.get(name, {}))

    images = parity_weights.images(batch, size).transpose(0, 2, 3, 1)

    def load(make):
        state = {key: make(key, tuple(shape)) for key, shape in shapes.items()}
        return variables_of(model, images, variant.rules, state)

    variables = load(parity_weights.weight)
    labels = np.arange(batch) * 7

    @jax.jit
    def step(variables, images):
        def total(params):
            outputs, updated = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
            logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            losses = [
                optax.softmax_cross_entropy_with_integer_labels(each, labels).mean() for each in (logits, *auxiliary)
            ]
            return losses[0] + weight * sum(losses[1:]), updated

        return jax.value_and_grad(total, has_aux=True)(variables["params"])

    with jax.enable_x64(True):
        (found_loss, updated), found_gradients = step(variables, images.astype(np.float64))
    assert found_loss == pytest.approx(loss, rel=TOLERANCE)

    # PyTorch's name of every leaf of ours, and the golden's probes in our layout, by loading them as if weights.
    keys = list(shapes)
    numbered = load(lambda key, shape: np.full(shape, keys.index(key), np.float32))
    probes = load(parity_weights.probe)
    found = {"params": found_gradients, **({"batch_stats": updated["batch_stats"]} if statistics else {})}
    expected = gradients | statistics
    largest = max(norm for norm, _ in gradients.values())
    checked = set()
    for path, leaf in jax.tree.leaves_with_path(found):
        number, probe = (_at(tree, path) for tree in (numbered, probes))
        key = keys[int(number.flat[0])]
        norm, product = expected[key]
        # The bias before a batch normalization has no gradient but rounding: hence the second term.
        tolerance = TOLERANCE * norm + (1e-2 * TOLERANCE * largest if key in gradients else 0)
        leaf, probe = (np.asarray(each, np.float64) for each in (leaf, probe))
        assert np.linalg.norm(leaf) == pytest.approx(norm, abs=tolerance), key
        assert np.vdot(leaf, probe) / np.linalg.norm(probe) == pytest.approx(product, abs=tolerance), key
        checked.add(key)
    assert checked == set(expected)


def _at(tree, path):
    leaf = tree
    for step in path:
        leaf = leaf[step.key]
    return np.asarray(leaf)
