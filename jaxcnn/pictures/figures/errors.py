"""Top-5 error over the years of ILSVRC, beside SIFT with Fisher vectors."""

import re
from typing import TYPE_CHECKING

from jaxcnn.pictures.figures.entries import entries
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.style import DARK, GREY, INK, LIGHT, SMALL, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BESIDE = 0.2
"""How far right of its year the mark of a second stands, in years: it would hide the first otherwise."""


def draw_errors(material: Material) -> "Figure":
    """Draws the first two of each year, and the three methods that AlexNet's paper compares on the images of 2010."""
    figure = new_figure("Top-5 error of ILSVRC classification")
    years, methods = figure.subplots(1, 2, width_ratios=(2, 1), sharey=True)
    found = entries()
    winners = [each for each in found if each.place == 1]
    years.plot([each.year for each in winners], [each.top5_error for each in winners], color=GREY, linewidth=1.5)
    for kind, marker, colour, label in (
        ("features", "s", LIGHT, "designed features"),
        ("network", "o", DARK, "networks"),
    ):
        own = [each for each in found if each.kind == kind]
        for first in (True, False):
            some = [each for each in own if (each.place == 1) == first]
            years.scatter(
                [each.year + (not first) * _BESIDE for each in some],
                [each.top5_error for each in some],
                s=130 if first else 80,
                marker=marker,
                color=colour if first else "white",
                edgecolors=INK,
                linewidths=1.3,
                label=f"{label}, {'first' if first else 'second'}",
                zorder=3,
            )
    for each in winners:
        name = f"{each.name}\n{each.top5_error:.1f} %".replace("-S", "-\nS")
        place, align = ((0, 14), "center") if each.year >= 2014 else ((-9, -7), "right")
        look = {"textcoords": "offset points", "ha": align, "va": "top" if align == "right" else "bottom"}
        years.annotate(name, (each.year, each.top5_error), place, fontsize=SMALL, **look)
    seconds = [each for each in found if each.place == 2]
    for each in seconds:
        if each.year < 2014:
            corner = (each.year + _BESIDE, each.top5_error)
            years.annotate(each.name, corner, (9, 0), textcoords="offset points", va="center", fontsize=SMALL)
    late = [f"{each.year}  {each.name}, {each.top5_error:.1f} %" for each in seconds if each.year >= 2014]
    years.text(2014.1, 23, "\n".join(["second from 2014 on:", *late]), va="top", fontsize=SMALL, linespacing=1.4)
    years.set(xlabel="year", ylabel="top-5 error, %", xlim=(2008.7, 2017.9), xticks=range(2010, 2018), ylim=(0, 36))
    years.set_title("the test set of each year")
    years.grid(alpha=0.3)
    years.legend(fontsize=SMALL, loc="upper right")
    names = list(material.baselines)
    shown = methods.bar(
        range(len(names)),
        [material.baselines[name][5] for name in names],
        color=[DARK if "network" in name else LIGHT for name in names],
        edgecolor=INK,
        width=0.6,
    )
    methods.bar_label(shown, [f"{material.baselines[name][5]:.1f} %" for name in names], padding=3)
    methods.set_xticks(range(len(names)), [_wrapped(name) for name in names], fontsize=SMALL)
    methods.set_title("the test set of 2010")
    figure.supxlabel(f"left: official results of whole entries; right: {material.baselines_source}", fontsize=SMALL)
    return figure


def _wrapped(name: str) -> str:
    """Returns a name with a line for each word, and no line that is a plus sign alone."""
    return re.sub(r" (?!\+)", "\n", name)
