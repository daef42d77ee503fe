"""The filters of a network's first convolution as one picture."""

import math
from typing import NamedTuple

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.features.layers import layers_of
from jaxcnn.pictures.grid import grid
from jaxcnn.trained import Trained

MOST_FILTERS = 256
"""The most filters that are drawn."""
_SIDE = 48
"""The side, in pixels, that a filter is enlarged to about, by a whole number."""
_COLUMNS = 16
"""The most filters in a row."""


class Filters(NamedTuple):
    """The filters of the first convolution."""

    layer: str
    """The name of the layer."""
    shape: tuple[int, ...]
    """The (height, width, channels, filters) of its kernel."""
    drawn: int
    """How many of them are in the picture."""
    picture: np.ndarray
    """The filters side by side, uint8 (height, width, 4), with nothing between them."""


def first_filters(network: Trained) -> Filters:
    """Returns the filters of the layer that sees the images, each scaled by its own largest weight; grey is 0.

    Raises:
        UserError: no layer is a convolution of pictures in grey or colour.
    """
    size = network.data.evaluation_crop.size
    layers = layers_of(network.model, network.variables, (size, size, network.data.channels))
    for layer in layers:
        kernel = _kernel(network, layer.name)
        if kernel is not None:
            if kernel.shape[2] not in (1, 3):
                raise UserError(f"{layer.name} sees {kernel.shape[2]} channels, which are no picture in grey or colour")
            chosen = kernel[..., :MOST_FILTERS]
            return Filters(layer.name, kernel.shape, chosen.shape[-1], drawn(chosen))
    raise UserError("no layer of this network is a convolution")


def _kernel(network: Trained, layer: str) -> np.ndarray | None:
    tree = network.variables["params"]
    for part in layer.split("/"):
        tree = tree.get(part, {}) if hasattr(tree, "get") else {}
    kernel = tree.get("kernel") if hasattr(tree, "get") else None
    return np.asarray(kernel) if kernel is not None and np.ndim(kernel) == 4 else None


def drawn(kernel: np.ndarray) -> np.ndarray:
    """Returns filters side by side, uint8 (height, width, 4).

    Args:
        kernel: float (height, width, 1 or 3, filters).
    """
    columns = min(_COLUMNS, math.ceil(math.sqrt(1.6 * kernel.shape[-1])))
    largest = np.abs(kernel).max((0, 1, 2), keepdims=True)
    grey = 127.5 + 127.5 * kernel / np.where(largest > 0, largest, 1)
    return grid(np.rint(grey).astype(np.uint8).transpose(3, 0, 1, 2), columns, _SIDE)
