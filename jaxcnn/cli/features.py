"""Extracts features of images: what a layer of a network puts out for each image of a data set's splits.

    jaxcnn features RUN_FOLDER --workdir FOLDER [--checkpoint best] [--weights-of ema] [--data.OPTION VALUE ...]
    jaxcnn features MODEL --weights SOURCE --data.name folder:PATH --workdir FOLDER [--splits train validation]
    jaxcnn features MODEL --weights SOURCE --layer list
    jaxcnn features MODEL --weights SOURCE --layer 'stage4_.*' [--pooling none] ...
    jaxcnn features MODEL --weights SOURCE ... --distributed auto   several processes: see docs/distributed.md

The crop, the normalization and (for a run) the data set are the network's own unless told otherwise. The exit code is 0
where everything is extracted; 75 where SIGTERM or SIGINT has stopped it with everything saved, after which the same
command goes on, as it does after any other end.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import rich.table
import tyro

from jaxcnn import loading
from jaxcnn.cli.shared import OneNetwork, console, source_of
from jaxcnn.config import DataConfig, Normalization
from jaxcnn.config.features import FeaturesConfig, Pooling
from jaxcnn.devices.processes import Processes, is_writer
from jaxcnn.devices.threads import steady_threads
from jaxcnn.errors import UserError
from jaxcnn.features.extraction import extract, layers
from jaxcnn.paths import absolute
from jaxcnn.recipes import run_folder
from jaxcnn.trained import Trained
from jaxcnn.training.interrupt import EXIT_STOPPED

PROG = "jaxcnn features"


@dataclasses.dataclass(frozen=True)
class Arguments(OneNetwork):
    """Extract features of images. `jaxcnn features NETWORK --help` shows what else can be set."""

    processes: Annotated[Processes, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Processes)


@dataclasses.dataclass(frozen=True)
class Options:
    """Which layers, of which images, and where the features go."""

    data: tyro.conf.AvoidSubcommands[DataConfig]
    normalization: Normalization
    layer: Annotated[str | None, tyro.conf.arg(metavar="REGEX")] = None
    """A regular expression that the whole names of the layers match, such as stage4_block2 or 'head/.*'; "list" prints
    all layers and extracts nothing. By default it is the input of the last dense layer."""
    workdir: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """The folder of the features. What was begun there goes on, and further splits may be added."""
    splits: tuple[str, ...] = ()
    """The splits of the data set; by default the one to train on and the one to measure on."""
    pooling: Pooling = FeaturesConfig.pooling
    """What becomes of a layer's map: it stays, or its mean or its maximum over all positions is taken."""
    images_at_once: int = FeaturesConfig.images_at_once
    """The number of images that a device takes together. Of all options that say how to compute, this one alone may
    change bits of the features."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    source, rest = source_of(Arguments, PROG, arguments)
    with steady_threads(), source.processes.joined():
        return _features(source, rest)


def _features(source: Arguments, rest: list[str]) -> int:
    network = loading.load(
        source.network, source.weights, source.checkpoint, source.weights_of, ignore=source.foreign.ignore
    )
    default = Options(network.data, network.normalization)
    chosen = tyro.cli(Options, prog=f"{PROG} {source.network}", default=default, args=rest)
    network = dataclasses.replace(network, data=chosen.data, normalization=chosen.normalization)
    if chosen.layer == "list":
        _print_layers(network, chosen.pooling)
        return 0
    if chosen.workdir is None:
        raise UserError("features need a folder: name it with --workdir FOLDER, or see all layers with --layer list")
    folder = run_folder(source.network)
    done = extract(
        network,
        chosen.workdir,
        chosen.splits,
        name=str(absolute(folder)) if folder else source.network,
        layer=chosen.layer,
        pooling=chosen.pooling,
        images_at_once=chosen.images_at_once,
    )
    if is_writer():
        stopped = "stopped as asked, everything so far is saved; the same command goes on"
        print(f"{chosen.workdir} holds the features" if done else stopped)
    return 0 if done else EXIT_STOPPED


def _print_layers(network: Trained, pooling: Pooling) -> None:
    size = network.data.evaluation_crop.size
    table = rich.table.Table("layer", "output", "pooled")
    table.title = f"layers for images of {size}x{size}; pooling: {pooling}"
    for layer in layers(network):
        table.add_row(layer.name, *("x".join(map(str, shape)) for shape in (layer.shape, layer.pooled(pooling))))
    if is_writer():
        console().print(table)
