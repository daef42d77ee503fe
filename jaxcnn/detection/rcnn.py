"""R-CNN (Girshick, Donahue, Darrell and Malik, arXiv:1311.2524): a folder in which a detector is trained and used.

A detector is a network, tuned on regions of the images that it learns from; machines that score its features of a
region, or its softmax; and regressors that move the boxes. Regions are proposals of selective search. Whatever is found
once stays in the folder: proposals and features by what they are made of, the tuned network as checkpoints, machines
and regressors as files. So all goes on where it was interrupted, and a second call computes none of it again.
"""

import contextlib
import dataclasses
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import rich.console

from jaxcnn import loading, strict_json
from jaxcnn.config import flatten
from jaxcnn.config.detection import DetectorConfig, NetworkSource, RCNNConfig, ScenesOf, SlidingConfig
from jaxcnn.config.stored import group_from_json
from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.detections import Detections, write_results
from jaxcnn.detection.proposals import proposals_of
from jaxcnn.detection.recall import Recall, recall_of
from jaxcnn.detection.result import DetectionResult, measured
from jaxcnn.detection.sources import absolute_annotated_name, open_annotated
from jaxcnn.detection.warp import check_context
from jaxcnn.detection.work import DETECTOR_FILE, PROPOSALS, Work
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError, writing
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.extraction import layers, sha256_of
from jaxcnn.features.layers import choose
from jaxcnn.features.store import file_name
from jaxcnn.paths import absolute, expanded, replace_whole
from jaxcnn.recipes import CONFIG_FILE, run_folder
from jaxcnn.text import say
from jaxcnn.trained import Trained
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.work_folder import WorkFolder, read_kept

RESULTS = "results"
"""The folder of a detector's answers, in its folder: a file of COCO's results for each split."""
_FREE = frozenset({"data.evaluation_split"})
"""The options that may change, because the detector does not depend on them."""


def configure(network: Trained, source: NetworkSource, data: ScenesOf, options: RCNNConfig) -> DetectorConfig:
    """Returns everything that a detector depends on.

    Args:
        network: the network that it starts from.
        source: where that comes from.
        data: the images that it learns from.
        options: what a person chooses.

    Raises:
        UserError: no images are named, the network has no such layer, more than one matches, the context leaves no
            room for a region, or the softmax of a network is asked for that is not tuned.
    """
    if not data.name:
        raise UserError("the detector is given no images to learn from: name them with --data.name, as coco:FOLDER")
    if options.classifier == "softmax" and not options.tuning.steps:
        raise UserError(
            "the softmax of a network that is not tuned does not know the background: set --tuning.steps above 0, or "
            "leave out --classifier softmax"
        )
    if folder := run_folder(source.network):
        source = dataclasses.replace(source, network=str(absolute(folder)))
    size = network.data.evaluation_crop.size
    check_context(size, options.warp.context_of(size))
    chosen = choose(layers(network), options.layer)
    if len(chosen) > 1:
        raise UserError(
            f"the layer {options.layer!r} is {', '.join(each.name for each in chosen[:3])} and so on: name one of them"
        )
    return DetectorConfig(
        source=source,
        weights_sha256=sha256_of(network.variables),
        size=size,
        channels=network.data.channels,
        normalization=network.normalization,
        layer=chosen[0].name,
        data=dataclasses.replace(data, name=absolute_annotated_name(data.name)),
        rcnn=dataclasses.replace(options, layer=None),
    )


def load_source(source: NetworkSource) -> Trained:
    """Returns the network that a source names.

    Raises:
        UserError: as `jaxcnn.load` does.
    """
    return loading.load(source.network, source.weights, source.checkpoint, source.weights_of, ignore=source.ignore)


@own_settings()
def train(
    network: Trained, config: DetectorConfig, workdir: str | Path, *, console: rich.console.Console | None = None
) -> bool:
    """Trains a detector in a folder, or goes on with that.

    Args:
        network: the network that it starts from.
        config: what `configure` returned for it.
        workdir: the folder, which is made if need be.
        console: what progress is printed to; by default the terminal.

    Returns:
        Whether it is trained; False if SIGTERM or SIGINT asked to stop, and everything is saved.

    Raises:
        UserError: the options ask for something impossible, OpenCV is not installed, or the folder holds other work, is
            in use, or cannot be written.
        MachineError: the disk is full, or fails.
    """
    with _work(network, config, expanded(workdir), console) as work:
        for option, value in flatten(config).items():
            say(work.console, f"{option} = {value}")
        try:
            work.detector()
        except Interrupted:
            return False
    return True


def stored_config(workdir: Path) -> DetectorConfig:
    """Returns the options of the detector in a folder.

    Raises:
        UserError: the folder holds no detector.
    """
    file = workdir / CONFIG_FILE
    if not file.is_file():
        raise UserError(f"{workdir} holds no detector: train one with `jaxcnn detect train`")
    return read_kept(file, lambda text: group_from_json(DetectorConfig, text))


class Answers(NamedTuple):
    """What a detector answers for the images of a split."""

    detections: list[Detections]
    """The answers for each image, best first."""
    class_names: tuple[str, ...]
    """The names of the classes, by label."""


