"""Shows why a network answers as it does about an image.

    jaxcnn explain IMAGE [--model RUN_FOLDER] [--of CLASS] [--out page.html | --out sheet.png]
    jaxcnn explain IMAGE --model MODEL --weights SOURCE [--layers stage4_block1 last_map]
    jaxcnn explain IMAGE --model ... --neighbours-of DATA_SET [--features FOLDER]
    jaxcnn explain IMAGE --model ... --layers list

It writes the probabilities, Grad-CAM, integrated gradients, an occlusion map, the first layer's filters, feature maps
of each stage and, where a data set is given, the nearest training images, as one page of HTML that holds everything it
shows, or as one sheet in PNG. The exit code is 0; 75 where SIGTERM or SIGINT stopped the extraction of features.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.cli.shared import WhichWeights, print_layers
from jaxcnn.config import DataConfig
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.explanations.image import map_layers
from jaxcnn.paths import absolute, expanded
from jaxcnn.pictures.explanation import Asked, explain, write_explanation
from jaxcnn.pictures.sections import check_ending
from jaxcnn.recipes import run_folder
from jaxcnn.text import escaped
from jaxcnn.training.interrupt import EXIT_STOPPED


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Show why a network answers as it does about an image."""

    image: tyro.conf.Positional[Path]
    """The image file: JPEG, PNG and others."""
    asked: Annotated[Asked, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Asked)
    model: str = "runs/lenet_digits"
    """A run folder, or a model's name."""
    which: Annotated[WhichWeights, tyro.conf.arg(name="")] = dataclasses.field(default_factory=WhichWeights)
    neighbours_of: Annotated[str | None, tyro.conf.arg(metavar="DATA_SET")] = None
    """The data set whose training images are looked through for the nearest ones, as digits or folder:PATH."""
    data_dir: str | None = None
    """The folder in which the data set is kept; by default that of the network's own."""
    features: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """The folder that keeps the features of the data set's training images, as `jaxcnn features` writes it. Those that
    it holds are not computed again; by default they are not kept."""
    out: Path = Path("explanation.html")
    """The file to write, which ends in .html or .png."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn explain", args=arguments)
    check_ending(chosen.out)
    if chosen.features is not None and chosen.neighbours_of is None:
        raise UserError("--features keeps the features of a data set: name it with --neighbours-of")
    network = chosen.which.load(chosen.model)
    if chosen.asked.layers == ("list",):
        print_layers(map_layers(network))
        return 0
    data = None
    if chosen.neighbours_of is not None:
        data_dir = chosen.data_dir or network.data.data_dir
        data = DataConfig(name=chosen.neighbours_of, data_dir=data_dir, max_pixels=network.data.max_pixels)
    folder = run_folder(chosen.model)
    try:
        found = explain(
            *(network, chosen.image, chosen.asked, data),
            features=None if chosen.features is None else expanded(chosen.features),
            name=str(absolute(folder)) if folder else chosen.model,
        )
    except Interrupted:
        print("stopped as asked; with --features the same command goes on")
        return EXIT_STOPPED
    write_explanation(found, chosen.image.name, chosen.out)
    for name, probability in found.answer:
        print(f"{probability:.4f}  {escaped(name)}")
    print(f"{escaped(str(chosen.out))} explains {escaped(found.label)}")
    return 0
