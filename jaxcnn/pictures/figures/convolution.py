"""The convolution layer: where its window stands, and the sizes that come out."""

from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.style import DARK, INK, LIGHT, PALE, SMALL, bare, draw_cells, draw_table, new_figure
from jaxcnn.pictures.figures.traced import convolutions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EXAMPLES = tuple(
    ConvShape((1, 5, 5, 1), (3, 3, 1, 1), (stride, stride), ((pad, pad), (pad, pad)))
    for stride, pad in ((1, 0), (1, 1), (2, 1))
)
"""The convolutions whose windows are drawn: 3x3 over 5x5 at other strides and paddings."""
NETWORKS = ("lenet", "alexnet_2012", "vgg16", "resnet18")
"""The networks whose first convolution is a row of the table."""


def table(networks: tuple[str, ...] = NETWORKS) -> list[list[str]]:
    """Returns the rows of the table of first convolutions, from the traced networks; the first row is the head."""
    rows = [["first convolution of", "input W", "window F", "stride S", "padding P", "output", "features"]]
    for name in networks:
        shape, outputs = convolutions(name)[0]
        assert shape.outputs == outputs, f"{name}: our own output size is not that of the traced network"
        images, kernel = (f"{each[1]}\N{MULTIPLICATION SIGN}{each[2]}" for each in (shape.images, (0, *shape.kernel)))
        before, after = shape.padding[0]
        padding = str(before) if before == after else f"{before} and {after}"
        size = f"{outputs[1]}\N{MULTIPLICATION SIGN}{outputs[2]}"
        rows.append([name, images, kernel, str(shape.strides[0]), padding, size, str(outputs[3])])
    return rows


def draw_convolution(material: Material) -> "Figure":
    """Draws the convolution layer; takes nothing of the material."""
    del material
    figure = new_figure("A convolution layer: output = \N{LEFT FLOOR}(W + 2P \N{MINUS SIGN} F) / S\N{RIGHT FLOOR} + 1")
    axes = figure.subplot_mosaic([[0, 1, 2], [3, 3, 3]], height_ratios=(1.35, 1))
    for number, shape in enumerate(EXAMPLES):
        _draw_windows(axes[number], shape)
    draw_table(axes[3], table(), (0, 0.24, 0.38, 0.52, 0.65, 0.79, 0.91), 0.2)
    return figure


def _draw_windows(axis: "Axes", shape: ConvShape) -> None:
    from matplotlib.patches import Rectangle

    pad, stride, window = shape.padding[0][0], shape.strides[0], shape.kernel[0]
    side, out = shape.images[1], shape.size[0]
    inside = np.full((side + 2 * pad,) * 2, "white", object)
    inside[pad : pad + side, pad : pad + side] = PALE
    bare(axis, 15.6, 8.8)
    top = 4 - len(inside) / 2
    left = 3.9 - len(inside) / 2
    draw_cells(axis, np.where(inside == PALE, np.nan, 0), (left, top), fills=inside)
    axis.annotate("", (9.6, 4), (7.9, 4), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 2})
    fills = np.full((out, out), "white", object)
    fills[0, 0] = LIGHT
    right, middle = 12.7 - out / 2, 4 - out / 2
    draw_cells(axis, np.full((out, out), np.nan), (right, middle), fills=fills)
    for number, style in ((0, "solid"), (1, "dashed")):
        for x, y, length in ((left + number * stride, top, window), (right + number, middle, 1)):
            frame = Rectangle((x, y), length, length, fill=False, edgecolor=DARK, linewidth=4 - number)
            frame.set(linestyle=style, zorder=4 - number)
            axis.add_patch(frame)
    sizes = f"({side} + 2\N{MIDDLE DOT}{pad} \N{MINUS SIGN} {window}) / {stride} + 1 = {out}"
    axis.text(7.8, 8.4, sizes, ha="center", va="center", fontsize=SMALL + 2)
    axis.set_title(f"F = {window}, S = {stride}, P = {pad}")
