from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config import LossConfig
from jaxcnn.training.losses import binary_cross_entropy, make_loss, softmax_cross_entropy

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_pytorchs(smoothing):
    golden = np.load(GOLDEN / "cross_entropy.npz")
    found = softmax_cross_entropy(golden["logits"], golden["labels"], label_smoothing=smoothing)
    np.testing.assert_allclose(found, golden[f"losses_{smoothing}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_distribution_costs_what_its_labels_cost_weighted(label_smoothing):
    random = np.random.default_rng(0)
    logits = random.standard_normal((3, 4)).astype(np.float32)
    targets = random.dirichlet(np.ones(4), 3).astype(np.float32)
    found = softmax_cross_entropy(logits, jnp.asarray(targets), label_smoothing=label_smoothing)
    of_labels = [
        softmax_cross_entropy(logits, jnp.full(3, label), label_smoothing=label_smoothing) for label in range(4)
    ]
    np.testing.assert_allclose(found, (np.stack(of_labels, 1) * targets).sum(1), rtol=1e-5)


def test_binary_cross_entropy_is_worked_out_by_hand():
    """The logits (ln 3, 0) give the probabilities 3/4 and 1/2 of being the class, each independently."""
    logits = jnp.array([[np.log(3.0), 0.0]], jnp.float32)
    right, other = -np.log(3 / 4), -np.log(1 / 4)
    np.testing.assert_allclose(binary_cross_entropy(logits, jnp.array([0])), [(right + np.log(2)) / 2], rtol=1e-6)
    soft = jnp.array([[0.25, 0.75]])
    expected = (0.25 * right + 0.75 * other + np.log(2)) / 2
    np.testing.assert_allclose(binary_cross_entropy(logits, soft), [expected], rtol=1e-6)
    # Smoothing 0.2 over two classes: 0.1 and 0.9.
    expected = (0.1 * right + 0.9 * other + np.log(2)) / 2
    np.testing.assert_allclose(binary_cross_entropy(logits, jnp.array([1]), label_smoothing=0.2), [expected], rtol=1e-6)


@pytest.mark.parametrize(
    ("threshold", "whole"), [(0.0, [1, 1, 1, 0]), (0.2, [1, 1, 0, 0]), (0.3, [1, 0, 0, 0]), (0.7, [0, 0, 0, 0])]
)
def test_targets_above_the_threshold_count_whole(threshold, whole):
    logits = jnp.array([[0.3, -1.0, 2.0, 0.5]])
    loss = make_loss(LossConfig(kind="binary", target_threshold=threshold))
    found = loss(logits, jnp.array([[0.5, 0.3, 0.2, 0.0]]))
    np.testing.assert_allclose(found, binary_cross_entropy(logits, jnp.array([whole], jnp.float32)), rtol=1e-6)


def test_make_loss_hands_the_smoothing_on():
    logits, labels = jnp.array([[0.3, -1.0, 2.0]]), jnp.array([1])
    for kind, function in (("softmax", softmax_cross_entropy), ("binary", binary_cross_entropy)):
        found = make_loss(LossConfig(kind=kind, label_smoothing=0.1))(logits, labels)
        np.testing.assert_array_equal(found, function(logits, labels, label_smoothing=0.1))
