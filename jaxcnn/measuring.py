"""Measuring networks on the evaluation split of a data set, and keeping the details, as ``jaxcnn evaluate`` does."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxcnn.config import DataConfig, EvaluationConfig, Normalization, Views
from jaxcnn.data.numbering import read_names
from jaxcnn.data.pipeline import SINGLE_CROP
from jaxcnn.devices.processes import is_writer
from jaxcnn.errors import UserError
from jaxcnn.evaluation.details import save_details
from jaxcnn.evaluation.metrics import telling_top_k
from jaxcnn.evaluation.predictions import average_networks
from jaxcnn.evaluation.result import Result
from jaxcnn.evaluation.submission import check_new, read_class_numbers, write_submission
from jaxcnn.trained import Trained
from jaxcnn.types import Json


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What to measure, on which images, and what to keep."""

    batch_size: int = EvaluationConfig().batch_size
    """The number of views that the network takes together."""
    top_k: tuple[int, ...] = EvaluationConfig().top_k
    """Each k for which an error is counted: an image counts as right if its label is among the k most probable
    classes. Those that are not below the number of classes are left out, because their error is always 0."""
    views: Views = SINGLE_CROP
    """The views of each image, over which the network's answers are averaged."""
    fold_batch_norm: bool = False
    """Fold batch normalization into the convolutions before it, which is faster. Answers are the same up to
    rounding."""
    leave_out: Path | None = None
    """A file with the images that do not count, such as ILSVRC's blacklist: the names or the numbers of their files,
    one a line."""
    labels: Path | None = None
    """A file like ImageNet-ReaL's real.json, by which an image may have several right labels; images without any do not
    count."""
    details: Path | None = None
    """The folder to save each class's error, the confusion matrix, and each image's answer to."""
    submission: Path | None = None
    """The file to write ILSVRC's submission to; `jaxcnn submission` scores it."""
    class_numbers: Path | None = None
    """The official number of each of the network's classes, for the submission: meta.mat of ILSVRC's development kit,
    or one number a line. By default they count from 1 in the network's order, which is not ILSVRC's own."""


def measure(
    networks: Sequence[Trained],
    data: DataConfig,
    normalization: Normalization,
    measurement: Measurement,
    facts: Mapping[str, Json],
) -> Result:
    """Measures networks, whose probabilities are averaged where there are several, and writes what is to be kept.

    Several processes may measure together: all call this function and get the same result, and process 0 alone writes.

    Args:
        networks: one network or more.
        data: the data set, and the crop and the channels of the first network; the others keep their own.
        normalization: the normalization of the first network; the others keep their own.
        measurement: what to measure, and what to keep.
        facts: further facts for the details, as JSON takes them.

    Raises:
        UserError: the data set, the views or a file does not fit the networks. This is found before anything is
            computed, unless it is the images themselves that cannot be read.
    """
    first, *others = networks
    top_k = telling_top_k(measurement.top_k, first.num_classes)
    left_out = read_names(measurement.leave_out) if measurement.leave_out else ()
    first = dataclasses.replace(first, normalization=normalization, data=data)
    networks = [first, *(other.with_images_of(data) for other in others)]
    splits = [each.open_split(each.data, measurement.views, left_out) for each in networks]
    if measurement.submission:
        check_new(measurement.submission)
        image_numbers, class_numbers = splits[0].numbers(), np.arange(1, first.num_classes + 1)
        if measurement.class_numbers:
            class_numbers = read_class_numbers(measurement.class_numbers, first.num_classes, first.wordnet_ids)
    elif measurement.class_numbers:
        raise UserError("--class-numbers is only for a submission: add --submission FILE")
    valid = first.valid_labels(splits[0], measurement.labels)
    if measurement.fold_batch_norm:
        networks = [each.folded() for each in networks]

    predictions = average_networks(
        [
            each.predictions(split, batch_size=measurement.batch_size)
            for each, split in zip(networks, splits, strict=True)
        ]
    )
    judged = predictions if valid is None else predictions.with_valid_labels(valid)
    result = judged.result(top_k)
    if not is_writer():
        return result
    if measurement.details:
        measured = {
            "data": splits[0].name,
            "views": dataclasses.asdict(measurement.views),
            "folded_batch_norm": measurement.fold_batch_norm,
            "left_out": len(left_out),
            "several_labels": valid is not None,
        }
        class_names = first.classes_of(splits[0])[0]
        save_details(measurement.details, judged, class_names, top_k, {**facts, **measured})
    if measurement.submission:
        write_submission(measurement.submission, predictions, image_numbers, class_numbers)
    return result
