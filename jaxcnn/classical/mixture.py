"""The Gaussian mixture of Fisher vectors, and the principal components that come before it, by scikit-learn.

Everything is computed in float64 by one thread: the threads of k-means add up what they have found in the order in
which they end, and the mixture must be the same bits whenever it is fitted. The fit goes on from any of its pieces.
"""

import warnings
from typing import NamedTuple

import numpy as np
import threadpoolctl

from jaxcnn.errors import UserError

_STEPS_A_PIECE = 10
"""The number of steps of expectation and maximization in a piece."""


class Components(NamedTuple):
    """Principal components."""

    mean: np.ndarray
    """The mean of the descriptors, float64 (dimensions,)."""
    axes: np.ndarray
    """The axes of the largest variance, float64 (components, dimensions)."""


class Fit(NamedTuple):
    """A mixture of Gaussians with diagonal covariances that is being fitted, all float64."""

    weights: np.ndarray
    """The weight of each Gaussian, (components,)."""
    means: np.ndarray
    """The means, (components, dimensions)."""
    precisions: np.ndarray
    """The reciprocals of the variances, (components, dimensions)."""
    log_likelihood: float
    """The mean log-likelihood of a descriptor in nats."""
    steps: int
    """The number of steps so far."""
    done: bool
    """Whether the fit has converged, or has come to its last step."""


def principal_components(descriptors: np.ndarray, count: int) -> Components:
    """Returns the principal components of descriptors.

    Args:
        descriptors: float64 (points, dimensions).
        count: the number of components.

    Raises:
        UserError: there are fewer descriptors or dimensions than components.
    """
    from sklearn.decomposition import PCA

    if min(descriptors.shape) < count:
        raise UserError(
            f"the sample holds {descriptors.shape[0]} descriptors of {descriptors.shape[1]} numbers, which do not have "
            f"{count} principal components: set pca lower, or sample more"
        )
    with threadpoolctl.threadpool_limits(1):
        fitted = PCA(count, svd_solver="covariance_eigh").fit(descriptors)
    return Components(fitted.mean_, fitted.components_)


def fitted_further(
    descriptors: np.ndarray,
    before: Fit | None,
    *,
    components: int,
    reg_covar: float,
    tolerance: float,
    max_steps: int,
    seed: int,
) -> Fit:
    """Returns the mixture after one more piece of its fit; the first piece begins with k-means.

    Args:
        descriptors: float64 (points, dimensions).
        before: the mixture after the pieces before; None for the first.
        components: the number of Gaussians.
        reg_covar: what is added to each variance.
        tolerance: the gain of the mean log-likelihood in a step below which the fit has converged, in nats.
        max_steps: the number of steps after which the fit ends even so.
        seed: the seed of k-means.

    Raises:
        UserError: there are fewer descriptors than Gaussians.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if len(descriptors) < components:
        raise UserError(
            f"the sample holds {len(descriptors)} descriptors, fewer than the {components} components of the mixture: "
            "set components lower, or sample more"
        )
    steps = min(_STEPS_A_PIECE, max_steps - (before.steps if before else 0))
    mixture = GaussianMixture(
        components,
        covariance_type="diag",
        reg_covar=reg_covar,
        tol=tolerance,
        max_iter=steps,
        weights_init=before.weights if before else None,
        means_init=before.means if before else None,
        precisions_init=before.precisions if before else None,
        random_state=seed,
    )
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a piece need not converge
        mixture.fit(descriptors)
    done_steps = (before.steps if before else 0) + mixture.n_iter_
    return Fit(
        np.asarray(mixture.weights_),
        np.asarray(mixture.means_),
        np.asarray(mixture.precisions_),
        float(mixture.lower_bound_),
        done_steps,
        bool(mixture.converged_) or done_steps >= max_steps,
    )
