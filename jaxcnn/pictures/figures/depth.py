"""The revolution of depth: layers and errors of ILSVRC's entries up to ResNet."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from jaxcnn.pictures.figures.entries import Entry, entries
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.style import DARK, LIGHT, PALE, SMALL, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Bar(NamedTuple):
    """A bar of each half of the figure."""

    entry: Entry
    layers: int
    """The number of layers; 0 for features and support vector machines."""
    counted: bool
    """Whether the layers were counted in our network, and not published."""


def bars(depth: Callable[[str], int]) -> list[Bar]:
    """Returns the entries that are drawn: the winners up to 2015, and what else of that time consists of our networks.

    Args:
        depth: as in `Material`.
    """
    drawn = [each for each in entries() if each.year <= 2015 and (each.place == 1 or each.network)]
    drawn.sort(key=lambda each: (each.year, -each.top5_error))
    return [Bar(each, depth(each.network) if each.network else each.layers, bool(each.network)) for each in drawn]


def draw_depth(material: Material) -> "Figure":
    """Draws the layers of each entry, counted in our own networks, above its published error."""
    found = bars(material.depth)
    figure = new_figure("The revolution of depth: ILSVRC classification")
    layers, errors = figure.subplots(2, 1, sharex=True)
    places = range(len(found))
    shown = layers.bar(
        places,
        [each.layers for each in found],
        width=0.6,
        color=[DARK if each.counted else PALE for each in found],
        edgecolor=DARK,
        hatch=["" if each.counted or not each.layers else "//" for each in found],
    )
    texts = ["shallow" if not each.layers else f"{each.layers} layers" for each in found]
    layers.bar_label(shown, texts, padding=3)
    layers.set(ylabel="layers", ylim=(0, 178))
    note = "filled: counted by tracing this package's networks\nhatched: published, of a network like it"
    layers.text(0.01, 0.95, note, transform=layers.transAxes, va="top", fontsize=SMALL)
    shown = errors.bar(
        places,
        [each.entry.top5_error for each in found],
        width=0.6,
        color=[LIGHT if each.entry.kind == "features" else DARK for each in found],
        edgecolor="black",
    )
    errors.bar_label(shown, [f"{each.entry.top5_error:.1f} %" for each in found], padding=3)
    errors.set(ylabel="top-5 error, test set, %", ylim=(0, 33))
    errors.set_xticks(places, [f"{each.entry.year}\n{each.entry.name}" for each in found])
    figure.supxlabel("official results of whole entries, most of them of several networks", fontsize=SMALL)
    return figure
