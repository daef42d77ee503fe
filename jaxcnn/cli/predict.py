"""Names what is in image files.

jaxcnn predict PHOTO... [--model RUN_FOLDER] [--checkpoint best] [--weights-of ema] [--top-k 5] [--fold-batch-norm]
jaxcnn predict PHOTO... --model MODEL --weights SOURCE [--class-names FILE] [--ignore PATTERN]
jaxcnn predict PHOTO... --model FILE.stablehlo|FILE.onnx

A photograph is turned upright as its orientation in EXIF says. The exit code is 0, or 2 where some file could not be
read; the others are named all the same.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import rich.table
import rich.text
import tyro

from jaxcnn.cli.shared import WhichWeights, console
from jaxcnn.errors import EXIT_USER_ERROR, UserError
from jaxcnn.text import escaped


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Name what is in image files."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """The image files: JPEG, PNG and others."""
    model: str = "runs/lenet_digits"
    """A run folder, a model's name, or a file that `jaxcnn export` wrote as a program (.stablehlo,
    .onnx)."""
    which: Annotated[WhichWeights, tyro.conf.arg(name="")] = dataclasses.field(default_factory=WhichWeights)
    top_k: Annotated[int, tyro.conf.arg(metavar="K")] = 5
    """The number of classes to name; all of them where there are fewer."""
    upright: bool = True
    """Turn a photograph as its orientation in EXIF says. Data sets are read without that, as their benchmarks do."""
    fold_batch_norm: bool = False
    """Fold batch normalization into the convolutions before it, which is faster. Answers are the same up to
    rounding."""
    max_pixels: int | None = None
    """The most pixels that an image may have; by default the network's own data.max_pixels."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn predict", args=arguments)
    if not chosen.images:
        raise UserError("no image file is given: name at least one, as in `jaxcnn predict PHOTO.jpg`")
    network = chosen.which.load(chosen.model)
    if chosen.max_pixels is not None:
        data = dataclasses.replace(network.data, max_pixels=chosen.max_pixels)
        network = dataclasses.replace(network, data=data)
    if chosen.fold_batch_norm:
        network = network.folded()
    exit_code, output = 0, console()
    answers = network.predict_each(chosen.images, chosen.top_k, upright=chosen.upright)
    for path, answer in zip(chosen.images, answers, strict=True):
        if isinstance(answer, UserError):
            print(f"error: {answer}", file=sys.stderr)
            exit_code = EXIT_USER_ERROR
            continue
        title = rich.text.Text(escaped(str(path)), no_wrap=True, overflow="ignore")  # a path is looked for as a whole
        table = rich.table.Table("class", rich.table.Column("probability", justify="right"), title=title)
        for name, probability in answer:
            table.add_row(escaped(name), f"{probability:.4f}")
        output.print(table)
    return exit_code
