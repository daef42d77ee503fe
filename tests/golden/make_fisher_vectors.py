"""Writes fisher_vectors.npz: scikit-image's Fisher vectors of a few descriptors, and the mixture that they are of.

Run it with scikit-image 0.26.0 and scikit-learn installed, in an environment of their own. What scikit-image returns is
kept as it is: gradients of weights, means and variances, plain and improved.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from skimage.feature import fisher_vector, learn_gmm

rng = np.random.default_rng(0)
centres = rng.normal(size=(5, 8))
sample = np.concatenate([centre + rng.normal(size=(200, 8)) * rng.uniform(0.2, 0.6, 8) for centre in centres])
mixture = learn_gmm(sample, n_modes=5, gm_args={"covariance_type": "diag", "random_state": 0})
descriptors = sample[rng.permutation(len(sample))[:60]]
np.savez(
    Path(__file__).with_name("fisher_vectors.npz"),
    descriptors=descriptors,
    weights=mixture.weights_,
    means=mixture.means_,
    variances=mixture.covariances_,
    plain=fisher_vector(descriptors, mixture),
    improved=fisher_vector(descriptors, mixture, improved=True),
    versions=[f"{name} {version(name)}" for name in ("scikit-image", "scikit-learn", "numpy")],
)
