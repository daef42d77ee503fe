#!/usr/bin/env python3
"""Measures a run, a model with published weights, or several of them averaged, on a data set's evaluation split.

    evaluate.py RUN_FOLDER [--checkpoint best] [--weights-of ema] [--data.OPTION VALUE ...]
    evaluate.py MODEL --weights SOURCE --data.name folder:PATH [views:ten-crop --views.size 227]
    evaluate.py MODEL --weights SOURCE --also MODEL --also RUN_FOLDER ...

The crop, the normalization and (for a run) the data set are the network's own unless told otherwise. Several networks
are averaged in their probabilities; the options are the first one's, and the others keep their own crop and
normalization.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from jaxcnn import trained
from jaxcnn.config import DataConfig, EvaluationConfig, Normalization, Views
from jaxcnn.data.numbering import read_names
from jaxcnn.data.views import protocol_union
from jaxcnn.errors import UserError, run_script
from jaxcnn.evaluation.details import in_words, save_details
from jaxcnn.evaluation.metrics import check_top_k
from jaxcnn.evaluation.predictions import average_networks
from jaxcnn.evaluation.submission import check_new, read_class_numbers, write_submission


@dataclasses.dataclass(frozen=True)
class Source:
    """Which network. `evaluate.py NETWORK --help` shows what else can be set."""

    network: tyro.conf.Positional[str]
    """A run folder, or a model's name."""
    also: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NETWORK")] = ()
    """Another network, averaged with the first; may be given several times."""
    weights: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="SOURCE")] = ()
    """For a model: a .pth or .safetensors file, or torchvision[/NAME], timm[/NAME] or lite0 for published weights. Once
    for all models, or once for each in their order."""
    checkpoint: Literal["latest", "best"] = "latest"
    """Which of a run's checkpoints; the best is that of the lowest top-1 error of the weights asked for."""
    weights_of: Literal["raw", "ema"] = "raw"
    """A run's parameters themselves, or their moving average."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What to measure it on, and what to keep."""

    data: tyro.conf.AvoidSubcommands[DataConfig]
    normalization: Normalization
    batch_size: int = EvaluationConfig().batch_size
    """Views that the network takes together."""
    top_k: tuple[int, ...] = EvaluationConfig().top_k
    # Asked for when the command is parsed, so that the protocols of a recipe are among them.
    views: Annotated[Views, tyro.conf.arg(constructor_factory=protocol_union)] = trained.SINGLE_CROP
    """The views of each image; what the network says of them is averaged."""
    leave_out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Images that do not count, by the names or the numbers of their files, one a line: ILSVRC's blacklist."""
    labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """ImageNet-ReaL's real.json: several labels of an image are right, and images without any do not count."""
    details: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Where to save each class's error, the confusion matrix, and what was answered for each image."""
    submission: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write ILSVRC's submission file; `submission.py` scores it."""
    class_numbers: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The official number of each of the network's classes, for the submission: meta.mat of ILSVRC's development kit,
    or one number a line. By default they count from 1 in the network's order, which is not ILSVRC's own."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    # In two steps, because the network brings the defaults of the second; --help after it is the second's.
    first_help = not arguments or arguments[0] in ("-h", "--help")
    source, rest = tyro.cli(Source, args=arguments, return_unknown_args=True, add_help=first_help)
    names = (source.network, *source.also)
    network, *others = trained.load_several(names, source.weights, source.checkpoint, source.weights_of)
    chosen = tyro.cli(Measurement, default=Measurement(network.data, network.normalization), args=rest)
    check_top_k(chosen.top_k, network.num_classes)
    left_out = read_names(chosen.leave_out) if chosen.leave_out else ()
    network = dataclasses.replace(network, normalization=chosen.normalization, data=chosen.data)
    others = [other.with_images_of(chosen.data) for other in others]
    networks = [network, *others]
    splits = [each.open_split(each.data, chosen.views, left_out) for each in networks]
    if chosen.submission:
        check_new(chosen.submission)
        image_numbers, class_numbers = splits[0].numbers(), np.arange(1, network.num_classes + 1)
        if chosen.class_numbers:
            class_numbers = read_class_numbers(chosen.class_numbers, network.num_classes, network.wordnet_ids)
    elif chosen.class_numbers:
        raise UserError("--class-numbers are for a submission: say with --submission where to write it")
    valid = network.valid_labels(splits[0], chosen.labels)

    predictions = average_networks(
        [
            each.predictions(split, batch_size=chosen.batch_size, views=chosen.views)
            for each, split in zip(networks, splits, strict=True)
        ]
    )
    judged = predictions if valid is None else predictions.with_valid_labels(valid)
    result = judged.result(chosen.top_k)
    print(in_words(result.errors, result.images))
    if chosen.details:
        facts = {
            "networks": list(names),
            "weights": list(source.weights),
            "data": splits[0].name,
            "views": dataclasses.asdict(chosen.views),
            "left_out": len(left_out),
            "several_labels": valid is not None,
        }
        save_details(chosen.details, judged, network.classes_of(splits[0])[0], chosen.top_k, facts)
    if chosen.submission:
        write_submission(chosen.submission, predictions, image_numbers, class_numbers)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
