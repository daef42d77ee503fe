"""What networks say of each image of a split: the average over its views, and over networks."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.config import Average
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluate import BATCHES_IN_FLIGHT, Result
from jaxcnn.evaluation.metrics import rank_of_label

_ROWS = 1 << 12
"""Of the scores that are looked at together, so that nothing else of their size is made."""

Batch = dict[str, np.ndarray]


def make_prediction_step(
    logits_of: Callable[[Any, jax.Array], jax.Array],
    views_of: Callable[[Any, Any], jax.Array],
    average: Average,
    at_once: int,
) -> Callable[[Any, Any, Any], jax.Array]:
    """Returns the jitted ``(variables, batch, arrays) -> scores``, float32 of shape (batch, classes).

    Probabilities are averaged as their logarithms, so that small ones keep their order; softmax of the scores is the
    average.

    Args:
        logits_of: from variables and uint8 images (batch, height, width, channels) to logits.
        views_of: from a batch and the split's arrays to uint8 (batch, views, height, width, channels).
        average: of what. Of one view ``scores`` leaves the logits as they are.
        at_once: views that the network takes together, if at all possible; a batch's are taken in as many turns.
    """

    @jax.jit
    def step(variables, batch, arrays):
        views = views_of(batch, arrays)
        images, count = views.shape[:2]
        together = max(n for n in range(1, count + 1) if count % n == 0 and (n == 1 or n * images <= at_once))

        def scores(part):
            logits = logits_of(variables, part.reshape(-1, *part.shape[2:])).reshape(images, together, -1)
            return logits if average == "scores" else jax.nn.log_softmax(logits)

        parts = jnp.moveaxis(views.reshape(images, -1, together, *views.shape[2:]), 1, 0)
        found = jax.lax.map(scores, parts) if len(parts) > 1 else scores(parts[0])[None]
        found = jnp.moveaxis(found, 0, 1).reshape(images, count, -1)
        return found.mean(1) if average == "scores" else jax.nn.logsumexp(found, axis=1) - np.log(count)

    return step


def run_step(
    step: Callable[[Any, Any, Any], jax.Array],
    variables: Any,
    batches: Iterable[Batch],
    arrays: Any,
    *,
    put: Callable[[Any], Any],
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yields each batch with its scores.

    Args:
        step: what `make_prediction_step` returned.
        variables: ``{"params": ..., "batch_stats": ...}``.
        batches: of the host.
        arrays: the split's images and labels where they live on the device, else None.
        put: places a host batch on the devices.
    """
    in_flight = collections.deque()
    for batch in batches:
        in_flight.append((batch, step(variables, put(batch), arrays)))
        if len(in_flight) > BATCHES_IN_FLIGHT:
            first, scores = in_flight.popleft()
            yield first, np.asarray(scores)
    yield from ((batch, np.asarray(scores)) for batch, scores in in_flight)


class Collector:
    """Puts the scores of batches in the split's order, and averages those of one image."""

    def __init__(self, size: int, average: Average) -> None:
        self._average = average
        self._labels = np.zeros(size, np.int32)
        self._counts = np.zeros(size, np.int32)
        self._scores: np.ndarray | None = None

    def add(self, index: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> None:
        """Takes scores (images, classes) of different images: those at these places of the split."""
        if self._scores is None:
            empty = 0.0 if self._average == "scores" else -np.inf
            self._scores = np.full((len(self._labels), scores.shape[1]), empty, np.float32)
        join = np.add if self._average == "scores" else np.logaddexp
        self._scores[index] = join(self._scores[index], scores)
        self._labels[index] = labels
        self._counts[index] += 1

    def predictions(self, times: int) -> "Predictions":
        """Returns the averages of images that were each added so many times.

        Raises:
            UserError: none was added.
            RuntimeError: some image was added more or fewer times, though not never.
        """
        known = self._counts > 0
        if not known.any():
            raise UserError("no image of the split can be read, so there is nothing to measure")
        if not (self._counts[known] == times).all():
            raise RuntimeError(f"not every image was counted {times} times")
        if times > 1:
            self._scores = self._scores / times if self._average == "scores" else self._scores - np.log(times)
        return Predictions(self._scores.astype(np.float32), self._labels, known)


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What one network, or the average of several, says of each image of a split, in its order."""

    scores: np.ndarray
    """(images, classes), float32; their softmax is the probabilities."""
    labels: np.ndarray
    """(images,), int32."""
    known: np.ndarray
    """(images,), bool: False where an image cannot be read, and nothing is said of it."""

    def ranks(self) -> np.ndarray:
        """Returns `rank_of_label` of each known image, int32."""
        scores, labels = self.scores[self.known], self.labels[self.known]
        parts = [rank_of_label(scores[rows], jnp.asarray(labels[rows])) for rows in _slices(len(labels))]
        return np.concatenate(parts)

    def with_valid_labels(self, valid: Sequence[Sequence[int]]) -> "Predictions":
        """Returns these with several right labels of an image: that of the highest score becomes its label.

        So one of the k best answers is right where any of the right labels is among them, and the cross-entropy is that
        of the most probable of them. Images without a right label are not known any more: they do not count
        (ImageNet-ReaL, arXiv:2006.07159).

        Args:
            valid: the right labels of each image, in the split's order.

        Raises:
            UserError: no image has any.
        """
        labels, known = self.labels.copy(), self.known & np.array([len(each) > 0 for each in valid], bool)
        if not known.any():
            raise UserError("no image has a valid label, so there is nothing to measure")
        for image in np.flatnonzero(known):
            candidates = np.unique(valid[image])
            scores = self.scores[image, candidates]
            labels[image] = candidates[np.argmax(np.where(np.isnan(scores), -np.inf, scores))]
        return dataclasses.replace(self, labels=labels, known=known)

    def top(self, k: int) -> np.ndarray:
        """Returns the k classes of the highest scores of each known image, best first, int32 (images, k).

        Raises:
            UserError: there are fewer than k classes, or some score is not a number.
        """
        scores = self.scores[self.known]
        if k > scores.shape[1]:
            raise UserError(f"{k} classes are wanted of each image, and there are {scores.shape[1]}")
        if wrong := np.isnan(scores).any(1).sum():
            raise UserError(f"the network's scores of {wrong} images are not numbers, so it names no class of them")
        orders = [np.argsort(-scores[rows], axis=1, kind="stable")[:, :k] for rows in _slices(len(scores))]
        return np.concatenate(orders).astype(np.int32)

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
    """Returns the average of several networks' probabilities, as GoogLeNet's and VGG's authors do.

    Raises:
        UserError: they are not of the same images and classes.
    """
    first = predictions[0]
    for other in predictions[1:]:
        if other.scores.shape != first.scores.shape or not np.array_equal(
            np.where(other.known, other.labels, -1), np.where(first.known, first.labels, -1)
        ):
            raise UserError("the networks were not measured on the same images, so they cannot be averaged")
    if len(predictions) == 1:
        return first
    # Row by row, so that only one more array of this size is made.
    scores = np.empty_like(first.scores)
    for rows in _slices(len(scores)):
        logs = [_log_softmax(each.scores[rows].astype(np.float64)) for each in predictions]
        scores[rows] = np.logaddexp.reduce(logs) - np.log(len(logs))
    return Predictions(scores, first.labels, first.known)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
