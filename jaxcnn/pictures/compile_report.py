"""Plots of a compile report: bars made of parts, for the points of a grid and for the layers of each point."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from jaxcnn.errors import writing
from jaxcnn.pictures.pyplot import import_pyplot
from jaxcnn.text import escaped

_COLUMNS = 4
"""The most panels beside one another."""


class Panel(Protocol):
    """One panel of bars, as `jaxcnn.laboratory.compile_panels.Panel` has it."""

    @property
    def title(self) -> str:
        """What the bars show, with its unit."""

    @property
    def labels(self) -> Sequence[str]:
        """The name of each bar, from top to bottom."""

    @property
    def parts(self) -> Mapping[str, Sequence[float]]:
        """The parts of the bars by name: of each the length in each bar."""


def plot_bars(title: str, panels: Sequence[Panel], path: Path) -> None:
    """Draws panels of horizontal bars that are made of parts; those of the same parts have the same colours.

    Args:
        title: the title of the picture.
        panels: the panels, at least one.
        path: the picture's file.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    pyplot = import_pyplot()
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    bars = max(len(panel.labels) for panel in panels)
    height = 1.3 + max(0.28 * bars, 0.9) + 0.2 * max(len(panel.parts) for panel in panels)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(5.2 * columns + 1.5, rows * height + 0.5), squeeze=False, layout="constrained"
    )
    palette = pyplot.get_cmap("tab20").colors
    colours = [*palette[::2], *palette[1::2]]  # the strong ones first
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for index, (axis, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        places, left = range(len(panel.labels)), [0.0] * len(panel.labels)
        for part, (name, lengths) in enumerate(panel.parts.items()):
            axis.barh(places, lengths, left=left, color=colours[part % len(colours)], label=escaped(name), height=0.75)
            left = [start + length for start, length in zip(left, lengths, strict=True)]
        axis.set_title(panel.title, fontsize=10, parse_math=False)
        is_as_before = index % columns > 0 and panel.labels == panels[index - 1].labels
        axis.set_yticks(places, ["" if is_as_before else escaped(label) for label in panel.labels], fontsize=8)
        axis.set_ylim(len(panel.labels) - 0.4, -0.6)
        axis.set_xlim(0, 1.05 * max(left, default=0) or 1)
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.35 / height), ncols=2, frameon=False)
    figure.suptitle(title, fontsize=11, parse_math=False)
    with writing(path, "name another picture"):
        figure.savefig(path, dpi=110)
    pyplot.close(figure)
