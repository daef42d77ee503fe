"""Annotated shapes and dtypes are checked while the tests run: see conftest.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxcnn.augment.geometric import horizontal_flip
from jaxcnn.evaluation.metrics import rank_of_label
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.layers.blocks import Classifier, LayerScale
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.ops.norm import affine_norm
from jaxcnn.ops.pool import max_pool

CHANNELS = jnp.ones(3)
SCORES = np.zeros((2, 10), np.float32)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: max_pool(jnp.ones((4, 4, 3)), (2, 2)), id="an image without its batch"),
        pytest.param(lambda: max_pool(jnp.ones((1, 4, 4, 3), jnp.int32), (2, 2)), id="integers"),
        pytest.param(
            lambda: affine_norm(jnp.ones((2, 5)), CHANNELS, CHANNELS, CHANNELS, CHANNELS, epsilon=1e-5),
            id="vectors of another length than the channels",
        ),
        pytest.param(
            lambda: horizontal_flip(jax.random.split(jax.random.key(0), 2), jnp.ones((3, 4, 4, 1), jnp.uint8)),
            id="fewer keys than images",
        ),
        pytest.param(
            lambda: jax.jit(horizontal_flip)(jnp.zeros((2, 2), jnp.uint32), jnp.ones((2, 4, 4, 1), jnp.uint8)),
            id="keys that are numbers, traced",
        ),
        pytest.param(
            lambda: Classifier(10, train=False).init(jax.random.key(0), jnp.ones((1, 3))), id="a layer's argument"
        ),
        pytest.param(lambda: Classifier("10", train=False), id="a layer's field"),
        pytest.param(lambda: rank_of_label(SCORES, np.zeros(2, np.float32)), id="labels that are no integers"),
        pytest.param(
            lambda: Predictions(SCORES, np.zeros(2, np.int32), np.ones(3, bool)), id="a dataclass whose fields differ"
        ),
    ],
)
def test_a_wrong_shape_or_dtype_is_caught(call):
    with pytest.raises(TypeCheckError):
        call()


def test_a_wrong_result_is_caught(monkeypatch):
    """The number of classes is a field of the layer, and a dimension of what the layer returns."""
    monkeypatch.setattr("flax.linen.Dense.__call__", lambda self, x: x)
    with pytest.raises(TypeCheckError, match="return value"):
        Classifier(10, train=False).init(jax.random.key(0), jnp.ones((1, 2, 2, 3)))


@pytest.mark.parametrize("layer", [LayerScale(), BatchNorm(train=True), Classifier(10, train=False)])
def test_right_ones_pass(layer):
    images = jnp.ones((2, 4, 4, 3), jnp.bfloat16)
    variables = jax.jit(layer.init)(jax.random.key(0), images)
    assert layer.apply(variables, images, mutable=["batch_stats"])[0].shape[0] == 2
