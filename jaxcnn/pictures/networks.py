"""A plot of the networks: error against cost."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

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


def plot_error_against_cost(rows: Iterable[Network], path: Path) -> None:
    """Draws the published top-1 error of ILSVRC networks over their multiply-adds, in a colour for each family.

    The first published figure of a network is drawn; networks of other data sets, or without a figure, are left out.
    The folder of the picture is made if need be.

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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
