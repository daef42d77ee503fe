"""Classifiers on features: linear ones whose regularization is cross-validated, and nearest neighbours.

A fit is a function of the features, the labels and the options, so one that goes on from the trials of an interrupted
one ends as if it had never been interrupted.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from jaxcnn.config import ConfigError
from jaxcnn.config.features import ProbeConfig
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.features.folds import Candidate, Trials, cross_validate
from jaxcnn.features.linear import Scaling, fit_linear, rotated, slices

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A classifier of features that has been fitted."""

    scaling: Scaling
    num_classes: int
    chosen: float
    """The regularization, or the number of neighbours, that was chosen."""
    table: tuple[Candidate, ...]
    """The errors of all candidates in cross-validation; empty where there was nothing to choose."""

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Returns the score of each class, float32 (images, classes), for features (images, values) as they were given.

        Their softmax is what the probe holds for probabilities; of support vector machines the scores are margins, and
        only their order tells. A class without an image never comes before one with images.

        Args:
            features: the features, float32 (images, values).

        Raises:
            UserError: the images have another number of values than those that were fitted.
        """
        values = len(self.scaling.mean)
        if features.ndim != 2 or features.shape[1] != values:
            raise UserError(
                f"the probe was fitted to {values} features of an image, and these are of shape {features.shape}: give "
                "features of the same layer, pooled alike"
            )
        parts = [self._scores(self.scaling(features[rows])) for rows in slices(len(features))]
        return np.concatenate([np.zeros((0, self.num_classes), np.float32), *parts])

    def _scores(self, scaled: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns everything that the scores depend on, by name."""
        own = {name: getattr(self, name) for name in self.stored}
        scaling = {name: np.asarray(value) for name, value in self.scaling._asdict().items()}
        return own | scaling | {"num_classes": np.array(self.num_classes), "chosen": np.array(self.chosen)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], table: Sequence[Candidate] = ()) -> Self:
        """Returns the probe of which `arrays` returned these.

        Args:
            arrays: the arrays.
            table: the errors of all candidates in cross-validation.
        """
        scaling = Scaling(bool(arrays["unit_length"]), arrays["mean"], arrays["factor"])
        own = {name: arrays[name] for name in cls.stored}
        return cls(scaling, int(arrays["num_classes"]), float(arrays["chosen"]), tuple(table), **own)

    stored: ClassVar[tuple[str, ...]] = ()
    """The names of the arrays of this kind of probe."""


@dataclasses.dataclass(frozen=True, eq=False)
class LinearProbe(Probe):
    """A linear classifier."""

    weights: np.ndarray
    """The weights of scaled features, float32 (values, classes)."""
    bias: np.ndarray
    """The biases, float32 (classes,); minus infinity for a class without an image."""
    stored = ("weights", "bias")

    def _scores(self, scaled: np.ndarray) -> np.ndarray:
        return scaled @ self.weights + self.bias


