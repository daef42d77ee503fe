"""Probes against scikit-learn by hand, and what becomes of odd features, labels and interruptions."""

import logging

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from jaxcnn.config import ConfigError
from jaxcnn.config.features import ProbeConfig
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.folds import deal
from jaxcnn.features.probes import LinearProbe, NeighboursProbe, fit, predictions

GRID = (0.03, 0.3, 3.0)


def blobs(images=120, values=6, classes=4, seed=0, spread=1.3):
    """Features around a centre for each class, each value with a mean and a deviation of its own."""
    random = np.random.RandomState(seed)
    centres = np.random.RandomState(99).normal(size=(classes, values))
    labels = np.arange(images) % classes
    features = centres[labels] + spread * random.normal(size=(images, values))
    return (features * np.arange(1, values + 1) + 7).astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize("kind", ["svm", "softmax"])
def test_a_linear_probe_is_what_scikit_learn_fits_and_chooses(kind):
    (features, labels), (unseen, _) = blobs(), blobs(40, seed=1)
    config = ProbeConfig(kind=kind, regularization=GRID, folds=3, seed=5, max_iterations=5000)
    probe = fit(features, labels, config)
    mean, deviation = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)

    def scaled(x):
        return (x - mean) / deviation / np.sqrt(features.shape[1])

    model = LinearSVC(max_iter=5000, random_state=5) if kind == "svm" else LogisticRegression(max_iter=5000)
    search = GridSearchCV(model, {"C": GRID}, cv=PredefinedSplit(deal(labels, 3, 5))).fit(scaled(features), labels)
    assert probe.chosen == search.best_params_["C"]
    right = [100 - row.error for row in probe.table]
    # Its means are over folds, which are equally large here.
    np.testing.assert_allclose(right, 100 * search.cv_results_["mean_test_score"], atol=1e-6)
    np.testing.assert_allclose(probe.scores(unseen), search.decision_function(scaled(unseen)), rtol=2e-3, atol=2e-3)


def test_the_nearest_neighbours_are_those_of_scikit_learn():
    (features, labels), (unseen, truth) = blobs(), blobs(40, seed=1)
    config = ProbeConfig(kind="knn", scaling="none", neighbours=(5,))
    scores = fit(features, labels, config).scores(unseen)
    share = KNeighborsClassifier(5, algorithm="brute").fit(features, labels).predict_proba(unseen)
    # The more neighbours, the higher the score, and ties are broken.
    for row, expected in zip(scores, share, strict=True):
        assert (np.diff(row[np.lexsort((row, expected))]) >= 0).all()
        assert len(set(row[expected > 0])) == (expected > 0).sum()
    found = predictions(scores, truth)
    np.testing.assert_allclose(found.probabilities().sum(1), 1, rtol=1e-6)
    assert found.result((1,)).errors[1] < 50


def test_neighbours_on_the_unit_sphere_and_their_number_by_cross_validation():
    features, labels = blobs()
    probe = fit(features, labels, ProbeConfig(kind="knn", neighbours=(1, 3, 9), folds=3))
    np.testing.assert_allclose(np.square(probe.features).sum(1), 1, rtol=1e-5)
    assert [row.value for row in probe.table] == [1, 3, 9]
    assert probe.chosen == min(probe.table, key=lambda row: row.error).value
    np.testing.assert_array_equal(probe.scores(features), probe.scores(3 * features))


@pytest.mark.parametrize("kind", ["svm", "softmax"])
def test_more_values_than_images_change_nothing_but_the_time(kind):
    """They are rotated; twice the images at half the weight are not, and have the same solution."""
    features, labels = blobs(40, values=90)
    unseen, _ = blobs(20, values=90, seed=1)
    once = ProbeConfig(kind=kind, regularization=(4.0,), max_iterations=100_000)
    twice = ProbeConfig(kind=kind, regularization=(2.0,), max_iterations=100_000)
    expected = fit(np.concatenate([features] * 2), np.concatenate([labels] * 2), twice)
    assert expected.weights.shape == (90, 4)
    np.testing.assert_allclose(
        fit(features, labels, once).scores(unseen), expected.scores(unseen), rtol=5e-3, atol=5e-3
    )


def test_two_classes_and_classes_without_images():
    features, labels = blobs(classes=2)
    for kind in ("svm", "softmax", "knn"):
        config = ProbeConfig(kind=kind, regularization=(1.0,))
        two = fit(features, labels, config).scores(features)
        assert (two.argmax(1) == labels).mean() > 0.7
        names = ("none", "first", "also none", "second")
        four = fit(features, 2 * labels + 1, config, class_names=names).scores(features)
        np.testing.assert_array_equal(four[:, [1, 3]].argmax(1), two.argmax(1))
        assert (four[:, [0, 2]] < four[:, [1, 3]].max(1, keepdims=True)).all()
        result = predictions(four, 2 * labels + 1).result((1, 2))
        assert result.errors[2] == 0 if kind != "knn" else result.errors[2] < 50
    with_softmax = fit(features, labels, ProbeConfig(kind="softmax", regularization=(1.0,)))
    assert predictions(with_softmax.scores(features), labels).result((1,)).loss < np.log(2)


