"""One linear support vector machine a class, with hard negatives (arXiv:1311.2524, section 2.3, and the paper's code).

The boxes of a class's objects are its positives. Its negatives are regions that overlap each of them less than 0.3.
There are too many to learn from all: some are drawn by chance, then a pass over all regions adds those that are scored
above the margin, and the machine is fitted again. The paper does so within one pass; here each pass is whole, so that
all classes can be scored together and in any order.
"""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxcnn.config.detection import MachinesConfig
from jaxcnn.data.random import random_state
from jaxcnn.detection.matching import LabelledRegions
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.linear import slices

_LOG = logging.getLogger(__name__)
_MARGIN = -1.0
"""The score above which a negative has a loss, so that it is hard."""
ReadFeatures = Callable[[slice], np.ndarray]
"""A function from the rows of regions to their features, float32 (rows, values)."""
Arrays = Mapping[str, np.ndarray]


class Machines(NamedTuple):
    """A linear machine for each class."""

    weights: np.ndarray
    """The weights of the features as they are, float32 (values, classes)."""
    bias: np.ndarray
    """The biases, float32 (classes,); minus infinity for a class without objects."""

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Returns the margins, float32 (regions, classes), of features (regions, values); above 0 an object is seen."""
        return features @ self.weights + self.bias


class Mining(NamedTuple):
    """The machines after some passes, and what they are fitted to: all that a further pass needs."""

    machines: Machines
    negatives: tuple[np.ndarray, ...]
    """The indices of each class's negatives, sorted."""
    passes: int
    """The number of passes that were made."""
    finished: bool
    """Whether the last pass has found nothing new, or no further one is asked for."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns everything by name."""
        counts = np.array([len(each) for each in self.negatives], np.int64)
        joined = np.concatenate([np.zeros(0, np.int64), *self.negatives])
        numbers = np.array([self.passes, self.finished], np.int64)
        return {**self.machines._asdict(), "negatives": joined, "counts": counts, "numbers": numbers}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Mining":
        """Returns what `arrays` was called on."""
        ends = np.cumsum(arrays["counts"])
        negatives = tuple(np.split(arrays["negatives"], ends[:-1]))
        machines = Machines(arrays["weights"], arrays["bias"])
        return cls(machines, negatives, int(arrays["numbers"][0]), bool(arrays["numbers"][1]))


def mined(
    read: ReadFeatures,
    regions: LabelledRegions,
    config: MachinesConfig,
    class_names: Sequence[str],
    *,
    before: Mining | None = None,
    save: Callable[[Mining], None] = lambda mining: None,
    stop: Callable[[], bool] = lambda: False,
) -> Machines:
    """Fits the machines, from the start or from what an interrupted call has saved.

    Args:
        read: the features of the regions.
        regions: the regions that are learned from.
        config: the options.
        class_names: the names of the classes.
        before: what an interrupted call for the same regions has saved last.
        save: called after the first fit and after each pass.
        stop: called before each fit and each read.

    Raises:
        Interrupted: ``stop`` returned True.
    """
    if before is not None and before.finished:
        return before.machines
    factor = config.length / max(_mean_length(read, len(regions), stop), 1e-12)
    mining = before
    if mining is None:
        drawn = tuple(_drawn(regions, label, config) for label in range(len(class_names)))
        machines = _fitted(read, regions, drawn, factor, config, class_names, stop)
        mining = Mining(machines, drawn, 0, finished=config.passes == 0)
        save(mining)
    while not mining.finished:
        found = _hard(read, regions, mining, config, stop)
        added = [len(each) for each in found]
        _LOG.info("pass %d over all regions: %d hard negatives", mining.passes + 1, sum(added))
        if not any(added):
            mining = mining._replace(passes=mining.passes + 1, finished=True)
        else:
            both = zip(mining.negatives, found, strict=True)
            negatives = tuple(np.sort(np.concatenate(pair)) for pair in both)
            machines = _fitted(read, regions, negatives, factor, config, class_names, stop)
            passes = mining.passes + 1
            mining = Mining(machines, negatives, passes, finished=passes >= config.passes)
        save(mining)
    return mining.machines


def _mean_length(read: ReadFeatures, count: int, stop: Callable[[], bool]) -> float:
    total = 0.0
    for rows in slices(count):
        _check(stop)
        total += float(np.linalg.norm(read(rows).astype(np.float64), axis=1).sum())
    return total / max(count, 1)


