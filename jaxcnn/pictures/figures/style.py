"""How the lecture's figures look, and how they are written: the same bytes for the same versions."""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.pictures.pyplot import import_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (13.33, 7.5)
"""The width and height of a figure, in inches: those of a slide."""
INK, DARK, LIGHT, GREY, PALE = "#1a1a1a", "#1f4e8c", "#f0b040", "#7a7a7a", "#e6eef8"
"""The colours. They differ in lightness, so that no two of them are told apart by hue alone."""
SMALL = 14
"""The smallest size of a font, in points: 7 where a slide is shrunk to half of its width."""
SETTINGS = MappingProxyType(
    {
        "font.size": 16,
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "axes.titlesize": 17,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.titlesize": 21,
        "svg.hashsalt": "jaxcnn",
        "svg.fonttype": "path",
    }
)
"""The settings of matplotlib under which figures are drawn and written."""
AS_TEXT = MappingProxyType(
    {
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans", "Verdana"],  # the second has letters of the same widths
        "svg.fonttype": "none",
    }
)
"""The settings that take the place of some of these where an SVG is to hold its letters as text."""


def new_figure(title: str) -> "Figure":
    """Returns an empty figure of a slide's size with a title.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = import_pyplot().figure(figsize=SIZE, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    figure.suptitle(title)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Writes a figure in the format that the file's name says, without the date, and closes it."""
    # The layout is solved anew for each figure, and may end in another last bit, which names in an SVG are made of.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        left, bottom, width, height = (round(number, 6) for number in axis.get_position(original=True).bounds)
        axis.set_position((left, bottom, width, height))
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, dpi=120, metadata=metadata)
    import_pyplot().close(figure)


def bare(axis: "Axes", width: float, height: float) -> None:
    """Makes a plain sheet of an axis: its unit is as long down as across, y grows downwards, and nothing is marked."""
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axis.axis("off")


def draw_cells(
    axis: "Axes",
    values: np.ndarray,
    corner: tuple[float, float],
    *,
    fills: np.ndarray | None = None,
    size: float = SMALL,
    cell: float = 1.0,
) -> None:
    """Draws a matrix as cells with numbers in them.

    Args:
        axis: a sheet as `bare` makes it.
        values: the numbers, (rows, columns); cells that are not finite stay empty.
        corner: the x and y of the top left.
        fills: the colours of the cells, (rows, columns) of strings; white by default.
        size: the size of the font, in points.
        cell: the side of a cell.
    """
    from matplotlib.patches import Rectangle

    left, top = corner
    for (row, column), value in np.ndenumerate(values):
        x, y = left + column * cell, top + row * cell
        fill = "white" if fills is None else str(fills[row, column])
        axis.add_patch(Rectangle((x, y), cell, cell, facecolor=fill, edgecolor=INK, linewidth=0.8))
        if np.isfinite(value):
            text = f"{value:g}".replace("-", "\N{MINUS SIGN}")
            axis.text(x + cell / 2, y + cell / 2, text, ha="center", va="center", fontsize=size)


def draw_table(axis: "Axes", rows: Sequence[Sequence[str]], places: Sequence[float], pitch: float) -> None:
    """Writes a table from the top of an axis on, whose first row is its head.

    Args:
        axis: an axis that shows nothing else; its unit becomes its own width and height.
        rows: the texts.
        places: the x of the left of each column, from 0 to 1.
        pitch: the distance of two rows.
    """
    axis.set(xlim=(-0.02, 1.02), ylim=(1, 0))
    axis.axis("off")
    for number, row in enumerate(rows):
        y = pitch * (number + 0.5)
        for place, text in zip(places, row, strict=True):
            axis.text(place, y, text, va="center", fontsize=SMALL + 1, weight="bold" if number == 0 else "normal")
    axis.plot([0, 1], [pitch, pitch], color=INK, linewidth=1)