def test_folds_are_dealt_by_class_and_seed():
    labels = np.array([3] * 10 + [1] * 7 + [0] + [5] * 2)
    fold = deal(labels, 4, seed=1)
    assert fold[17] == -1
    assert np.bincount(fold[fold >= 0]).tolist() == [5, 5, 5, 4]
    for label in (1, 3, 5):
        counts = np.bincount(fold[labels == label], minlength=4)
        assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(fold, deal(labels, 4, seed=1))
    assert (fold != deal(labels, 4, seed=2)).any()


def test_a_class_with_one_image_is_fitted_and_never_tested(caplog):
    features, labels = blobs(classes=3)
    features = np.concatenate([features, np.full((1, 6), 40, np.float32)])
    labels = np.append(labels, 3)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        probe = fit(features, labels, ProbeConfig(regularization=GRID), class_names=("a", "b", "c", "lone\n"))
    assert "1 class has one image, so cross-validation always fits it and never tests it: 'lone\\n'" in caplog.text
    assert probe.scores(features)[-1].argmax() == 3
    alone = np.arange(4)
    with pytest.raises(UserError, match=r"each of the 4 classes has one image: give one candidate, as in --regular"):
        fit(features[:4], alone, ProbeConfig(regularization=GRID))
    assert fit(features[:4], alone, ProbeConfig(regularization=(1.0,))).num_classes == 4


@pytest.mark.parametrize("kind", ["svm", "softmax", "knn"])
def test_an_interrupted_fit_goes_on_and_ends_in_the_same_bits(kind):
    features, labels = blobs()
    config = ProbeConfig(kind=kind, regularization=GRID, neighbours=(1, 3, 5), folds=3)
    expected, trials, sittings = fit(features, labels, config), {}, 0
    while True:
        sittings += 1
        calls = iter(range(100))
        try:
            found = fit(features, labels, config, trials=trials, stop=lambda calls=calls: next(calls) == 4)
        except Interrupted:
            continue
        break
    assert sittings == 3
    assert len(trials) == 9
    assert found.table == expected.table
    for name, array in expected.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)
    kind_of_probe = NeighboursProbe if kind == "knn" else LinearProbe
    again = kind_of_probe.from_arrays(expected.arrays(), expected.table)
    np.testing.assert_array_equal(again.scores(features), expected.scores(features))


def test_features_that_are_all_the_same_say_nothing():
    features, labels = blobs()
    constant = np.concatenate([features, np.full((len(features), 2), 0.1, np.float32)], axis=1)
    config = ProbeConfig(regularization=(1.0,))
    probe = fit(constant, labels, config)
    assert (probe.scaling.factor[-2:] == 0).all()
    assert (probe.scores(constant).argmax(1) == fit(features, labels, config).scores(features).argmax(1)).mean() > 0.95


def test_what_cannot_be_fitted_is_said_in_a_sentence(caplog):
    features, labels = blobs()
    config = ProbeConfig(regularization=(1.0,))
    broken = features.copy()
    broken[7, 2] = np.nan
    for arguments, sentence in (
        ((broken, labels, config), "a feature of image 7 is not a finite number: look at the weights"),
        ((features, 0 * labels, config), "all 120 images are of the class '0', and a probe tells classes apart: give"),
        ((features[:0], labels[:0], config), "there are no images, and a probe tells classes apart"),
        ((features[:5], labels, config), r"features of shape \(5, 6\) do not fit 120 labels: give"),
        (
            (features[:3], labels[:3], ProbeConfig(kind="knn")),
            "neighbours 5 cannot be taken of 3 images: give at most 3",
        ),
        (
            (features[:8], labels[:8], ProbeConfig(kind="knn", neighbours=(1, 7))),
            "neighbours 7 cannot be taken of 8 images, of which cross-validation fits 6: give at most 6",
        ),
    ):
        with pytest.raises(UserError, match=sentence):
            fit(*arguments)
    with pytest.raises(UserError, match="there is a label 3, and names of 2 classes: give the names of all"):
        fit(features, labels, config, class_names=("a", "b"))
    with pytest.raises(
        UserError, match=r"the probe was fitted to 6 features of an image, and these are of shape \(120,"
    ):
        fit(features, labels, config).scores(features[:, :5])
    with pytest.raises(ConfigError, match=r"regularization.0 must be greater than 0, not 0.0"):
        ProbeConfig(regularization=(0.0,))
    with caplog.at_level(logging.INFO, "jaxcnn"):
        fit(features, labels, ProbeConfig(kind="softmax", regularization=(100.0,), max_iterations=2))
    assert "the fit of the softmax has not converged in 2 iterations: raise --max-iterations, or give" in caplog.text
