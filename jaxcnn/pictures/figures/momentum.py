"""Momentum on a ravine: the paths of our own SGD with and without it."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.config import SGD, ScheduleConfig
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.style import DARK, GREY, LIGHT, SMALL, new_figure
from jaxcnn.training.optimizer import make_optimizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVATURES = np.array([0.1, 25.0])
"""The curvatures along the ravine and across it."""
START = (-10.0, 1.0)
RATE = 0.07
"""The learning rate: across the ravine, 1.75 of its inverse curvature, so that each step overshoots."""
STEPS = 60


def loss(place: jax.Array) -> jax.Array:
    """Returns half of the sum of curvature times square, for a place (..., 2)."""
    return 0.5 * (place**2 @ jnp.asarray(CURVATURES, place.dtype))


def path(momentum: float) -> np.ndarray:
    """Returns the places that SGD visits, the start among them: (steps + 1, 2)."""
    config = SGD(learning_rate=RATE, momentum=momentum, weight_decay=0.0, schedule=ScheduleConfig(kind="constant"))
    _, optimizer = make_optimizer(config, 1, STEPS)

    def step(carry: tuple[jax.Array, optax.OptState], _: None) -> tuple[tuple[jax.Array, optax.OptState], jax.Array]:
        place, state = carry
        updates, state = optimizer.update(jax.grad(loss)(place), state, place)
        place = place + jnp.asarray(updates)
        return (place, state), place

    start = jnp.array(START)
    _, visited = jax.lax.scan(step, (start, optimizer.init(start)), None, STEPS)
    return np.concatenate([[START], np.asarray(visited)])


def draw_momentum(material: Material) -> "Figure":
    """Draws both paths over the loss, and the loss by step; takes nothing of the material."""
    del material
    figure = new_figure(f"Momentum on a ravine: SGD at a learning rate of {RATE:g}")
    plane, curve = figure.subplots(2, 1, height_ratios=(1.3, 1))
    x, y = np.meshgrid(np.linspace(-11, 5, 160), np.linspace(-1.35, 1.35, 120))
    heights = np.asarray(loss(jnp.stack([jnp.asarray(x), jnp.asarray(y)], -1)))
    plane.contour(x, y, heights, levels=[0.05, 0.25, 0.8, 2, 4, 7, 11, 16], colors=GREY, linewidths=0.8)
    for momentum, colour, marker in ((0.0, LIGHT, "s"), (0.9, DARK, "o")):
        visited = path(momentum)
        label = f"momentum {momentum:g}"
        look = {"color": colour, "marker": marker, "markersize": 6, "markeredgecolor": "black", "markeredgewidth": 0.5}
        plane.plot(*visited.T, label=label, linewidth=2, **look)
        curve.semilogy(np.asarray(loss(jnp.asarray(visited))), label=label, markevery=4, linewidth=2, **look)
    plane.plot(0, 0, "X", color="black", markersize=13)
    plane.annotate(
        "minimum", (0, 0), (0.7, -1.15), fontsize=SMALL, arrowprops={"arrowstyle": "-"}, backgroundcolor="white"
    )
    plane.set(
        xlabel=f"along the ravine (curvature {CURVATURES[0]:g})", ylabel=f"across it\n(curvature {CURVATURES[1]:g})"
    )
    curve.set(xlabel="step", ylabel="loss", xlim=(0, STEPS))
    curve.grid(alpha=0.3)
    curve.legend(fontsize=SMALL)
    return figure
