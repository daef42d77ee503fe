"""The predictions of networks for each image of a split, averaged over its views and over networks."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from jaxcnn.config import Average
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.evaluation.metrics import rank_of_label
from jaxcnn.evaluation.result import Result

_ROWS = 1 << 12
"""The number of images whose scores are worked on together, so that no second array of all scores is made."""


class Collector:
    """Puts the scores of batches in the split's order, and averages the scores of an image that comes several times."""

    def __init__(self, size: int, average: Average) -> None:
        self._average = average
        self._labels = np.zeros(size, np.int32)
        self._counts = np.zeros(size, np.int32)
        self._scores: np.ndarray | None = None

    def add(
        self,
        index: Int[np.ndarray, " images"],
        labels: Int[np.ndarray, " images"],
        scores: Float[np.ndarray, "images classes"],
    ) -> None:
        """Adds the scores (images, classes) of different images, given their indices in the split."""
        if self._scores is None:
            empty = 0.0 if self._average == "scores" else -np.inf
            self._scores = np.full((len(self._labels), scores.shape[1]), empty, np.float32)
        join = np.add if self._average == "scores" else np.logaddexp
        self._scores[index] = join(self._scores[index], scores)
        self._labels[index] = labels
        self._counts[index] += 1

    def predictions(self, times: int) -> "Predictions":
        """Returns the averages over the times that each image was added.

        Args:
            times: how often each image must have been added; images that were never added are not known.

        Raises:
            RuntimeError: some image was added more or less often.
        """
        known = self._counts > 0
        if not (self._counts[known] == times).all():
            raise RuntimeError(f"not every image was counted {times} times")
        scores = np.zeros((len(known), 1), np.float32) if self._scores is None else self._scores
        if times > 1:
            scores = scores / times if self._average == "scores" else scores - np.log(times)
        return Predictions(scores.astype(np.float32), self._labels, known)


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """The scores that one network, or the average of several, gives each image of a split, in the split's order."""

    scores: Float32[np.ndarray, "images classes"]
    """The scores, float32 (images, classes); their softmax is the probabilities."""
    labels: Int32[np.ndarray, " images"]
    """The labels, int32 (images,)."""
    known: Bool[np.ndarray, " images"]
    """Whether each image has scores, bool (images,); False where it cannot be read."""

    @own_settings()
    def ranks(self) -> Int32[np.ndarray, " known"]:
        """Returns `rank_of_label` of each known image, int32."""
        scores, labels = self.scores[self.known], self.labels[self.known]
        parts = [rank_of_label(scores[rows], jnp.asarray(labels[rows])) for rows in _slices(len(labels))]
        return np.concatenate(parts)

    def with_valid_labels(self, valid: Sequence[Sequence[int]]) -> "Predictions":
        """Returns these predictions for images that may have several right labels (ImageNet-ReaL, arXiv:2006.07159).

        The right label with the highest score becomes the image's label. So the k best answers count as right if any of
        the right labels is among them, and the cross-entropy is that of the most probable right label. Images without a
        right label are no longer known, and do not count.

        Args:
            valid: the right labels of each image, in the split's order.

        Raises:
            UserError: no image has a right label.
        """
        labels, known = self.labels.copy(), self.known & np.array([len(each) > 0 for each in valid], bool)
        if not known.any():
            raise UserError("no image has a valid label, so there is nothing to measure")
        for image in np.flatnonzero(known).tolist():
            candidates = np.unique(valid[image])
            scores = self.scores[image, candidates]
            labels[image] = candidates[np.argmax(np.where(np.isnan(scores), -np.inf, scores))]
        return dataclasses.replace(self, labels=labels, known=known)

    def probabilities(self) -> Float32[np.ndarray, "known classes"]:
        """Returns the softmax of the scores of each known image, float32 (images, classes)."""
        return np.exp(_log_softmax(self.scores[self.known].astype(np.float64))).astype(np.float32)

    def top(self, k: int) -> Int32[np.ndarray, "known {k}"]:
        """Returns the k classes of the highest scores of each known image, best first, int32 (images, k).

        Raises:
            UserError: there are fewer than k classes, or some score is not a number.
        """
        scores = self.scores[self.known]
        if k > scores.shape[1]:
            raise UserError(f"the {k} best classes are asked for, and there are only {scores.shape[1]}: ask for fewer")
        if wrong := np.isnan(scores).any(1).sum():
            raise UserError(
                f"the network's scores of {wrong} images are not numbers, so it names no class of them: its training "
                "has diverged, or its weights are damaged"
            )
        orders = [np.argsort(-scores[rows], axis=1, kind="stable")[:, :k] for rows in _slices(len(scores))]
        return np.concatenate(orders).astype(np.int32)

    def confidences(self, classes: Int32[np.ndarray, "known k"]) -> Float32[np.ndarray, "known k"]:
        """Returns the probabilities of some classes of each known image, such as those of `top`.

        Args:
            classes: the classes of each image, int32 (images, k).

        Returns:
            float32 (images, k).
        """
        scores = self.scores[self.known]
        parts = [
            np.take_along_axis(_log_softmax(scores[rows].astype(np.float64)), classes[rows], axis=1)
            for rows in _slices(len(scores))
        ]
        return np.exp(np.concatenate(parts)).astype(np.float32)

    def result(self, top_k: tuple[int, ...]) -> Result:
        """Returns the errors, and the mean cross-entropy of the averaged probabilities."""
        ranks, scores, labels = self.ranks(), self.scores[self.known], self.labels[self.known]
        losses = []
        for rows in _slices(len(labels)):
            part = scores[rows].astype(np.float64)
            part -= part.max(1, keepdims=True)
            losses.append(np.log(np.exp(part).sum(1)) - part[np.arange(len(part)), labels[rows]])
        errors = {k: 100 * int((ranks >= k).sum()) / len(ranks) for k in top_k}
        return Result(len(ranks), float(np.concatenate(losses).mean()), errors)


def _slices(size: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, size, _ROWS)]


def average_networks(predictions: Sequence[Predictions]) -> Predictions:
    """Returns the average of several networks' probabilities, as GoogLeNet's and VGG's authors compute it.

    Raises:
        UserError: the predictions are not of the same images and classes.
    """
    first = predictions[0]
    for other in predictions[1:]:
        if other.scores.shape != first.scores.shape or not np.array_equal(
            np.where(other.known, other.labels, -1), np.where(first.known, first.labels, -1)
        ):
            raise UserError("the networks were not measured on the same images, so they cannot be averaged")
    if len(predictions) == 1:
        return first
    # The average is taken over a slice of images at a time, so that only one more array of this size is made.
    scores = np.empty_like(first.scores)
    for rows in _slices(len(scores)):
        logs = [_log_softmax(each.scores[rows].astype(np.float64)) for each in predictions]
        scores[rows] = np.logaddexp.reduce(np.stack(logs), keepdims=True)[0] - np.log(len(logs))
    return Predictions(scores, first.labels, first.known)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
