"""Trains a network with pretrained weights on other images, or goes on with such a run.

    jaxcnn finetune MODEL --weights SOURCE --data.name folder:PATH [--workdir FOLDER] [--OPTION VALUE ...]
    jaxcnn finetune MODEL --weights SOURCE --data.name folder:PATH --finetune.frozen trunk
    jaxcnn finetune MODEL --weights SOURCE --data.name folder:PATH --finetune.rate-decay 0.5
    jaxcnn finetune RECIPE_OR_RUN_FOLDER [--weights SOURCE] [--OPTION VALUE ...]

Crop and normalization are those that the weights expect, the classifier starts anew, and all options of `jaxcnn train`
can be given; a recipe or a run brings its own. With --finetune.frozen some stages, or the whole trunk, stay as they
are. The exit codes are those of `jaxcnn train`, and the same command goes on with a run that was stopped.
"""

import dataclasses
from typing import Annotated

import tyro

from jaxcnn.cli.shared import source_of
from jaxcnn.cli.train import train
from jaxcnn.transfer.finetune import finetuning

PROG = "jaxcnn finetune"


@dataclasses.dataclass(frozen=True)
class Source:
    """Fine-tune a network. `jaxcnn finetune NETWORK --weights SOURCE --data.name NAME --help` shows what can be set."""

    network: tyro.conf.Positional[str]
    """A model's name; or a recipe, or a run folder to go on with."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="SOURCE", aliases=["--init-from"])] = None
    """The weights to start from: a file (.pth, .safetensors), torchvision[/NAME], timm[/NAME], lite0 to lite2, or the
    folder of a run."""
    data_name: Annotated[str | None, tyro.conf.arg(name="data.name", metavar="NAME")] = None
    """The images to train on: folder:PATH, tfds:NAME or the like."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    source, rest = source_of(Source, PROG, arguments)
    return train(finetuning(source.network, source.weights, source.data_name), rest, f"{PROG} {source.network}")
