"""The parts of training and of using a detector, each of which keeps what it has found in the detector's folder."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rich.console

from jaxcnn import strict_json
from jaxcnn.config.detection import DetectorConfig, SlidingConfig
from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.detections import Detections
from jaxcnn.detection.detector import Scorer
from jaxcnn.detection.machines import Mining, ReadFeatures, mined
from jaxcnn.detection.matching import LabelledRegions, boxes_of_images, labelled_regions
from jaxcnn.detection.pictures import Pictures
from jaxcnn.detection.proposals import proposals_of
from jaxcnn.detection.regions import Regions, extract_regions
from jaxcnn.detection.regression import Regressors, fit_regressors
from jaxcnn.detection.sliding import Sliding
from jaxcnn.detection.tuning import read_tuned, tuned
from jaxcnn.errors import UserError, writing
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.arrays import read_arrays, write_arrays
from jaxcnn.features.layers import LOGITS
from jaxcnn.paths import replace_whole
from jaxcnn.text import say
from jaxcnn.trained import Trained
from jaxcnn.work_folder import OTHER_FOLDER, read_kept

DETECTOR_FILE = "detector.json"
"""The file of the names of the classes, which is written when everything else is."""
MACHINES_FILE = "machines.safetensors"
REGRESSORS_FILE = "regressors.safetensors"
PROPOSALS, FEATURES, TUNED = "proposals", "features", "tuned"
"""The folders in a detector's folder."""


class Detector(NamedTuple):
    """A trained detector."""

    network: Trained
    """The network, tuned unless the config says otherwise."""
    scorer: Scorer
    """What makes answers of what the network puts out for regions."""
    class_names: tuple[str, ...]
    """The names of the classes, without the background."""


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """Training a detector in a folder, or going on with that; each part raises `Interrupted` where it is stopped."""

    config: DetectorConfig
    folder: Path
    network: Trained
    """The network to start from."""
    train: Callable[[], AnnotatedSplit]
    """A function that opens the images that are learned from, which a trained detector does not need."""
    stop: Callable[[], bool]
    console: rich.console.Console

    def detector(self) -> Detector:
        """Returns the detector, trained to the end."""
        file = self.folder / DETECTOR_FILE
        if not file.exists():
            self._train(file)
        names = tuple(read_kept(file, lambda text: json.loads(text)["class_names"]))
        rcnn = self.config.rcnn
        network = read_tuned(self.network, names, self.folder / TUNED) if rcnn.tuning.steps else self.network
        machines, regressors = None, None
        if rcnn.classifier == "svm":
            machines = Mining.from_arrays(read_arrays(self.folder / MACHINES_FILE)).machines
        if rcnn.regression.used:
            regressors = Regressors(**read_arrays(self.folder / REGRESSORS_FILE))
        return Detector(network, Scorer(machines, regressors, rcnn.answers), names)

    def _train(self, file: Path) -> None:
        """Trains what is not trained yet, and then writes the names of the classes to a file."""
        rcnn, split = self.config.rcnn, self.train()
        names = split.class_names
        regions = labelled_regions(split, self.proposals(split))
        self._say(
            f"{split.title}: {int(regions.is_object.sum()):,} objects and {int((~regions.is_object).sum()):,} "
            f"proposals in {len(split):,} images"
        )
        network = self._tuned(split, regions)
        if rcnn.classifier == "svm" or rcnn.regression.used:
            found = self._features(network, split, boxes_of_images(regions, len(split)), split.split)

            def read(rows: slice) -> np.ndarray:
                return found.values(self.config.layer, rows)

            if rcnn.classifier == "svm":
                self._fit_machines(read, regions, names)
            if rcnn.regression.used:
                self._fit_regressors(read, regions, names)
        with writing(file, OTHER_FOLDER):
            replace_whole(file, strict_json.dumps({"class_names": names}) + "\n")

    def answers(self, detector: Detector, split: AnnotatedSplit, name: str) -> Iterator[Detections]:
        """Yields what the detector answers for each image of a split.

        Args:
            detector: the detector.
            split: the images, annotated or not.
            name: what the features of the split are called in the folder.
        """
        boxes = self.proposals(split)
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
        sliding = Sliding(detector.network, stride=config.stride, scales=config.scales, shared=config.shared)
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

    def proposals(self, split: AnnotatedSplit) -> list[np.ndarray]:
        """Returns the proposals of each image of a split."""
        return proposals_of(split, self.config.rcnn.proposals, self.folder / PROPOSALS, self.stop)

    def _tuned(self, split: AnnotatedSplit, regions: LabelledRegions) -> Trained:
        if not self.config.rcnn.tuning.steps:
            return self.network
        found = tuned(
            self.network,
            Pictures(split, self.config.channels),
            regions,
            split.class_names,
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
            context=config.rcnn.warp.context_of(config.size),
            regions_at_once=config.rcnn.warp.regions_at_once,
            stop=self.stop,
        )

    def _fit_machines(self, read: ReadFeatures, regions: LabelledRegions, names: Sequence[str]) -> None:
        file = self.folder / MACHINES_FILE
        before = Mining.from_arrays(read_arrays(file)) if file.exists() else None
        if before is None:
            self._say("fitting a machine for each class")
        options = self.config.rcnn.machines

        def save(mining: Mining) -> None:
            write_arrays(file, mining.arrays())

        mined(read, regions, options, names, before=before, save=save, stop=self.stop)

    def _fit_regressors(self, read: ReadFeatures, regions: LabelledRegions, names: Sequence[str]) -> None:
        file, rcnn = self.folder / REGRESSORS_FILE, self.config.rcnn
        if not file.exists():
            self._say("fitting the regressors of the boxes")
            found = fit_regressors(read, regions, rcnn.regression, names, rcnn.machines.length, self.stop)
            write_arrays(file, found._asdict())

    def _say(self, text: str) -> None:
        say(self.console, text)
