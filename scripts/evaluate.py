#!/usr/bin/env python3
"""Measures a run, or a model with published weights, on a data set's evaluation split.

    evaluate.py RUN_FOLDER [--checkpoint best] [--weights-of ema] [--data.OPTION VALUE ...]
    evaluate.py MODEL --weights SOURCE --data.name folder:PATH

The crop, the normalization and (for a run) the data set are the network's own unless told otherwise.
"""

import dataclasses
import sys
from typing import Annotated, Literal

import tyro

from jaxcnn import trained
from jaxcnn.config import DataConfig, EvaluationConfig, Normalization
from jaxcnn.errors import run_script


@dataclasses.dataclass(frozen=True)
class Source:
    """Which network. `evaluate.py NETWORK --help` shows what else can be set."""

    network: tyro.conf.Positional[str]
    """A run folder, or a model's name."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """For a model: a .pth or .safetensors file, or torchvision[/NAME], timm[/NAME] or lite0 for published weights."""
    checkpoint: Literal["latest", "best"] = "latest"
    """Which of a run's checkpoints."""
    weights_of: Literal["raw", "ema"] = "raw"
    """A run's parameters themselves, or their moving average."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What to measure it on."""

    data: DataConfig
    normalization: Normalization
    batch_size: int = EvaluationConfig().batch_size
    top_k: tuple[int, ...] = EvaluationConfig().top_k


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    # In two steps, because the network brings the defaults of the second; --help after it is the second's.
    first_help = not arguments or arguments[0] in ("-h", "--help")
    source, rest = tyro.cli(Source, args=arguments, return_unknown_args=True, add_help=first_help)
    network = trained.load(source.network, source.weights, source.checkpoint, source.weights_of)
    default = Measurement(network.data, network.normalization)
    chosen = tyro.cli(Measurement, default=default, args=rest, config=(tyro.conf.AvoidSubcommands,))
    network = dataclasses.replace(network, normalization=chosen.normalization)
    print(network.evaluate(chosen.data, batch_size=chosen.batch_size, top_k=chosen.top_k))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
