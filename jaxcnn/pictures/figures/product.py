"""Convolution as a matrix product, with the numbers of a small one."""

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowerings import gemm, patches
from jaxcnn.pictures.figures.material import Material
from jaxcnn.pictures.figures.style import DARK, LIGHT, PALE, SMALL, bare, draw_cells, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGE = np.array([[1, 0, 2, 1], [3, 1, 0, 2], [0, 2, 1, 1], [1, 0, 3, 2]], np.float32)
"""The image, (4, 4)."""
FILTERS = np.array([[[1, 0, -1], [1, 0, -1], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]], np.float32)
"""Two filters, (2, 3, 3): differences from left to right, and the Laplacian."""


class Product(NamedTuple):
    """A convolution as a product of two matrices."""

    patches: np.ndarray
    """The pixels under the window, a row for each of its positions: (positions, taps)."""
    kernel: np.ndarray
    """The filters, a column for each: (taps, features)."""
    outputs: np.ndarray
    """What the lowering ``gemm`` makes of image and filters: (out_height, out_width, features)."""


def example() -> Product:
    """Returns the convolution that is drawn, computed by the package's own lowering."""
    images = jnp.asarray(IMAGE)[None, :, :, None]
    kernel = jnp.asarray(FILTERS).transpose(1, 2, 0)[:, :, None]
    shape = ConvShape((1, 4, 4, 1), (3, 3, 1, 2))
    return Product(
        np.asarray(patches(images, shape)),
        np.asarray(kernel.reshape(-1, 2)),
        np.asarray(gemm(images, kernel, shape))[0],
    )


def draw_product(material: Material) -> "Figure":
    """Draws the image, the filters, the two matrices and their product; takes nothing of the material."""
    del material
    found = example()
    figure = new_figure("A convolution is a matrix product")
    axis = figure.subplots()
    bare(axis, 28, 16)

    window = np.full(IMAGE.shape, "white", object)
    window[:3, :3] = LIGHT
    _draw(axis, "image", IMAGE, (1, 1.6), window)
    axis.text(6.6, 3.6, "\N{ASTERISK OPERATOR}", ha="center", va="center", fontsize=26)
    for number, values in enumerate(FILTERS):
        _draw(
            axis, f"filter {number + 1}", values, (8.2 + 4.2 * number, 2.1), _fill(values, PALE if number == 0 else "")
        )
    axis.text(17.2, 3.6, "=", ha="center", va="center", fontsize=26)
    for number in range(2):
        values = found.outputs[..., number]
        fills = _fill(values, PALE if number == 0 else "")
        fills[0, 0] = LIGHT
        _draw(axis, f"output {number + 1}", values, (19 + 4.2 * number, 2.6), fills)

    rows = np.full(found.patches.shape, "white", object)
    rows[0] = LIGHT
    _draw(axis, "patches: a row for each position", found.patches, (1, 9.3), rows)
    axis.text(11.6, 11.3, "\N{MULTIPLICATION SIGN}", ha="center", va="center", fontsize=26)
    columns = np.full(found.kernel.shape, "white", object)
    columns[:, 0] = PALE
    _draw(axis, "filters: a column for each", found.kernel, (13.2, 6.9), columns)
    axis.text(17.2, 11.3, "=", ha="center", va="center", fontsize=26)
    product = found.patches @ found.kernel
    fills = np.full(product.shape, "white", object)
    fills[:, 0], fills[0] = PALE, LIGHT
    _draw(axis, "outputs", product, (19, 9.3), fills)
    note = "each column holds one\noutput, row by row"
    axis.text(22.2, 11.3, note, va="center", fontsize=SMALL, color=DARK)
    return figure


def _fill(values: np.ndarray, colour: str) -> np.ndarray:
    return np.full(values.shape, colour or "white", object)


def _draw(axis: "Axes", title: str, values: np.ndarray, corner: tuple[float, float], fills: np.ndarray) -> None:
    draw_cells(axis, values, corner, fills=fills, size=SMALL + 1)
    axis.text(corner[0] + values.shape[1] / 2, corner[1] - 0.55, title, ha="center", va="center", fontsize=SMALL + 1)
