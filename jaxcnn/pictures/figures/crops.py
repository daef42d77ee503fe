"""The crops of 224 by 224 pixels that networks see of an image whose short side has 256."""

from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.config import CenterCrop, TenCrop
from jaxcnn.data.crop import CropError, center_box, cut, with_short_side
from jaxcnn.data.views import cut_views
from jaxcnn.errors import UserError
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.style import INK, SMALL, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHORT, SIZE = 256, 224
"""The short side of the scaled image and the side of the crops, in pixels."""
NAMES = ("top left", "top right", "bottom left", "bottom right", "centre")
"""The names of the five windows, in the order of the crops. Those of the mirrored square follow likewise."""


def corners() -> np.ndarray:
    """Returns the top and left of the five windows in the 256 by 256 square, in pixels: (5, 2).

    They are read off the crops of a picture whose pixels are their own places.
    """
    places = np.moveaxis(np.indices((SHORT, SHORT, 1), np.uint8)[:, :, :, 0], 0, -1)
    picture = np.concatenate([places, np.zeros((SHORT, SHORT, 1), np.uint8)], -1)
    return cut_views(picture, TenCrop(size=SIZE, short_sides=(SHORT,)))[:5, 0, 0, :2].astype(int)


def draw_crops(material: Material) -> "Figure":
    """Draws where the ten crops of the evaluation lie in the material's photograph, and the crops themselves.

    Raises:
        UserError: the photograph is too elongated to be scaled, or matplotlib is not installed.
    """
    try:
        scaled = with_short_side(material.photograph, SHORT, "bilinear")
    except CropError as error:
        raise UserError(f"the photograph {error}: give another") from None
    views = cut_views(material.photograph, TenCrop(size=SIZE, short_sides=(SHORT,)))
    figure = new_figure("Crops of 224 out of 256: ten views of one image in evaluation")
    grid = figure.add_gridspec(3, 1 + len(NAMES), width_ratios=(2.8, *[1] * len(NAMES)))
    axis = figure.add_subplot(grid[:, 0])
    axis.imshow(scaled)
    top, start = center_box(*scaled.shape[:2], SHORT)
    _outline(axis, (start, top), SHORT)
    _without_marks(axis)
    height, width = scaled.shape[:2]
    positions = SHORT - SIZE + 1
    axis.set_title(f"the short side scaled to {SHORT}:\n{width}\N{MULTIPLICATION SIGN}{height}", fontsize=SMALL + 2)
    training = (
        f"{positions} \N{MULTIPLICATION SIGN} {positions} positions,\nmirrored or not, are {2 * positions**2:,} crops."
    )
    square_size = f"{SHORT}\N{MULTIPLICATION SIGN}{SHORT}"
    note = f"outlined: the centre square of {square_size}.\n\nTraining draws the window:\n{training}"
    axis.set_xlabel(note + (material.credit and f"\n\n{material.credit}"), fontsize=SMALL, loc="left")
    square, mirrored = centre(material.photograph), len(NAMES)
    rows = np.array([[figure.add_subplot(grid[i, 1 + j]) for j in range(mirrored)] for i in range(3)])
    for number, (row, column) in enumerate(corners()):
        windows, crops, others = rows[:, number]
        veiled = square // 3 + 170
        veiled[row : row + SIZE, column : column + SIZE] = square[row : row + SIZE, column : column + SIZE]
        windows.imshow(veiled)
        _outline(windows, (column, row), SIZE)
        windows.set_title(NAMES[number], fontsize=SMALL)
        crops.imshow(views[number])
        others.imshow(views[number + mirrored])
    for axis in rows.flat:
        _without_marks(axis)
    for axis, text in zip(rows[:, 0], ("window", "cut", "mirrored, cut"), strict=True):
        axis.set_ylabel(text, fontsize=SMALL)
    return figure


def _outline(axis: "Axes", corner: tuple[int, int], side: int) -> None:
    from matplotlib.patches import Rectangle

    for colour, width in (("white", 5), (INK, 2.5)):
        axis.add_patch(Rectangle(corner, side - 1, side - 1, fill=False, edgecolor=colour, linewidth=width))


def centre(photograph: np.ndarray) -> np.ndarray:
    """Returns the 256 by 256 centre square that the ten crops are cut from."""
    return cut(photograph, CenterCrop(size=SHORT, resize=SHORT))


def _without_marks(axis: "Axes") -> None:
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
