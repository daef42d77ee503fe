"""Dropout: the networks that two steps of training draw, and the one that is evaluated."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.style import DARK, GREY, INK, SMALL, bare, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = (4, 6, 6, 3)
"""The units of each layer, from the inputs to the outputs; those between are dropped."""
RATE = 0.5
"""The share of units that is dropped."""


def factors(step: int | None) -> list[np.ndarray]:
    """Returns what dropout multiplies the units of each layer by: 0, or 1 / (1 - rate); always 1 in evaluation.

    Args:
        step: the step of training, whose draw it is; None for evaluation.
    """
    found = []
    for number, units in enumerate(UNITS):
        hidden = 0 < number < len(UNITS) - 1
        layer = nn.Dropout(RATE, deterministic=step is None or not hidden)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), step or 0), number)
        found.append(np.asarray(layer.apply({}, jnp.ones(units), rngs={"dropout": key})))
    return found


def draw_dropout(material: Material) -> "Figure":
    """Draws two draws of training and the evaluation side by side; takes nothing of the material."""
    del material
    figure = new_figure(f"Dropout at a rate of {RATE:g}: each step trains another network")
    titles = {"training, step 1": 1, "training, step 2": 2, "evaluation": None}
    for axis, (title, step) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        _draw_units(axis, factors(step))
        axis.set_title(title)
    note = (
        "in a unit stands the factor of its output: training drops hidden units (0), "
        f"and scales those that stay by 1 / (1 \N{MINUS SIGN} rate) = {1 / (1 - RATE):g}"
    )
    figure.supxlabel(note, fontsize=SMALL + 1)
    return figure


def _draw_units(axis: "Axes", layers: Sequence[np.ndarray]) -> None:
    from matplotlib.patches import Circle

    bare(axis, 10, 13)
    radius = 0.78
    places = [
        [(10 * (number + 0.5) / len(layers), 6.5 + 2.05 * (unit - (len(layer) - 1) / 2)) for unit in range(len(layer))]
        for number, layer in enumerate(layers)
    ]
    for (before, after), (start, end) in zip(itertools.pairwise(layers), itertools.pairwise(places), strict=True):
        for from_unit, to_unit in np.argwhere(np.outer(before, after)):
            (x, y), (x_end, y_end) = start[from_unit], end[to_unit]
            axis.plot([x, x_end], [y, y_end], color=GREY, linewidth=1.1, zorder=1)
    for layer, centres in zip(layers, places, strict=True):
        for factor, (x, y) in zip(layer, centres, strict=True):
            kept = bool(factor)
            axis.add_patch(
                Circle(
                    (x, y),
                    radius,
                    facecolor=DARK if kept else "white",
                    edgecolor=INK,
                    linewidth=1.5,
                    linestyle="solid" if kept else "dashed",
                    zorder=2,
                )
            )
            colour = "white" if kept else INK
            axis.text(x, y, f"{factor:g}", ha="center", va="center", color=colour, fontsize=SMALL, zorder=3)
