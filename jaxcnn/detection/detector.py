"""A trained detector: it scores the regions of images, and answers with boxes."""

import dataclasses

import numpy as np

from jaxcnn.config.detection import AnswersConfig
from jaxcnn.detection.boxes import area, clipped
from jaxcnn.detection.detections import Detections, probabilities
from jaxcnn.detection.machines import Machines
from jaxcnn.detection.regression import Regressors


@dataclasses.dataclass(frozen=True, eq=False)
class Scorer:
    """What makes answers of the regions of an image, from what the network puts out for them."""

    machines: Machines | None
    """The machines that score features; None where the softmax of the network does."""
    regressors: Regressors | None
    """What moves the boxes; None where they stay."""
    config: AnswersConfig

    def answers(
        self, boxes: np.ndarray, features: np.ndarray, logits: np.ndarray | None, width: int, height: int
    ) -> Detections:
        """Returns the answers for an image, best first; none where it has no regions.

        Args:
            boxes: the boxes of its regions, float32 (regions, 4).
            features: their features, float32 (regions, values).
            logits: what the network puts out for them, float32 (regions, classes and the background); needed where
                there are no machines.
            width: the width of the image, in pixels.
            height: its height.
        """
        if self.machines is not None:
            scores = self.machines.scores(features)
        else:
            assert logits is not None  # the network has been asked for them
            scores = probabilities(logits)[:, :-1]
        classes = scores.shape[1]
        moved = [
            boxes if self.regressors is None else self.regressors.moved(features, boxes, label)
            for label in range(classes)
        ]
        each = clipped(np.stack(moved, axis=1), width, height) if classes else np.zeros((len(boxes), 0, 4), np.float32)
        return best(each, scores, self.config)


def best(boxes: np.ndarray, scores: np.ndarray, config: AnswersConfig) -> Detections:
    """Returns the answers that are left of scored boxes, best first.

    Of boxes of one class that overlap, the best is left: non-maximum suppression. A box without area, or with a score
    of minus infinity, is no answer.

    Args:
        boxes: the boxes, float32 (regions, classes, 4).
        scores: the scores, float32 (regions, classes).
        config: the options.
    """
    count, classes = scores.shape
    if not count or not classes:
        return Detections.none()
    possible = np.isfinite(scores) & (area(boxes) > 0)
    worst = np.where(possible, scores, -np.inf).astype(np.float32)
    return Detections.suppressed(boxes, worst, config.max_overlap, config.limit).best(config.limit)
