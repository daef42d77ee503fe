from pathlib import Path

import numpy as np
import pytest

from jaxcnn.training.losses import softmax_cross_entropy

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_pytorchs(smoothing):
    golden = np.load(GOLDEN / "cross_entropy.npz")
    found = softmax_cross_entropy(golden["logits"], golden["labels"], label_smoothing=smoothing)
    np.testing.assert_allclose(found, golden[f"losses_{smoothing}"], rtol=1e-5, atol=1e-6)