@dataclasses.dataclass(frozen=True, eq=False)
class NeighboursProbe(Probe):
    """The classes of the nearest images: nearest by the Euclidean distance of scaled features.

    Every class has a small part of a neighbour more than it has, so that no probability is 0. Of two classes with as
    many neighbours, the one whose neighbours are nearer comes first.
    """

    features: np.ndarray
    """The scaled features of the images that were fitted, float32 (images, values)."""
    labels: np.ndarray
    """Their labels, int32 (images,)."""
    stored = ("features", "labels")

    def _scores(self, scaled: np.ndarray) -> np.ndarray:
        from sklearn.neighbors import NearestNeighbors

        count = int(self.chosen)
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(self.features)
        near = self.labels[search.kneighbors(scaled, return_distance=False)]
        # A nearer neighbour counts for more, by less than one neighbour in all.
        votes = 1 + (count - np.arange(count)) / (count * (count + 1))
        shares = np.full((len(near), self.num_classes), 1 / self.num_classes)
        np.add.at(shares, (np.arange(len(near))[:, None], near), votes)
        return np.log(shares / shares.sum(1, keepdims=True)).astype(np.float32)


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    config: ProbeConfig,
    *,
    class_names: Sequence[str] | None = None,
    trials: Trials | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Probe:
    """Fits a classifier; cross-validation chooses its regularization, or the number of neighbours.

    Images are dealt to the folds by class and by the seed. The one image of a class is always fitted and never tested,
    and a line of the log names such classes. Of candidates with the fewest errors the smallest is taken: the strongest
    regularization, or the fewest neighbours. Features are scaled by the mean and the deviation of all images, which
    depend on no label.

    Args:
        features: the features, float32 (images, values).
        labels: the labels, integers (images,).
        config: the options.
        class_names: the names of all classes, of which some may have no image; by default the numbers up to the last
            label.
        trials: the fits of cross-validation that an interrupted call has done for the same arguments; this call adds
            its own.
        stop: called before each fit; the call ends where it returns True.

    Raises:
        Interrupted: ``stop`` returned True.
        UserError: there are no images of two classes, some feature is not a finite number, there are fewer images than
            neighbours, or there is something to choose and every class has one image.
    """
    labels = np.asarray(labels, np.int64)
    names = tuple(class_names or map(str, range(int(labels.max(initial=-1)) + 1)))
    _check(features, labels, names)
    candidates = sorted(set(map(float, config.neighbours if config.kind == "knn" else config.regularization)))
    if config.kind == "knn":
        _check_neighbours(int(candidates[-1]), len(labels), config.folds if len(candidates) > 1 else None)
    scaling = Scaling.of(features, config)
    scaled, own_weights = scaling(features), _same
    if config.kind != "knn":
        scaled, own_weights = rotated(scaled)
    unfinished: list[float] = []

    def fitted(rows: np.ndarray, value: float) -> Probe:
        if config.kind == "knn":
            return NeighboursProbe(scaling, len(names), value, (), scaled[rows], labels[rows].astype(np.int32))
        weights, bias, converged = fit_linear(scaled[rows], labels[rows], config, value, len(names))
        if not converged:
            unfinished.append(value)
        return LinearProbe(scaling, len(names), value, (), weights.astype(np.float32), bias.astype(np.float32))

    def answer(rows: np.ndarray, tested: np.ndarray, value: float) -> np.ndarray:
        return fitted(rows, value)._scores(scaled[tested]).argmax(1)

    table: tuple[Candidate, ...] = ()
    if len(candidates) > 1:
        table = cross_validate(
            answer,
            labels,
            candidates,
            folds=config.folds,
            seed=config.seed,
            class_names=names,
            trials={} if trials is None else trials,
            stop=stop,
        )
    if stop():
        raise Interrupted
    chosen = min(table, key=lambda row: row.error).value if table else candidates[0]
    unfinished.clear()
    found = dataclasses.replace(fitted(np.arange(len(labels)), chosen), table=table)
    if unfinished:
        _LOG.info(
            "the fit of the %s has not converged in %d iterations: raise --max-iterations, or give a smaller "
            "--regularization than %g",
            *(config.kind, config.max_iterations, chosen),
        )
    if isinstance(found, LinearProbe):
        found = dataclasses.replace(found, weights=own_weights(found.weights.astype(np.float64)).astype(np.float32))
    return found


def predictions(scores: np.ndarray, labels: np.ndarray, known: np.ndarray | None = None) -> Predictions:
    """Returns scores as predictions, which give a `Result`, intervals and details as those of a network do.

    Args:
        scores: the scores, (images, classes).
        labels: the labels, integers (images,).
        known: whether each image could be read, bool (images,); by default all could.
    """
    known = np.ones(len(labels), bool) if known is None else known
    return Predictions(scores.astype(np.float32), np.where(known, labels, 0).astype(np.int32), known)


def _same(weights: np.ndarray) -> np.ndarray:
    return weights


def _check(features: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
    if features.ndim != 2 or len(features) != len(labels):
        raise UserError(
            f"features of shape {features.shape} do not fit {len(labels)} labels: give (images, values), a row for each"
        )
    there = np.unique(labels)
    if len(there) < 2:
        said = f"all {len(labels)} images are of the class {names[there[0]]!r}" if len(there) else "there are no images"
        raise UserError(f"{said}, and a probe tells classes apart: give images of two classes at least")
    if there[-1] >= len(names) or there[0] < 0:
        raise UserError(f"there is a label {there[-1]}, and names of {len(names)} classes: give the names of all")
    for rows in slices(len(features)):
        wrong = np.flatnonzero(~np.isfinite(features[rows]).all(1))
        if len(wrong):
            raise UserError(
                f"a feature of image {rows.start + wrong[0]} is not a finite number: look at the weights of the "
                "network, or take another layer"
            )


def _check_neighbours(most: int, images: int, folds: int | None) -> None:
    fitted = images if folds is None else images - -(-images // folds)
    if most > fitted:
        left = "" if folds is None else f", of which cross-validation fits {fitted}"
        raise ConfigError(f"neighbours {most} cannot be taken of {images} images{left}: give at most {fitted}")
