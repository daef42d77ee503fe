"""All figures of the lecture, by name: a new one is a function in a file of this folder, and a line here."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from jaxcnn.errors import UserError, nearest, writing
from jaxcnn.pictures.figures.blocks import draw_inception, draw_residual
from jaxcnn.pictures.figures.convolution import draw_convolution
from jaxcnn.pictures.figures.crops import draw_crops
from jaxcnn.pictures.figures.depth import draw_depth
from jaxcnn.pictures.figures.dropout import draw_dropout
from jaxcnn.pictures.figures.errors import draw_errors
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.momentum import draw_momentum
from jaxcnn.pictures.figures.product import draw_product
from jaxcnn.pictures.figures.style import AS_TEXT, SETTINGS, save
from jaxcnn.pictures.pyplot import import_pyplot
from jaxcnn.text import escaped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Format = Literal["svg", "png"]
Letters = Literal["outlines", "text"]
"""What the letters of an SVG are: outlines look the same everywhere, text is smaller and can be searched and copied."""


class Drawing(NamedTuple):
    """A figure of the lecture."""

    subject: str
    """What it shows, in a few words."""
    draw: "Callable[[Material], Figure]"
    """The function that draws it."""


FIGURES: dict[str, Drawing] = {
    "convolution": Drawing("the convolution layer and its output sizes", draw_convolution),
    "product": Drawing("convolution as a matrix product, with real numbers", draw_product),
    "errors": Drawing("top-5 error over the years, beside SIFT with Fisher vectors", draw_errors),
    "depth": Drawing("the revolution of depth", draw_depth),
    "dropout": Drawing("the networks that dropout draws", draw_dropout),
    "crops": Drawing("the crops of 224 out of 256", draw_crops),
    "inception": Drawing("an Inception module, traced", draw_inception),
    "residual": Drawing("residual blocks, traced", draw_residual),
    "momentum": Drawing("momentum on a ravine", draw_momentum),
}


def check_names(names: Sequence[str]) -> list[str]:
    """Returns the figures that are asked for, each once; all where none is named.

    Raises:
        UserError: there is no such figure.
    """
    for name in names:
        if name not in FIGURES:
            raise UserError(f"there is no figure {escaped(name)}: {nearest(name, FIGURES)}")
    return list(dict.fromkeys(names or FIGURES))


def write_figures(
    names: Sequence[str],
    folder: Path,
    formats: Sequence[Format],
    material: Material,
    letters: Letters = "outlines",
) -> Iterator[Path]:
    """Draws figures into a folder, which is made if need be; yields each file once it is written.

    Args:
        names: the names of figures; all where there are none.
        folder: the folder.
        formats: the formats, of each of which every figure has a file.
        material: what they are drawn from.
        letters: what the letters of an SVG are.

    Raises:
        UserError: there is no such figure, matplotlib is not installed, or the folder cannot be written.
        MachineError: the disk is full, or fails.
    """
    chosen, pyplot = check_names(names), import_pyplot()
    settings = {**SETTINGS, **(AS_TEXT if letters == "text" else {})}
    with writing(folder, "give another --out"):
        folder.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        for kind in dict.fromkeys(formats):
            path = folder / f"{name}.{kind}"
            # A figure is drawn anew for each file: writing one changes how it is laid out the next time.
            with pyplot.rc_context(settings), writing(path, "give another --out"):
                save(FIGURES[name].draw(material), path)
            yield path