@own_settings()
def answer(
    workdir: str | Path,
    split: AnnotatedSplit,
    name: str,
    *,
    sliding: SlidingConfig | None = None,
    results: Path | None = None,
    console: rich.console.Console | None = None,
) -> Answers | None:
    """Returns what the detector in a folder answers for the images of a split, and writes it as COCO's results.

    A detector that is not trained to the end is trained further first.

    Args:
        workdir: the folder of the detector.
        split: the images, annotated or not.
        name: what the split is called in the folder.
        sliding: how the tuned network is slid over the images; by default regions are classified.
        results: the file to write; by default the `results_file` of the folder.
        console: what progress is printed to; by default the terminal.

    Returns:
        The answers; or None if SIGTERM or SIGINT asked to stop, and everything is saved.

    Raises:
        UserError: the folder holds no detector, or the network that it starts from has changed.
        MachineError: the disk is full, or fails.
    """
    workdir = expanded(workdir)
    config = stored_config(workdir)
    network = load_source(config.source)
    if sha256_of(network.variables) != config.weights_sha256:
        raise UserError(
            f"{config.source.network} has other weights than when the detector in {workdir} was trained: put the old "
            "ones back, or train another detector"
        )
    with _work(network, config, workdir, console) as work:
        try:
            detector = work.detector()
            categories = _categories(split, detector.class_names)
            found = list(work.slid(detector, split, sliding) if sliding else work.answers(detector, split, name))
        except Interrupted:
            return None
        file = results or results_file(workdir, name, sliding)
        with writing(file, "choose another file"):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_results(file, found, [image.image_id for image in split.images], categories)
    return Answers(found, detector.class_names)


def results_file(workdir: Path, name: str, sliding: SlidingConfig | None = None) -> Path:
    """Returns the file of the answers for a split in a detector's folder: ``results/NAME.json``."""
    return workdir / RESULTS / (f"{file_name(name)}-sliding.json" if sliding else f"{file_name(name)}.json")


@own_settings()
def evaluate(
    workdir: str | Path,
    split: str | None = None,
    *,
    sliding: SlidingConfig | None = None,
    out: Path | None = None,
    console: rich.console.Console | None = None,
) -> DetectionResult | None:
    """Returns the average precision of the detector in a folder, and writes it as JSON.

    Args:
        workdir: the folder of the detector.
        split: the split of its data set; by default the one that it is to be measured on.
        sliding: as for `answer`.
        out: the file to write; by default ``results/SPLIT.result.json`` in the folder.
        console: as for `answer`.

    Returns:
        The result; or None if SIGTERM or SIGINT asked to stop, and everything is saved.

    Raises:
        UserError: as `answer` does; there is no such split; or pycocotools is not installed.
        MachineError: the disk is full, or fails.
    """
    workdir = expanded(workdir)
    opened = evaluation_split(stored_config(workdir), split)
    found = answer(workdir, opened, opened.split, sliding=sliding, console=console)
    if found is None:
        return None
    result = measured(opened, found.detections)
    file = out or results_file(workdir, opened.split, sliding).with_suffix(".result.json")
    with writing(file, "choose another file"):
        replace_whole(file, strict_json.dumps(result.to_json(), indent=1) + "\n")
    return result


def proposal_recall(workdir: str | Path, split: str | None = None) -> Recall | None:
    """Returns how many objects of a split the proposals of the detector in a folder hold.

    Args:
        workdir: the folder of the detector.
        split: as for `evaluate`.

    Returns:
        The recall; or None if SIGTERM or SIGINT asked to stop, and everything is saved.

    Raises:
        UserError: as `evaluate` does.
    """
    workdir = expanded(workdir)
    config = stored_config(workdir)
    opened = evaluation_split(config, split)
    with StopRequest() as asked:
        try:
            return recall_of(opened, proposals_of(opened, config.rcnn.proposals, workdir / PROPOSALS, asked))
        except Interrupted:
            return None


def evaluation_split(config: DetectorConfig, split: str | None = None) -> AnnotatedSplit:
    """Opens the split that a detector is measured on, or another one of its data set.

    Raises:
        UserError: there is no such split, or its classes are not those that the detector knows.
    """
    data = config.data
    return open_annotated(data.name, split or data.evaluation_split, data.data_dir)


def _categories(split: AnnotatedSplit, class_names: Sequence[str]) -> tuple[int, ...]:
    """Returns the numbers that the detector's classes have in a split, by label; from 1 on where it has no classes.

    Raises:
        UserError: the split has other classes.
    """
    if not split.class_names:
        return tuple(range(1, len(class_names) + 1))
    if tuple(split.class_names) != tuple(class_names):
        others = sorted(set(split.class_names) ^ set(class_names))
        raise UserError(
            f"{split.title} has other classes than the detector ({', '.join(others[:3]) or 'in another order'}): "
            "measure it on images of the classes that it was trained for"
        )
    return tuple(split.category_ids)


@contextlib.contextmanager
def _work(
    network: Trained, config: DetectorConfig, workdir: Path, console: rich.console.Console | None
) -> Generator[Work]:
    """Opens a detector's folder, and refuses one that holds something else."""
    if jax.process_count() > 1:
        raise UserError("a detector is trained and used by one process, with all its devices: start one")
    data = config.data
    with StopRequest() as asked, WorkFolder(workdir, DetectorConfig, "detector", free=_FREE) as folder:
        prints, split = {}, None
        if not (workdir / DETECTOR_FILE).exists():
            split = open_annotated(data.name, data.train_split, data.data_dir)
            prints = {"training": split.fingerprint()}
        folder.claim(config, prints, images_of=data.name)
        folder.begin()
        console = console or rich.console.Console(markup=False, emoji=False)

        def train() -> AnnotatedSplit:
            return split or open_annotated(data.name, data.train_split, data.data_dir)

        yield Work(config, workdir, network, train, asked, console)
