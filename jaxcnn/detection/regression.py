"""Ridge regression from a region's features to the box of the object that it shows (arXiv:1311.2524, appendix C)."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxcnn.config.detection import RegressionConfig
from jaxcnn.detection.boxes import moved, offsets
from jaxcnn.detection.machines import ReadFeatures, picked
from jaxcnn.detection.matching import LabelledRegions
from jaxcnn.evaluation.evaluator import Interrupted

_LOG = logging.getLogger(__name__)


class Regressors(NamedTuple):
    """A linear function of features for each class, which gives the offsets of a box."""

    weights: np.ndarray
    """The weights, float32 (classes, values, 4)."""
    bias: np.ndarray
    """The biases, float32 (classes, 4)."""

    def moved(self, features: np.ndarray, boxes: np.ndarray, label: int) -> np.ndarray:
        """Returns the boxes of regions as those of objects of a class, float32 (regions, 4).

        Args:
            features: the features of the regions, float32 (regions, values).
            boxes: the boxes of the regions, float32 (regions, 4).
            label: the class.
        """
        return moved(boxes, features @ self.weights[label] + self.bias[label])


def fit_regressors(
    read: ReadFeatures,
    regions: LabelledRegions,
    config: RegressionConfig,
    class_names: Sequence[str],
    length: float,
    stop: Callable[[], bool] = lambda: False,
) -> Regressors:
    """Fits the regressors. Of a class without regions to learn from, boxes stay as they are.

    Args:
        read: the features of the regions.
        regions: the regions that are learned from.
        config: the options.
        class_names: the names of the classes.
        length: the mean length that the features are scaled to for the fit, on which the regularization depends.
        stop: called before each fit.

    Raises:
        Interrupted: ``stop`` returned True.
    """
    from sklearn.linear_model import Ridge

    found = regions.examples(config.min_overlap)
    values = read(slice(0, 0)).shape[1]
    weights = np.zeros((len(class_names), values, 4), np.float32)
    bias = np.zeros((len(class_names), 4), np.float32)
    for label, name in enumerate(class_names):
        if stop():
            raise Interrupted
        pairs = found[(regions.label[found] == label) & ~regions.is_object[found]]
        if not len(pairs):
            _LOG.info("no proposal shows an object of the class %s well enough to learn its box from", name)
            continue
        features = picked(read, pairs).astype(np.float64)
        factor = length / max(float(np.linalg.norm(features, axis=1).mean()), 1e-12)
        ridge = Ridge(alpha=config.regularization, solver="cholesky")
        ridge.fit(factor * features, offsets(regions.boxes[pairs], regions.target[pairs]).astype(np.float64))
        weights[label], bias[label] = factor * ridge.coef_.T, ridge.intercept_
    return Regressors(weights, bias)
