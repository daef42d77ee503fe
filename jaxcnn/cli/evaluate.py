"""Measures a run, a model with published weights, or several of them averaged, on a data set's evaluation split.

    jaxcnn evaluate RUN_FOLDER [--checkpoint best] [--weights-of ema] [--data.OPTION VALUE ...]
    jaxcnn evaluate MODEL --weights SOURCE --data.name folder:PATH [views:ten-crop --views.size 227]
    jaxcnn evaluate MODEL --weights SOURCE [--class-names FILE] [--ignore PATTERN]
    jaxcnn evaluate MODEL --weights SOURCE --also MODEL --also RUN_FOLDER ...
    jaxcnn evaluate MODEL --weights SOURCE --fold-batch-norm
    jaxcnn evaluate RUN_FOLDER --distributed auto                    several processes: see docs/distributed.md

The crop, the normalization and (for a run) the data set are the network's own unless told otherwise. Several networks
are averaged in their probabilities; the options are the first one's, and the others keep their own crop and
normalization.
"""

import dataclasses
from typing import Annotated, Literal

import tyro

from jaxcnn import loading
from jaxcnn.cli.shared import Foreign, source_of
from jaxcnn.config import DataConfig, Normalization, Views
from jaxcnn.data.pipeline import SINGLE_CROP
from jaxcnn.data.views import protocol_union
from jaxcnn.devices.processes import Processes, is_writer
from jaxcnn.evaluation.details import in_words
from jaxcnn.measuring import Measurement, measure

PROG = "jaxcnn evaluate"


@dataclasses.dataclass(frozen=True)
class Source:
    """Measure a network on a data set. `jaxcnn evaluate NETWORK --help` shows what else can be set."""

    network: tyro.conf.Positional[str]
    """A run folder, or a model's name."""
    also: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NETWORK")] = ()
    """A further network, which is averaged with the first; may be given several times."""
    weights: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="SOURCE")] = ()
    """The weights of a model: a file (.pth, .safetensors), or torchvision[/NAME], timm[/NAME] or lite0 to lite2.
    They are given once for all models, or once for each in their order."""
    foreign: Annotated[Foreign, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Foreign)
    checkpoint: Literal["latest", "best"] = "latest"
    """Which of a run's checkpoints to take; the best has the lowest error of the weights asked for."""
    weights_of: Literal["raw", "ema"] = "raw"
    """A run's parameters themselves, or their moving average."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Processes)


@dataclasses.dataclass(frozen=True)
class Chosen(Measurement):
    """What to measure, on which images, and what to keep."""

    # The union is made when the command is parsed, so that it includes the protocols of a recipe.
    views: Annotated[Views, tyro.conf.arg(constructor_factory=protocol_union)] = SINGLE_CROP
    """The views of each image, over which the network's answers are averaged."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure it on, and what to keep."""

    data: tyro.conf.AvoidSubcommands[DataConfig]
    normalization: Normalization
    measurement: Annotated[Chosen, tyro.conf.arg(name="")]


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    source, rest = source_of(Source, PROG, arguments)
    with source.processes.joined():
        return _evaluate(source, rest)


def _evaluate(source: Source, rest: list[str]) -> int:
    names = (source.network, *source.also)
    foreign = source.foreign
    networks = loading.load_several(
        *(names, source.weights, source.checkpoint, source.weights_of),
        ignore=foreign.ignore,
        class_names=loading.read_names(foreign.class_names),
    )
    default = Options(networks[0].data, networks[0].normalization, Chosen())
    chosen = tyro.cli(Options, prog=f"{PROG} {source.network}", default=default, args=rest)
    facts = {"networks": list(names), "weights": list(source.weights), "ignored": list(foreign.ignore)}
    result = measure(networks, chosen.data, chosen.normalization, chosen.measurement, facts)
    if is_writer():
        print(in_words(result.errors, result.images))
    return 0
