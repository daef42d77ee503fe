"""From the scores of regions to answers."""

import numpy as np

from jaxcnn.config.detection import AnswersConfig
from jaxcnn.detection.detector import Scorer, best
from jaxcnn.detection.machines import Machines
from jaxcnn.detection.regression import Regressors

BOXES = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [30, 30, 40, 40], [5, 5, 5, 9]], np.float32)


def test_of_boxes_that_overlap_the_best_of_each_class_is_left():
    scores = np.array([[0.5, -1], [0.7, -2], [-0.2, 0.1], [9, 9]], np.float32)
    found = best(np.repeat(BOXES[:, None], 2, 1), scores, AnswersConfig())
    np.testing.assert_array_equal(found.scores, np.array([0.7, 0.1, -0.2, -1], np.float32))
    np.testing.assert_array_equal(found.labels, [0, 1, 0, 1])
    np.testing.assert_array_equal(found.boxes, BOXES[[1, 2, 2, 0]])
    few = best(np.repeat(BOXES[:, None], 2, 1), scores, AnswersConfig(limit=2))
    np.testing.assert_array_equal(few.scores, found.scores[:2])


def test_an_image_without_regions_has_no_answers():
    scorer = Scorer(Machines(np.zeros((3, 2), np.float32), np.zeros(2, np.float32)), None, AnswersConfig())
    found = scorer.answers(np.zeros((0, 4), np.float32), np.zeros((0, 3), np.float32), None, 50, 50)
    assert len(found) == 0


def test_a_class_without_objects_is_never_answered():
    machines = Machines(np.zeros((3, 2), np.float32), np.array([-np.inf, 0.5], np.float32))
    found = Scorer(machines, None, AnswersConfig()).answers(BOXES, np.ones((4, 3), np.float32), None, 50, 50)
    assert set(found.labels.tolist()) == {1}


def test_boxes_are_moved_by_the_regressors_of_their_class_and_cut_to_the_image():
    machines = Machines(np.zeros((3, 2), np.float32), np.array([1.0, 2.0], np.float32))
    bias = np.array([[0, 0, 0, 0], [0.5, 0, np.log(2), 0]], np.float32)
    regressors = Regressors(np.zeros((2, 3, 4), np.float32), bias)
    found = Scorer(machines, regressors, AnswersConfig()).answers(BOXES[2:3], np.ones((1, 3), np.float32), None, 42, 50)
    np.testing.assert_allclose(found.boxes, [[30, 30, 42, 40], [30, 30, 40, 40]], atol=1e-4)
    np.testing.assert_array_equal(found.labels, [1, 0])


def test_the_softmax_of_the_network_scores_without_machines():
    logits = np.log(np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], np.float32))
    found = Scorer(None, None, AnswersConfig()).answers(BOXES[[0, 2]], np.ones((2, 3), np.float32), logits, 50, 50)
    np.testing.assert_allclose(found.scores, [0.5, 0.2, 0.1, 0.1], rtol=1e-5)
