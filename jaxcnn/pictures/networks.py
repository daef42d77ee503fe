"""Two plots of the networks: error against cost, and error and depth over the years of ILSVRC."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from jaxcnn.errors import UserError
from jaxcnn.models.variant import Published
from jaxcnn.pictures.pyplot import import_pyplot


class Network(Protocol):
    """The facts about a network that are drawn, as `jaxcnn.tables.networks.Row` has them."""

    @property
    def name(self) -> str:
        """The name of the network."""

    @property
    def family(self) -> str:
        """The name of its family."""

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of one image."""

    @property
    def published(self) -> Sequence[Published]:
        """The errors that others published."""


class Entry(NamedTuple):
    """A winner of ILSVRC's classification task, or a well-known runner-up."""

    year: int
    name: str
    top5_error: float
    """The error of the whole entry, which may be an ensemble, on the test set, in percent."""
    layers: int
    """The number of layers of the deepest network in it; 0 for a pipeline of features and support vector machines."""


# Errors are the official results of entries, not of single networks. Depths are from the papers; Clarifai's is that of
# the published network that it grew from (Zeiler and Fergus, arXiv:1311.2901).
ENTRIES = (
    Entry(2010, "NEC-UIUC\n(SIFT, LBP, SVM)", 28.191, 0),
    Entry(2011, "XRCE\n(Fisher vectors)", 25.77, 0),
    Entry(2012, "AlexNet\n(7 networks)", 15.315, 8),
    Entry(2013, "Clarifai\n(several networks)", 11.197, 8),
    Entry(2014, "VGG\n(7 networks)", 7.325, 19),
    Entry(2014, "GoogLeNet\n(7 networks)", 6.656, 22),
    Entry(2015, "ResNet\n(6 networks)", 3.567, 152),
)


def plot_error_against_cost(rows: Iterable[Network], path: Path) -> None:
    """Draws the published top-1 error of ILSVRC networks over their multiply-adds, in a colour for each family.

    The first published figure of a network is drawn; networks of other data sets, or without a figure, are left out.

    Raises:
        UserError: matplotlib is not installed, or no network is left.
    """
    pyplot = import_pyplot()
    drawn = [row for row in rows if row.published and "ILSVRC-2012 validation" in row.published[0].protocol]
    if not drawn:
        raise UserError("none of these networks has a published error on ILSVRC-2012's validation images to draw")
    families = sorted({row.family for row in drawn})
    figure, axis = pyplot.subplots(figsize=(13, 8), layout="constrained")
    pairs = pyplot.get_cmap("tab20").colors
    for family, colour in zip(families, pairs[::2] + pairs[1::2], strict=False):
        members = sorted((row for row in drawn if row.family == family), key=lambda row: row.multiply_adds)
        costs = [row.multiply_adds / 1e9 for row in members]
        errors = [row.published[0].top1_error for row in members]
        axis.plot(costs, errors, "o", color=colour, label=family, markersize=7)
        for row, cost, error in zip(members, costs, errors, strict=True):
            axis.annotate(row.name, (cost, error), xytext=(4, 3), textcoords="offset points", fontsize=6.5)
    axis.set(
        xscale="log",
        xlabel="multiply-adds of one image, in billions",
        ylabel="published top-1 error, %",
        title="ILSVRC-2012 validation: published errors, each by its own protocol",
    )
    axis.grid(alpha=0.3)
    axis.margins(x=0.1)
    axis.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def plot_depth(path: Path) -> None:
    """Draws the top-5 error of ILSVRC's entries over the years, and the depth of their networks.

    Raises:
        UserError: matplotlib is not installed.
    """
    pyplot = import_pyplot()
    figure, axis = pyplot.subplots(figsize=(11, 6), layout="constrained")
    positions = range(len(ENTRIES))
    bars = axis.bar(positions, [entry.top5_error for entry in ENTRIES], color="#9db8d6", width=0.6)
    axis.bar_label(bars, [f"{entry.top5_error:.1f} %" for entry in ENTRIES], padding=2)
    axis.set_xticks(positions, [f"{entry.year}\n{entry.name}" for entry in ENTRIES])
    axis.set(
        ylabel="top-5 error on the test set, %", ylim=(0, 32), title="ILSVRC classification: the revolution of depth"
    )
    layers = axis.twinx()
    layers.plot(positions, [entry.layers for entry in ENTRIES], "o-", color="#b3402a")
    for position, entry in zip(positions, ENTRIES, strict=True):
        text = f"{entry.layers} layers" if entry.layers else "shallow"
        layers.annotate(
            text, (position, entry.layers), (0, 9), textcoords="offset points", ha="center", color="#b3402a"
        )
    layers.set(ylabel="layers", ylim=(0, 175))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def plot_networks(rows: Iterable[Network], folder: Path) -> None:
    """Draws both plots into a folder, which is made if need be: ``error_against_cost.png`` and ``depth.png``.

    Raises:
        UserError: as `plot_error_against_cost`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plot_error_against_cost(rows, folder / "error_against_cost.png")
    plot_depth(folder / "depth.png")
