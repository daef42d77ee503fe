from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.training.losses import softmax_cross_entropy

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
