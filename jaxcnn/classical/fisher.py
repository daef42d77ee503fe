"""Fisher vectors: by how much the descriptors of an image would move the parameters of a Gaussian mixture.

Perronnin, Sánchez and Mensink, "Improving the Fisher kernel for large-scale image classification", ECCV 2010; the
formulas are those of Sánchez, Perronnin, Mensink and Verbeek, "Image classification with the Fisher vector", IJCV 2013,
equations 16 to 18. The gradient with respect to the mixture's weights is left out, as it usually is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32

_EXACT = jax.lax.Precision.HIGHEST
"""The precision of the products: differences of nearly equal sums are taken of them."""


class Mixture(NamedTuple):
    """A mixture of Gaussians with diagonal covariances."""

    weights: Float32[Array, " components"]
    means: Float32[Array, "components dimensions"]
    variances: Float32[Array, "components dimensions"]


def posteriors(
    descriptors: Float32[Array, "points dimensions"], mixture: Mixture
) -> Float32[Array, "points components"]:
    """Returns the probability of each component given each descriptor."""
    precisions = 1 / mixture.variances
    squares = jnp.matmul(descriptors**2, precisions.T, precision=_EXACT)
    products = jnp.matmul(descriptors, (mixture.means * precisions).T, precision=_EXACT)
    constants = jnp.sum(mixture.means**2 * precisions + jnp.log(mixture.variances), axis=1)
    return jax.nn.softmax(jnp.log(mixture.weights)[None] + products - 0.5 * (squares + constants[None]), axis=1)


def fisher_vectors(
    descriptors: Float32[Array, "points dimensions"], cells: Bool[Array, "cells points"], mixture: Mixture
) -> Float32[Array, "cells {2*mixture.means.size}"]:
    """Returns the Fisher vector of the descriptors in each cell: the gradients of all means, then of all deviations.

    That of a cell without descriptors is zero.

    Args:
        descriptors: the descriptors of an image.
        cells: which descriptors count in which cell.
        mixture: the mixture.
    """
    counted = cells.astype(jnp.float32)
    # (cells, points, components)
    shares = counted[:, :, None] * posteriors(descriptors, mixture)[None]

    def sums(values: jax.Array) -> jax.Array:
        return jnp.einsum("cpk,pd->ckd", shares, values, precision=_EXACT)

    zeroth, first, second = shares.sum(1)[:, :, None], sums(descriptors), sums(descriptors**2)
    means, variances, weights = mixture.means[None], mixture.variances[None], mixture.weights[None, :, None]
    of_means = (first - zeroth * means) / jnp.sqrt(weights * variances)
    of_deviations = (second - 2 * first * means + zeroth * (means**2 - variances)) / (jnp.sqrt(2 * weights) * variances)
    gradients = jnp.concatenate([of_means.reshape(len(cells), -1), of_deviations.reshape(len(cells), -1)], axis=1)
    return gradients / jnp.maximum(counted.sum(1), 1)[:, None]


def improved(vectors: Float32[Array, "cells length"], power: float) -> Float32[Array, " cells*length"]:
    """Returns Fisher vectors, each raised to a power and normalized, in one vector of length 1 (or 0).

    Args:
        vectors: the Fisher vectors of an image's cells.
        power: the power that the absolute value of each element is raised to; 1 changes nothing.
    """
    raised = jnp.sign(vectors) * jnp.abs(vectors) ** power
    return normalized(normalized(raised).reshape(-1))


def normalized(vectors: Float32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Returns vectors along the last axis divided by their length; zeros stay zeros."""
    squares = jnp.sum(vectors**2, axis=-1, keepdims=True)
    return vectors / jnp.sqrt(jnp.where(squares > 0, squares, 1))
