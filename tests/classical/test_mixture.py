"""The mixture and the principal components: the same bits however the fit is cut, and scikit-learn's own result."""

import itertools

import numpy as np
import pytest
import threadpoolctl
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from jaxcnn.classical.mixture import Fit, fitted_further, principal_components
from jaxcnn.errors import UserError

OPTIONS = {"components": 4, "reg_covar": 1e-4, "tolerance": 1e-6, "max_steps": 60, "seed": 0}


@pytest.fixture(scope="module")
def descriptors():
    rng = np.random.RandomState(0)
    return np.concatenate([rng.normal(centre, 0.5, (150, 3)) for centre in rng.normal(size=(4, 3))])


def whole(descriptors, **options):
    fits = [fitted_further(descriptors, None, **OPTIONS | options)]
    while not fits[-1].done:
        fits.append(fitted_further(descriptors, fits[-1], **OPTIONS | options))
    return fits


def test_pieces_end_where_scikit_learn_does_in_one(descriptors):
    fits = whole(descriptors)
    assert len(fits) > 2
    with threadpoolctl.threadpool_limits(1):
        expected = GaussianMixture(
            4, covariance_type="diag", reg_covar=1e-4, tol=1e-6, max_iter=200, random_state=0
        ).fit(descriptors)
    assert fits[-1].steps >= expected.n_iter_ > 20
    np.testing.assert_allclose(fits[-1].means, expected.means_, atol=1e-2)
    np.testing.assert_allclose(fits[-1].log_likelihood, expected.lower_bound_, atol=1e-4)


def test_a_piece_is_a_function_of_the_pieces_before_it(descriptors):
    """They come back from a file: equal numbers in other arrays."""
    fits = whole(descriptors)
    for before, after in itertools.pairwise(fits):
        again = fitted_further(descriptors, Fit(*(np.array(each) for each in before[:3]), *before[3:]), **OPTIONS)
        assert all(np.array_equal(one, other) for one, other in zip(again, after, strict=True))


def test_the_last_step_ends_it(descriptors):
    assert [fit.steps for fit in whole(descriptors, max_steps=14, tolerance=1e-12)] == [10, 14]


def test_principal_components_are_scikit_learns(descriptors):
    found, expected = principal_components(descriptors, 2), PCA(2).fit(descriptors)
    np.testing.assert_allclose(np.abs(found.axes), np.abs(expected.components_), atol=1e-8)
    np.testing.assert_allclose(found.mean, expected.mean_)


def test_too_small_a_sample(descriptors):
    with pytest.raises(UserError, match=r"^the sample holds 3 descriptors, fewer than the 4 components"):
        fitted_further(descriptors[:3], None, **OPTIONS)
    with pytest.raises(
        UserError, match=r"^the sample holds 600 descriptors of 3 numbers, which do not have 5 principal"
    ):
        principal_components(descriptors, 5)
