"""Inception and residual blocks, as diagrams of this package's own modules."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxcnn.pictures.figures.diagram import Node, branches, join_of, size_of, trace
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.style import INK, LIGHT, PALE, SMALL, new_figure
from jaxcnn.pictures.figures.traced import block

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESIDUAL = (("resnet18", "stage1_block1"), ("resnet50", "stage1_block1"), ("resnet50", "stage2_block0"))
"""The networks and modules of the residual blocks: a basic one, a bottleneck, and one whose shortcut projects."""
INCEPTION = ("googlenet", "inception3a")

_LINE, _PAD, _GAP = 0.62, 0.35, 1.0
"""The height of a line, the margin above and below the lines of a box, and the least distance of two boxes."""


def draw_residual(material: Material) -> "Figure":
    """Draws three residual blocks; takes nothing of the material."""
    del material
    figure = new_figure("Residual blocks, traced from the networks themselves")
    for axis, (network, module) in zip(figure.subplots(1, 3), RESIDUAL, strict=True):
        draw_block(axis, trace(*block(network, module)), width=4.5)
        axis.set_title(f"{network}: {module}")
    return figure


def draw_inception(material: Material) -> "Figure":
    """Draws GoogLeNet's first Inception module; takes nothing of the material."""
    del material
    network, module = INCEPTION
    figure = new_figure(f"An Inception module, traced from the network itself: {network}, {module}")
    draw_block(figure.subplots(), trace(*block(network, module)), width=5.2)
    return figure


def draw_block(axis: "Axes", nodes: Sequence[Node], width: float) -> None:
    """Draws a block whose ways part at its input and meet once, from the top down.

    Args:
        axis: an axis that shows nothing else.
        nodes: the boxes, as `trace` returns them.
        width: the width of a box, in units of which a line of text is `_LINE` high.

    Raises:
        ValueError: the ways part or meet elsewhere.
    """
    end = join_of(nodes)
    ways = branches(nodes, end)
    pitch = width + 0.6
    columns = [pitch * (number - (len(ways) - 1) / 2) for number in range(len(ways))]
    start = _height(nodes[0])
    tops: dict[int, float] = {}
    lowest = 0.0
    for way in ways:
        y = start + _GAP
        for number in way:
            tops[number] = y
            y += _height(nodes[number]) + _GAP
        lowest = max(lowest, y)
    tops[0], tops[end] = 0.0, lowest + 0.3
    y = tops[end] + _height(nodes[end]) + _GAP
    for number in range(end + 1, len(nodes)):
        tops[number] = y
        y += _height(nodes[number]) + _GAP
    for way, x in zip(ways, columns, strict=True):
        _draw_way(axis, nodes, tops, way, end, x)
        for number in way:
            _draw_box(axis, nodes[number], x, tops[number], width)
    for number in (0, *range(end, len(nodes))):
        _draw_box(axis, nodes[number], 0, tops[number], width)
        if number > end:
            bottom = tops[number - 1] + _height(nodes[number - 1])
            axis.annotate("", (0, tops[number]), (0, bottom), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.5})
    side = max(columns) + width / 2 + 0.3
    axis.set(xlim=(-side, side), ylim=(y - _GAP + 0.2, -0.2))
    axis.axis("off")


def _height(node: Node) -> float:
    return _LINE * (len(node.lines) + 1) + _PAD


def _draw_way(
    axis: "Axes", nodes: Sequence[Node], tops: dict[int, float], way: Sequence[int], end: int, x: float
) -> None:
    """Draws the line of one way: from the input to its column, from box to box, and to the box that joins."""
    above, below = _height(nodes[0]) + _GAP * 0.45, tops[end] - _GAP * 0.5
    axis.plot([0, 0, x], [_height(nodes[0]), above, above], color=INK, linewidth=1.5, zorder=1)
    y = above
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.5, "shrinkA": 0, "shrinkB": 0}
    for number in way:
        axis.annotate("", (x, tops[number]), (x, y), arrowprops=arrow)
        y = tops[number] + _height(nodes[number])
    axis.plot([x, x, 0], [y, below, below], color=INK, linewidth=1.5, zorder=1)
    axis.annotate("", (0, tops[end]), (0, below), arrowprops=arrow)
    if not way:
        axis.text(x, (y + below) / 2, "identity", ha="center", va="center", fontsize=SMALL, backgroundcolor="white")


def _draw_box(axis: "Axes", node: Node, x: float, top: float, width: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    height = _height(node)
    joins = len(node.inputs) > 1
    fill = LIGHT if joins else PALE if node.inputs else "white"
    axis.add_patch(
        FancyBboxPatch(
            (x - width / 2, top),
            *(width, height),
            boxstyle="round,pad=0,rounding_size=0.2",
            facecolor=fill,
            edgecolor=INK,
            linewidth=1.3,
            zorder=2,
        )
    )
    for number, line in enumerate((*node.lines, size_of(node))):
        last = number == len(node.lines)
        axis.text(
            x,
            top + _PAD / 2 + _LINE * (number + 0.5),
            line,
            ha="center",
            va="center",
            fontsize=SMALL if last or number else SMALL + 1,
            color=INK,
            style="italic" if last else "normal",
            zorder=3,
        )