def _drawn(regions: LabelledRegions, label: int, config: MachinesConfig) -> np.ndarray:
    found = np.flatnonzero(regions.negatives(label, config.max_overlap))
    if len(found) > config.negatives:
        found = np.sort(random_state(config.seed, 1, label).permutation(found)[: config.negatives])
    return found


def _hard(
    read: ReadFeatures, regions: LabelledRegions, mining: Mining, config: MachinesConfig, stop: Callable[[], bool]
) -> list[np.ndarray]:
    """Returns the indices of new hard negatives of each class, of many the hardest."""
    classes = len(mining.negatives)
    indices: list[list[np.ndarray]] = [[] for _ in range(classes)]
    margins: list[list[np.ndarray]] = [[] for _ in range(classes)]
    new = np.stack([regions.negatives(label, config.max_overlap) for label in range(classes)], axis=1)
    for label, known in enumerate(mining.negatives):
        new[known, label] = False
    for rows in slices(len(regions)):
        _check(stop)
        scores = mining.machines.scores(read(rows))
        for label in range(classes):
            hard = np.flatnonzero((scores[:, label] > _MARGIN) & new[rows, label])
            indices[label].append(hard + rows.start)
            margins[label].append(scores[hard, label])
    chosen = []
    for label in range(classes):
        found = np.concatenate([np.zeros(0, np.int64), *indices[label]])
        order = np.argsort(-np.concatenate([np.zeros(0, np.float32), *margins[label]]), kind="stable")
        chosen.append(np.sort(found[order[: config.hardest]]))
    return chosen


def _fitted(
    read: ReadFeatures,
    regions: LabelledRegions,
    negatives: Sequence[np.ndarray],
    factor: float,
    config: MachinesConfig,
    class_names: Sequence[str],
    stop: Callable[[], bool],
) -> Machines:
    fits = []
    for label, own in enumerate(negatives):
        _check(stop)
        positives = regions.positives(label)
        fits.append(_fit(read, positives, own, factor, config, class_names[label]))
    return Machines(np.stack([each[0] for each in fits], axis=1), np.array([each[1] for each in fits], np.float32))


def _fit(
    read: ReadFeatures,
    positives: np.ndarray,
    negatives: np.ndarray,
    factor: float,
    config: MachinesConfig,
    name: str,
) -> tuple[np.ndarray, float]:
    """Returns the weights of features as they are, float32 (values,), and the bias of one machine."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    values = read(slice(0, 0)).shape[1]
    if not len(positives) or not len(negatives):
        lacks = "no object" if not len(positives) else "no region that could be a negative"
        _LOG.info("the class %s has %s in the images that are learned from, so it is never answered", name, lacks)
        return np.zeros(values, np.float32), -np.inf
    features = factor * picked(read, np.concatenate([positives, negatives]))
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    machine = LinearSVC(
        C=config.regularization,
        loss="hinge",
        dual=True,
        class_weight={1: config.positive_weight},
        intercept_scaling=config.bias,
        max_iter=config.max_iterations,
        random_state=config.seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(features, labels)
    if np.max(machine.n_iter_) >= config.max_iterations:
        _LOG.info("the machine of the class %s has not converged: raise --machines.max-iterations", name)
    return (factor * machine.coef_[0]).astype(np.float32), float(machine.intercept_[0])


def picked(read: ReadFeatures, indices: np.ndarray) -> np.ndarray:
    """Returns the features of some regions in the order of the indices, float32 (indices, values).

    They are read in whole runs of rows, because regions that are next to each other are next to each other in the file.
    """
    order = np.argsort(indices, kind="stable")
    found = np.empty((len(indices), read(slice(0, 0)).shape[1]), np.float32)
    for start in range(0, len(order), _TOGETHER):
        part = order[start : start + _TOGETHER]
        wanted = indices[part]
        breaks = np.flatnonzero(np.diff(wanted) > _GAP) + 1
        for run in np.split(np.arange(len(wanted)), breaks):
            if len(run):
                first, last = int(wanted[run[0]]), int(wanted[run[-1]])
                found[part[run]] = read(slice(first, last + 1))[wanted[run] - first]
    return found


_TOGETHER = 1024
_GAP = 16
"""The number of rows between two that are wanted up to which it is cheaper to read them too."""


def _check(stop: Callable[[], bool]) -> None:
    if stop():
        raise Interrupted
