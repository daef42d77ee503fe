"""Cross-validation: which images are left out of which fit, and which candidate has the fewest errors."""

import logging
from collections.abc import Callable, MutableMapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted

_LOG = logging.getLogger(__name__)
_SHOWN = 5
"""The number of classes that a message names."""


class Trial(NamedTuple):
    """One fit of a cross-validation."""

    tested: int
    """The number of images that were left out of the fit, and answered."""
    right: int
    """The number of right answers among them."""


Trials = MutableMapping[tuple[float, int], Trial]
"""The fits that are done, by the candidate (a regularization, or a number of neighbours) and the fold."""


class Candidate(NamedTuple):
    """A row of the table of a cross-validation."""

    value: float
    """The regularization, or the number of neighbours."""
    error: float
    """The top-1 error over all folds, in percent."""


def deal(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deals images to folds, so that each fold has as many images of a class as any other, or one more.

    Args:
        labels: the labels, integers (images,).
        folds: the number of folds.
        seed: the seed of the order in which the images of a class are dealt.

    Returns:
        The fold of each image, int64 (images,); -1 for the one image of a class, which is never left out of a fit.
    """
    order = np.random.RandomState(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    _, counts = np.unique(labels[order], return_counts=True)
    alone = np.repeat(counts == 1, counts)
    found = np.full(len(labels), -1, np.int64)
    # The deal goes on from one class to the next where it stopped, so that the folds are equally large.
    found[order[~alone]] = np.arange((~alone).sum()) % folds
    return found


def cross_validate(
    answer: Callable[[np.ndarray, np.ndarray, float], np.ndarray],
    labels: np.ndarray,
    candidates: Sequence[float],
    *,
    folds: int,
    seed: int,
    class_names: Sequence[str],
    trials: Trials,
    stop: Callable[[], bool],
) -> tuple[Candidate, ...]:
    """Returns the error of each candidate over all folds.

    Args:
        answer: a function of the rows to fit, the rows to test and the candidate; it returns the answers for the
            latter, integers.
        labels: the labels of all rows, integers (images,).
        candidates: the candidates, ascending.
        folds: the number of folds.
        seed: the seed by which images are dealt to them.
        class_names: the names of the classes, for messages.
        trials: the fits that are done already; the others are added.
        stop: called before each fit.

    Raises:
        Interrupted: ``stop`` returned True.
        UserError: every class has one image.
    """
    fold_of = deal(labels, folds, seed)
    alone = [class_names[label] for label in np.unique(labels[fold_of < 0])]
    if (fold_of < 0).all():
        raise UserError(
            f"cross-validation leaves an image of a class out and fits the others, and each of the {len(alone)} "
            "classes has one image: give one candidate, as in --regularization 1, or more images"
        )
    if alone:
        named = ", ".join(map(repr, alone[:_SHOWN])) + (", ..." if len(alone) > _SHOWN else "")
        _LOG.info(
            "%s, so cross-validation always fits it and never tests it: %s",
            "1 class has one image" if len(alone) == 1 else f"{len(alone)} classes have one image each",
            named,
        )
    for candidate in candidates:
        for fold in range(folds):
            if (candidate, fold) in trials:
                continue
            if stop():
                raise Interrupted
            tested = np.flatnonzero(fold_of == fold)
            right = 0
            if len(tested):
                answers = answer(np.flatnonzero(fold_of != fold), tested, candidate)
                right = int((answers == labels[tested]).sum())
            trials[candidate, fold] = Trial(len(tested), right)
    return tabulate(trials, candidates, folds)


def tabulate(trials: Trials, candidates: Sequence[float], folds: int) -> tuple[Candidate, ...]:
    """Returns the error of each candidate over all folds, ascending; nothing where there is one candidate.

    Args:
        trials: the fits for all candidates and folds.
        candidates: the candidates, of which the same may come twice.
        folds: the number of folds.
    """
    ordered = sorted(set(candidates))
    rows = []
    for candidate in ordered if len(ordered) > 1 else ():
        tested, right = np.sum([trials[candidate, fold] for fold in range(folds)], axis=0)
        rows.append(Candidate(candidate, 100 * (1 - int(right) / int(tested))))
    return tuple(rows)
