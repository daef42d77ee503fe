"""What the layers of a network put out for an image."""

from collections.abc import Sequence

import jax
import numpy as np

from jaxcnn.devices.settings import own_settings
from jaxcnn.features.layers import extractor
from jaxcnn.trained import Trained


@own_settings()
def feature_maps(network: Trained, pixels: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns what layers put out for an image, by their names, each float32 (height, width, channels) or (values,).

    Args:
        network: the network.
        pixels: the image, uint8 (height, width, channels), as `seen_pixels` returns it.
        names: the names of the layers, as `jaxcnn.features.extraction.layers` lists them.
    """
    compute = jax.jit(extractor(network.model, network.normalization, names, "none"))
    return {name: np.asarray(found[0]) for name, found in compute(network.variables, pixels[None]).items()}


def strongest(maps: np.ndarray, count: int) -> np.ndarray:
    """Returns the channels of a map with the highest means, best first: int (count or all of them,)."""
    return np.argsort(-maps.mean((0, 1)), kind="stable")[:count]
