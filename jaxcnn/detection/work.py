"""The parts of training and of using a detector, each of which keeps what it has found in the detector's folder."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rich.console

from jaxcnn.config.detection import DetectorConfig, SlidingConfig
from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.detections import Detections
from jaxcnn.detection.detector import Scorer
from jaxcnn.detection.machines import Machines, Mining, ReadFeatures, mined
from jaxcnn.detection.matching import LabelledRegions, boxes_of_images, regions_of
from jaxcnn.detection.pictures import Pictures
from jaxcnn.detection.proposals import proposals_of
from jaxcnn.detection.regions import Regions, extract_regions
from jaxcnn.detection.regression import Regressors, fit_regressors
from jaxcnn.detection.sliding import Sliding
from jaxcnn.detection.tuning import tuned
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.arrays import read_arrays, write_arrays
from jaxcnn.features.layers import LOGITS
from jaxcnn.text import say
from jaxcnn.trained import Trained

MACHINES_FILE = "machines.safetensors"
REGRESSORS_FILE = "regressors.safetensors"
PROPOSALS, FEATURES, TUNED = "proposals", "features", "tuned"
"""The folders in a detector's folder."""


class Detector(NamedTuple):
    """A detector that is trained, or as far as it is."""

    network: Trained
    """The network, tuned unless the config says otherwise."""
    scorer: Scorer
    class_names: tuple[str, ...]
    config: DetectorConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """Training a detector in a folder, or going on with that; each part raises `Interrupted` where it is stopped."""

    config: DetectorConfig
    folder: Path
    network: Trained
    """The network to start from."""
    train: AnnotatedSplit
    """The images that are learned from."""
    stop: Callable[[], bool]
    console: rich.console.Console

    def detector(self) -> Detector:
        """Returns the detector, trained."""
        config, names = self.config, self.train.class_names
        regions = regions_of(self.train, self._proposals(self.train))
        self._say(
            f"{self.train.title}: {int(regions.is_object.sum()):,} objects and "
            f"{int((~regions.is_object).sum()):,} proposals in {len(self.train):,} images"
        )
        network = self._tuned(regions)
        machines, regressors = None, None
        if config.rcnn.classifier == "svm" or config.rcnn.regression.used:
            found = self._features(network, self.train, boxes_of_images(regions, len(self.train)), "training")

            def read(rows: slice) -> np.ndarray:
                return found.values(config.layer, rows)

            if config.rcnn.classifier == "svm":
                machines = self._machines(read, regions)
            if config.rcnn.regression.used:
                regressors = self._regressors(read, regions)
        return Detector(network, Scorer(machines, regressors, config.rcnn.answers), names, config)

    def answers(self, detector: Detector, split: AnnotatedSplit, name: str) -> Iterator[Detections]:
        """Yields what the detector answers for each image of a split.

        Args:
            detector: the detector.
            split: the images, annotated or not.
            name: what the features of the split are called in the folder.
        """
        boxes = self._proposals(split)
        found = self._features(detector.network, split, boxes, name)
        for index, image in enumerate(split.images):
            if self.stop():
                raise Interrupted
            rows = found.rows_of(index)
            features = found.values(self.config.layer, rows)
            logits = None if self.config.rcnn.classifier == "svm" else found.values(LOGITS, rows)
            yield detector.scorer.answers(boxes[index], features, logits, image.width, image.height)

    def slid(self, detector: Detector, split: AnnotatedSplit, config: SlidingConfig) -> Iterator[Detections]:
        """Yields what the tuned network answers for each image of a split as a sliding window.

        Args:
            detector: the detector.
            split: the images, annotated or not.
            config: how the network is slid.

        Raises:
            UserError: the network was not tuned, so it does not know the background; or it cannot be slid.
        """
        if not self.config.rcnn.tuning.steps:
            raise UserError(
                f"the detector in {self.folder} has a network that was not tuned, which does not know the background: "
                "train one with --tuning.steps above 0 to slide it"
            )
        answers = self.config.rcnn.answers
        sliding = Sliding(detector.network, stride=config.stride, scales=config.scales)
        for image in split.images:
            if self.stop():
                raise Interrupted
            yield sliding.detect(
                image.read(),
                background=len(detector.class_names),
                threshold=config.min_score,
                overlap=answers.max_overlap,
                limit=answers.limit,
            ).best(answers.limit)

    def _proposals(self, split: AnnotatedSplit) -> list[np.ndarray]:
        return proposals_of(split, self.config.rcnn.proposals, self.folder / PROPOSALS, self.stop)

    def _tuned(self, regions: LabelledRegions) -> Trained:
        if not self.config.rcnn.tuning.steps:
            return self.network
        pictures = Pictures(self.train, self.config.channels)
        found = tuned(
            self.network,
            pictures,
            regions,
            self.train.class_names,
            self.config,
            self.folder / TUNED,
            stop=self.stop,
            console=self.console,
        )
        if found is None:
            raise Interrupted
        return found

    def _features(self, network: Trained, split: AnnotatedSplit, boxes: list[np.ndarray], name: str) -> Regions:
        config = self.config
        wanted = (config.layer,) if config.rcnn.classifier == "svm" else (config.layer, LOGITS)
        return extract_regions(
            network,
            split,
            boxes,
            self.folder / FEATURES,
            name,
            layer="|".join(map(re.escape, wanted)),
            size=config.size,
            context=config.rcnn.warp.context,
            regions_at_once=config.rcnn.warp.regions_at_once,
            stop=self.stop,
        )

    def _machines(self, read: ReadFeatures, regions: LabelledRegions) -> Machines:
        file = self.folder / MACHINES_FILE
        before = Mining.from_arrays(read_arrays(file)) if file.exists() else None
        if before is None:
            self._say("fitting a machine for each class")
        return mined(
            read,
            regions,
            self.config.rcnn.machines,
            self.train.class_names,
            before=before,
            save=lambda mining: write_arrays(file, mining.arrays()),
            stop=self.stop,
        )

    def _regressors(self, read: ReadFeatures, regions: LabelledRegions) -> Regressors:
        file = self.folder / REGRESSORS_FILE
        if not file.exists():
            self._say("fitting the regressors of the boxes")
            length = self.config.rcnn.machines.length
            found = fit_regressors(
                read, regions, self.config.rcnn.regression, self.train.class_names, length, self.stop
            )
            write_arrays(file, found._asdict())
        return Regressors(**read_arrays(file))

    def _say(self, text: str) -> None:
        say(self.console, text)
