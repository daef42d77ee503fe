"""Linear classifiers by scikit-learn, on features of one scale."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg

from jaxcnn.config.features import ProbeConfig

ROWS = 1 << 12
"""The number of images whose features are worked on together, so that few copies are made of them."""
_COLUMNS = 1 << 12
_ROTATED = 1 << 13
"""The most images for which many features are rotated into as many as there are images: beyond, it takes too long."""
_SMALL = 1 << 29
"""The number of multiplications in a product of features and weights below which one thread computes it."""


class Scaling(NamedTuple):
    """The scaling of features: ``(features - mean) * factor``, after each image's are divided by their length."""

    unit_length: bool
    """Whether the features of each image are divided by their length first; an image without any stays 0."""
    mean: np.ndarray
    """The means, float32 (values,)."""
    factor: np.ndarray
    """The factors, float32 (values,)."""

    @classmethod
    def of(cls, features: np.ndarray, config: ProbeConfig) -> "Scaling":
        """Returns the scaling that the options ask for, with the means and deviations of these features."""
        values = features.shape[1]
        kind = config.scaling
        if kind == "auto":
            kind = "l2" if config.kind == "knn" else "standard"
        if kind != "standard":
            return cls(kind == "l2", np.zeros(values, np.float32), np.ones(values, np.float32))
        total, squares = np.zeros(values), np.zeros(values)
        for rows in slices(len(features)):
            total += features[rows].sum(0, dtype=np.float64)
        mean = total / len(features)
        for rows in slices(len(features)):
            squares += np.square(features[rows] - mean).sum(0)
        deviation = np.sqrt(squares / len(features))
        # A feature that is the same for all images says nothing. What rounding leaves of it must not be made large.
        tells = deviation > 1e-6 * np.abs(mean)
        factor = np.divide(1, deviation * np.sqrt(values), out=np.zeros(values), where=tells & (deviation > 0))
        return cls(False, mean.astype(np.float32), factor.astype(np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns scaled features, float32 (images, values)."""
        scaled = np.empty(features.shape, np.float32)
        for rows in slices(len(features)):
            part = features[rows].astype(np.float32)
            if self.unit_length:
                length = np.sqrt(np.square(part, dtype=np.float64).sum(1, keepdims=True))
                part = np.divide(part, length, out=np.zeros_like(part), where=length > 0, casting="same_kind")
            scaled[rows] = (part - self.mean) * self.factor
        return scaled


def slices(size: int) -> list[slice]:
    """Returns the slices of `ROWS` rows, the last perhaps of fewer, that make up so many rows."""
    return [slice(start, min(start + ROWS, size)) for start in range(0, size, ROWS)]


def rotated(features: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Returns features with the same inner products that are no more than there are images, where that saves time.

    A linear classifier whose weights are drawn to 0 depends on its features through their inner products alone: its
    weights are a sum of the images' features. Fisher vectors of 5,000 images have tens of thousands of values, and
    5,000 say the same.

    Args:
        features: the features, float32 (images, values).

    Returns:
        The new features, float32 (images, new values), and the function from weights for these (new values, classes) to
        those for the original ones (values, classes), float64.
    """
    images, values = features.shape
    if images > _ROTATED or values < 2 * images:
        return features, lambda weights: weights
    products = np.zeros((images, images))
    for start in range(0, values, _COLUMNS):
        part = features[:, start : start + _COLUMNS].astype(np.float64)
        products += part @ part.T
    squares, vectors = scipy.linalg.eigh(products)
    kept = squares > squares[-1] * images * np.finfo(np.float32).eps ** 2
    lengths, vectors = np.sqrt(squares[kept]), vectors[:, kept]
    return (vectors * lengths).astype(np.float32), lambda weights: features.T @ (vectors @ (weights / lengths[:, None]))


def fit_linear(
    features: np.ndarray, labels: np.ndarray, config: ProbeConfig, regularization: float, num_classes: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Fits a linear classifier.

    Args:
        features: scaled features, float32 (images, values).
        labels: the labels, integers (images,) of two classes at least.
        config: the kind, the most iterations, and the seed.
        regularization: the factor of the loss.
        num_classes: the number of classes; some may have no image.

    Returns:
        The weights, float64 (values, classes); the biases, float64 (classes,), minus infinity for a class without an
        image; and whether the fit has converged.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC
    from threadpoolctl import threadpool_limits

    if config.kind == "svm":
        model = LinearSVC(C=regularization, max_iter=config.max_iterations, random_state=config.seed)
    else:
        model = LogisticRegression(C=regularization, max_iter=config.max_iterations)
    # Threads that wait for each other take longer for small products than one that computes them.
    threads = 1 if features.size * num_classes < _SMALL else None
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    coefficients, intercept = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if len(coefficients) == 1:
        # scikit-learn has one score for two classes: a margin, or a difference of logits.
        shares = np.array([-1.0, 1.0]) if config.kind == "svm" else np.array([0.0, 1.0])
        coefficients, intercept = shares[:, None] * coefficients, shares * intercept
    weights = np.zeros((features.shape[1], num_classes))
    bias = np.full(num_classes, -np.inf)
    weights[:, model.classes_], bias[model.classes_] = coefficients.T, intercept
    return weights, bias, bool(np.max(model.n_iter_) < config.max_iterations)
