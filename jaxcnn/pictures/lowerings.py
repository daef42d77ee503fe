"""A plot of how long each lowering of a network's convolutions takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowerings import LOWERINGS, LoweringName
from jaxcnn.ops.rules import DIRECTIONS, Direction
from jaxcnn.pictures.pyplot import import_pyplot


class Timing(Protocol):
    """The times that are drawn for one convolution in one direction, as `jaxcnn.benchmarks.convolutions.Timing` has."""

    @property
    def shape(self) -> ConvShape:
        """The convolution."""

    @property
    def direction(self) -> Direction:
        """One of `DIRECTIONS`."""

    @property
    def seconds(self) -> Mapping[LoweringName, float]:
        """The time of one call, by lowering."""

    @property
    def chosen(self) -> LoweringName:
        """The lowering that ``auto`` takes."""


def plot_timings(timings: Sequence[Timing], path: Path) -> None:
    """Draws each convolution's lowerings side by side, milliseconds on a logarithmic axis, the chosen one outlined.

    Raises:
        UserError: matplotlib is not installed.
    """
    pyplot = import_pyplot()
    figure, axes = pyplot.subplots(1, 3, figsize=(16, 0.22 * len(timings) + 2), sharey=True, layout="constrained")
    colours = dict(zip(LOWERINGS, pyplot.get_cmap("tab10").colors, strict=False))
    for axis, direction in zip(axes, DIRECTIONS, strict=True):
        rows = [timing for timing in timings if timing.direction == direction]
        for row, timing in enumerate(rows):
            for name, seconds in timing.seconds.items():
                chosen = name == timing.chosen
                axis.scatter(1e3 * seconds, row, color=colours[name], s=60, edgecolors="black" if chosen else "none")
        axis.set(xscale="log", xlabel="milliseconds", title=direction.replace("_", " "))
        axis.grid(axis="x", alpha=0.3)
        axis.margins(y=0.5 / len(rows))
    labels = [
        f"{s.kernel[0]}x{s.kernel[1]}/{s.strides[0]} {s.images[1]}² {s.images[3]}→{s.kernel[3]} g{s.groups}"
        for s in (timing.shape for timing in rows)
    ]
    axes[0].set_yticks(range(len(labels)), labels, fontsize=8)
    axes[0].invert_yaxis()
    handles = [pyplot.Line2D([], [], marker="o", linestyle="", color=colours[name], label=name) for name in LOWERINGS]
    axes[-1].legend(handles=handles, title="lowering (outlined: auto)")
    figure.savefig(path, dpi=120)
