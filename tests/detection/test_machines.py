"""Support vector machines with hard negatives, and the regressors of boxes."""

import logging

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from jaxcnn.config.detection import MachinesConfig, RegressionConfig
from jaxcnn.detection.boxes import offsets
from jaxcnn.detection.machines import Machines, Mining, mined, picked
from jaxcnn.detection.matching import LabelledRegions
from jaxcnn.detection.regression import fit_regressors
from jaxcnn.evaluation.evaluator import Interrupted

NAMES = ("cat", "dog", "bird")
CONFIG = MachinesConfig(negatives=20, passes=20, hardest=30, regularization=0.1, max_iterations=100_000)


def made(seed=0, count=600, values=6):
    """LabelledRegions whose features say which class they show; the last class has no object."""
    rng = np.random.RandomState(seed)
    label = np.where(np.arange(count) < 24, np.arange(count) % 2, -1).astype(np.int32)
    features = rng.randn(count, values).astype(np.float32)
    features[label == 0, 0] += 4
    features[label == 1, 1] += 4
    overlap = (label >= 0).astype(np.float32)
    boxes = np.concatenate([rng.uniform(0, 20, (count, 2)), rng.uniform(30, 60, (count, 2))], 1).astype(np.float32)
    regions = LabelledRegions(
        boxes=boxes,
        image=np.repeat(np.arange(6), count // 6).astype(np.int32),
        is_object=label >= 0,
        label=label,
        overlap=overlap,
        target=boxes,
        class_overlap=np.stack([overlap * (label == each) for each in range(3)], 1),
        ambiguous=np.zeros(count, bool),
    )
    return features, regions


def test_hard_negatives_lead_to_the_machine_of_all_negatives():
    """A negative beyond the margin has no loss, so it changes nothing."""
    features, regions = made()
    machines = mined(features.__getitem__, regions, CONFIG, NAMES)
    scaled = features * CONFIG.length / np.linalg.norm(features, axis=1).mean()
    for label in (0, 1):
        chosen = regions.negatives(label, 0.3) | (regions.label == label) & regions.is_object
        whole = LinearSVC(C=0.1, loss="hinge", class_weight={1: 2}, intercept_scaling=10, max_iter=100_000, tol=1e-6)
        whole.fit(scaled[chosen], regions.label[chosen] == label)
        expected = whole.decision_function(scaled)
        np.testing.assert_allclose(machines.scores(features)[:, label], expected, atol=0.05 * np.abs(expected).max())
    assert np.isneginf(machines.scores(features)[:, 2]).all()


def test_mining_finds_more_than_chance_alone():
    features, regions = made()
    saved = []
    mined(features.__getitem__, regions, CONFIG, NAMES, save=saved.append)
    assert saved[0].passes == 0
    assert [len(each) for each in saved[0].negatives] == [20, 20, 20]
    assert saved[-1].finished
    assert len(saved[-1].negatives[0]) > 20
    alone = []
    mined(features.__getitem__, regions, MachinesConfig(negatives=20, passes=0), NAMES, save=alone.append)
    assert len(alone) == 1
    assert alone[0].finished


def test_goes_on_from_every_pass_to_the_same_bits():
    features, regions = made()
    saved = []
    expected = mined(features.__getitem__, regions, CONFIG, NAMES, save=saved.append)
    assert len(saved) > 2
    for before in saved:
        restored = Mining.from_arrays(before.arrays())
        again = mined(features.__getitem__, regions, CONFIG, NAMES, before=restored)
        for one, other in zip(again, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_stops_where_it_is_asked_to():
    features, regions = made()
    with pytest.raises(Interrupted):
        mined(features.__getitem__, regions, CONFIG, NAMES, stop=lambda: True)


def test_a_class_without_objects_is_said_and_never_answered(caplog):
    features, regions = made()
    with caplog.at_level(logging.INFO, "jaxcnn"):
        machines = mined(features.__getitem__, regions, MachinesConfig(passes=0), NAMES)
    assert "the class bird has no object in the images that are learned from, so it is never answered" in caplog.text
    assert np.isneginf(machines.bias[2])


def test_rows_are_read_in_runs():
    features = np.arange(400, dtype=np.float32).reshape(200, 2)
    read = []

    def reader(rows):
        read.append(rows)
        return features[rows]

    wanted = np.array([150, 3, 4, 151, 9])
    np.testing.assert_array_equal(picked(reader, wanted), features[wanted])
    assert sum(rows.stop - rows.start for rows in read) == 7 + 2


def test_scores_are_linear():
    machines = Machines(np.array([[1.0, 0.0], [0.0, 2.0]], np.float32), np.array([1.0, -1.0], np.float32))
    np.testing.assert_array_equal(machines.scores(np.array([[3.0, 4.0]], np.float32)), [[4, 7]])


def test_regressors_learn_a_linear_function():
    rng = np.random.RandomState(0)
    features, regions = made()
    shows = regions.label == 0
    true = 0.05 * rng.randn(6, 4)
    wanted = features @ true + 0.02
    centres, sizes = (regions.boxes[:, :2] + regions.boxes[:, 2:]) / 2, regions.boxes[:, 2:] - regions.boxes[:, :2]
    middle, half = centres + wanted[:, :2] * sizes, sizes * np.exp(wanted[:, 2:]) / 2
    target = np.concatenate([middle - half, middle + half], 1).astype(np.float32)
    regions = LabelledRegions(**{**vars(regions), "target": target, "is_object": np.zeros(len(shows), bool)})
    found = fit_regressors(features.__getitem__, regions, RegressionConfig(regularization=1e-6), NAMES, 20.0)
    moved = found.moved(features[shows], regions.boxes[shows], 0)
    np.testing.assert_allclose(moved, target[shows], atol=0.01)
    # By the closed form of ridge regression with a bias that is free.
    heavy = fit_regressors(features.__getitem__, regions, RegressionConfig(regularization=50.0), NAMES, 20.0)
    x = features[shows].astype(np.float64)
    factor = 20 / np.linalg.norm(x, axis=1).mean()
    y = offsets(regions.boxes[shows], target[shows]).astype(np.float64)
    centred = factor * (x - x.mean(0))
    weights = np.linalg.solve(centred.T @ centred + 50 * np.eye(6), centred.T @ (y - y.mean(0)))
    np.testing.assert_allclose(heavy.weights[0], factor * weights, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(found.moved(features[:3], regions.boxes[:3], 2), regions.boxes[:3])
