"""A plot of how a recipe scales: images a second and efficiency against chips, as ranges between two bounds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from jaxcnn.pictures.pyplot import import_pyplot


class Point(Protocol):
    """A prediction for a number of chips, as `jaxcnn.laboratory.scaling.Prediction` has it."""

    @property
    def chips(self) -> int:
        """The number of chips."""
        ...

    @property
    def rates(self) -> tuple[float, float]:
        """The images a second, without overlap and with all of it."""
        ...


P = TypeVar("P", bound=Point)


class Line(Protocol[P]):
    """Predictions for growing numbers of chips, as `jaxcnn.laboratory.scaling_report.Series` has them."""

    @property
    def predictions(self) -> Sequence[P]:
        """The predictions."""
        ...

    def efficiency(self, prediction: P) -> tuple[float, float]:
        """Returns the efficiency of one of them, without overlap and with all of it."""
        ...


class Run(Protocol):
    """A published run, as `jaxcnn.laboratory.published.PublishedRun` has it."""

    @property
    def series(self) -> str:
        """The framework, or the contest and who took part."""
        ...

    @property
    def chips(self) -> int:
        """The number of chips."""
        ...

    @property
    def images_per_second(self) -> float:
        """The images a second, over all chips."""
        ...


def plot_scaling(lines: Sequence[Line[P]], runs: Sequence[Run], title: str, path: Path) -> None:
    """Draws predicted images a second and efficiency against the number of chips; published runs are points beside.

    Args:
        lines: the predictions; each line's text is its name in the legend.
        runs: published runs of the same network and machine.
        title: what is predicted.
        path: the picture's file.

    Raises:
        UserError: matplotlib is not installed.
    """
    pyplot = import_pyplot()
    figure, (rates, shares) = pyplot.subplots(1, 2, figsize=(13, 6.5), layout="constrained")
    for number, line in enumerate(lines):
        colour = f"C{number % 10}"
        chips = [each.chips for each in line.predictions]
        for axis, bounds in (
            (rates, [each.rates for each in line.predictions]),
            (shares, [tuple(100 * bound for bound in line.efficiency(each)) for each in line.predictions]),
        ):
            low, high = zip(*bounds, strict=True)
            axis.fill_between(chips, low, high, color=colour, alpha=0.25, linewidth=0)
            axis.plot(chips, high, color=colour, linewidth=1.2, label=str(line))
            axis.plot(chips, low, color=colour, linewidth=1.2, linestyle="dashed")
    for number, series in enumerate(dict.fromkeys(each.series for each in runs)):
        own = [each for each in runs if each.series == series]
        marker = "osD^vP*X"[number % 8]
        rates.scatter(
            [each.chips for each in own],
            [each.images_per_second for each in own],
            marker=marker,
            color="black",
            facecolors="none",
            label=f"published: {series}",
            zorder=3,
        )
    for axis in (rates, shares):
        axis.set_xscale("log", base=2)
        places = sorted({each.chips for line in lines for each in line.predictions} | {each.chips for each in runs})
        ticks = [place for place in places if place & (place - 1) == 0] or places
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=45)
        axis.minorticks_off()
        axis.set_xlabel("chips")
        axis.grid(alpha=0.3)
    rates.set(ylabel="images/s", yscale="log")
    shares.set(ylabel="images/s of a chip, in % of those of the first", ylim=(0, None))
    figure.suptitle(f"{title}: predicted, with all overlap (solid) and without any (dashed)")
    handles, labels = rates.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
