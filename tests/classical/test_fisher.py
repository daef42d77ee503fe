"""Fisher vectors, against scikit-image and against the gradients that they are."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from jaxcnn.classical.fisher import Mixture, fisher_vectors, improved, normalized, posteriors

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "fisher_vectors.npz")
MIXTURE = Mixture(*(jnp.asarray(GOLDEN[name], jnp.float32) for name in Mixture._fields))
K, D = MIXTURE.means.shape
encode = jax.jit(fisher_vectors)


def test_equal_scikit_images_but_for_the_sign_of_deviations():
    """scikit-image has the gradients of the weights first, and those of the deviations with the other sign."""
    descriptors = jnp.asarray(GOLDEN["descriptors"], jnp.float32)
    found = encode(descriptors, jnp.ones((1, len(descriptors)), bool), MIXTURE)[0]
    _, means, deviations = np.split(GOLDEN["plain"], [K, K + K * D])
    expected = np.concatenate([means, -deviations])
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=1e-4)
    _, means, deviations = np.split(GOLDEN["improved"], [K, K + K * D])
    expected = np.concatenate([means, -deviations])
    expected /= np.linalg.norm(expected)  # theirs is of length 1 with the weights
    np.testing.assert_allclose(improved(found[None], 0.5), expected, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_are_the_gradients_of_the_log_likelihood_times_the_scale_of_the_fisher_information(seed, points):
    """The likelihood is SciPy's, in float64, and its gradients are differences."""
    rng = np.random.default_rng(seed)
    mixture = Mixture(rng.dirichlet(np.ones(3) * 5), rng.normal(size=(3, 2)), rng.uniform(0.3, 2, (3, 2)))
    descriptors = rng.normal(size=(12, 2)) * 1.5
    padded = jnp.asarray(np.tile(descriptors[:points], (12, 1))[:12], jnp.float32)
    counted = np.arange(12)[None] < min(points, 12)
    narrow = Mixture(*(jnp.asarray(each, jnp.float32) for each in mixture))
    found = np.asarray(encode(padded, jnp.asarray(counted), narrow))[0].reshape(2, 3, 2)
    descriptors = descriptors[: min(points, 12)]

    def likelihood(means, deviations):
        densities = norm.pdf(descriptors[:, None], means, deviations).prod(2)
        return np.log(densities @ mixture.weights).mean()

    deviations, small = np.sqrt(mixture.variances), 1e-5
    for component in range(3):
        for dimension in range(2):
            moved = np.zeros((3, 2))
            moved[component, dimension] = small
            by_mean = likelihood(mixture.means + moved, deviations) - likelihood(mixture.means - moved, deviations)
            by_deviation = likelihood(mixture.means, deviations + moved) - likelihood(mixture.means, deviations - moved)
            scale = deviations[component, dimension] / np.sqrt(mixture.weights[component]) / (2 * small)
            expected = np.array([by_mean, by_deviation / np.sqrt(2)]) * scale
            np.testing.assert_allclose(found[:, component, dimension], expected, atol=2e-4, rtol=1e-3)


def test_posteriors_are_those_of_scikit_learn():
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(
        K,
        covariance_type="diag",
        weights_init=GOLDEN["weights"],
        means_init=GOLDEN["means"],
        precisions_init=1 / GOLDEN["variances"],
    )
    fitted._initialize_parameters(GOLDEN["descriptors"], np.random.RandomState(0))
    expected = fitted.predict_proba(GOLDEN["descriptors"])
    np.testing.assert_allclose(
        posteriors(jnp.asarray(GOLDEN["descriptors"], jnp.float32), MIXTURE), expected, atol=1e-5
    )


def test_a_cell_is_encoded_as_if_it_were_alone_and_an_empty_one_is_zero():
    descriptors = jnp.asarray(GOLDEN["descriptors"], jnp.float32)
    cells = jnp.asarray(np.stack([np.arange(60) < 20, np.zeros(60, bool), np.arange(60) >= 20]))
    found = encode(descriptors, cells, MIXTURE)
    alone = encode(descriptors[:20], jnp.ones((1, 20), bool), MIXTURE)[0]
    np.testing.assert_allclose(found[0], alone, atol=1e-5)
    assert not np.asarray(found[1]).any()
    whole = improved(found, 0.5)
    assert np.linalg.norm(whole) == pytest.approx(1)
    lengths = np.linalg.norm(np.asarray(whole).reshape(3, -1), axis=1)
    assert lengths == pytest.approx([0.5**0.5, 0, 0.5**0.5])
    assert not np.asarray(improved(found[1:2], 0.5)).any()


def test_lengths_of_zeros_do_no_harm():
    found = normalized(jnp.array([[0.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(found, [[0, 0], [0.6, 0.8]], rtol=1e-6)
