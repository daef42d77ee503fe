"""Draws the lecture's figures from this package's own code, networks and stored tables; see docs/figures.md.

jaxcnn figures --list
jaxcnn figures [NAME ...] --out FOLDER [--formats svg] [--letters text] [--photograph FILE]
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.config import DataConfig
from jaxcnn.data.decode import DecodeError, decode
from jaxcnn.data.grounds import ground_reader
from jaxcnn.errors import UserError
from jaxcnn.paths import expanded
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.registry import FIGURES, Format, Letters, check_names, write_figures
from jaxcnn.tables.baselines import PUBLISHED, SOURCE
from jaxcnn.tables.networks import describe
from jaxcnn.text import escaped


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw the lecture's figures."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    """The figures to draw; by default all."""
    out: Path | None = None
    """The folder to draw to."""
    list: bool = False
    """Print the names of the figures and what they show."""
    formats: tuple[Format, ...] = ("svg", "png")
    """The formats to write."""
    letters: Letters = "outlines"
    """What the letters of an SVG are: outlines look the same everywhere; text is smaller, and can be searched and
    copied."""
    photograph: Path | None = None
    """The photograph to crop; by default one that comes with scikit-learn."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn figures", args=arguments)
    names = check_names(chosen.names)
    if chosen.list:
        for name in names:
            print(f"{name:12} {FIGURES[name].subject}")
        return 0
    if chosen.out is None:
        raise UserError("nothing says where to draw the figures: give --out FOLDER, or --list to see what there is")
    material = _material(chosen.photograph)
    for path in write_figures(names, expanded(chosen.out), chosen.formats, material, chosen.letters):
        print(path, flush=True)
    return 0


def _material(photograph: Path | None) -> Material:
    if photograph is None:
        credit = "photograph: danielbuechele, CC BY 2.0"
        pixels = ground_reader()("photographs/china.jpg")
    else:
        credit, path = "", expanded(photograph)
        try:
            pixels = decode(path.read_bytes(), 3, DataConfig.max_pixels)
        except OSError as error:
            raise UserError(f"the photograph {escaped(str(path))} cannot be read: {error.strerror}") from None
        except DecodeError as error:
            raise UserError(f"the photograph {escaped(str(path))} {error}: give another") from None
    return Material(lambda name: describe(name).depth, PUBLISHED, SOURCE, pixels, credit)
