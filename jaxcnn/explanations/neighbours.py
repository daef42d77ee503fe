"""The images of a data set that a network takes to be most like another."""

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxcnn.config import DataConfig
from jaxcnn.config.features import FeaturesConfig
from jaxcnn.data.opening import open_split
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.extraction import extract, layers
from jaxcnn.features.layers import choose, extractor
from jaxcnn.features.store import Features, file_of
from jaxcnn.trained import Trained

_ROWS = 4096
"""The images whose features are read together."""


class Neighbour(NamedTuple):
    """An image of a data set beside another."""

    name: str
    """The path or the record of the image."""
    class_name: str
    """The name of its class in the data set."""
    similarity: float
    """The cosine of the angle between the features of the two images: 1 where they point the same way."""
    pixels: np.ndarray
    """The crop of it that the network sees, uint8 (height, width, channels)."""


@own_settings()
def nearest_images(
    network: Trained,
    pixels: np.ndarray,
    data: DataConfig,
    *,
    workdir: Path | None = None,
    name: str = "network",
    count: int = 8,
) -> list[Neighbour]:
    """Returns the training images whose features are most like those of an image, nearest first.

    The features are the input of the network's last dense layer, which `jaxcnn.features` extracts.

    Args:
        network: the network.
        pixels: the image, uint8 (height, width, channels), as `seen_pixels` returns it.
        data: the data set, whose images are cropped as the network's own.
        workdir: the folder that keeps the features, as that of `jaxcnn features`: those that it holds are not computed
            again. By default they are forgotten.
        name: what that folder calls the network.
        count: the number of images.

    Raises:
        UserError: the network has no dense layer, the folder holds other features, or the data set cannot be read.
        Interrupted: a signal asked to stop; the folder keeps what is done.
    """
    if count < 1:
        raise UserError(f"the {count} nearest images are none: ask for at least 1")
    network = network.with_images_of(data)
    (layer,), split = choose(layers(network), None), data.train_split or "train"
    compute = jax.jit(extractor(network.model, network.normalization, [layer.name], FeaturesConfig.pooling))
    own = np.asarray(compute(network.variables, pixels[None])[layer.name]).reshape(-1)
    with contextlib.ExitStack() as stack:
        folder = workdir or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not extract(network, folder, (split,), name=name):
            raise Interrupted
        features = Features(file_of(folder, split), split)
        similar = np.concatenate(
            [
                _cosine(features.values(layer.name, slice(first, min(first + _ROWS, len(features)))), own)
                for first in range(0, len(features), _ROWS)
            ]
            or [np.zeros(0)]
        )
        similar[~features.known.astype(bool)] = -np.inf
        best = [int(row) for row in np.argsort(-similar, kind="stable")[:count] if np.isfinite(similar[row])]
        names, class_names, labels = features.names(), features.class_names, features.labels
    images = open_split(dataclasses.replace(network.data, residence="stream"), split)
    return [
        Neighbour(
            names[row],
            class_names[int(labels[row])],
            float(similar[row]),
            np.asarray(next(images.evaluation_batches(1, first=row))["image"][0]),
        )
        for row in best
    ]


def _cosine(rows: np.ndarray, own: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(own)
    return (rows @ own) / np.where(lengths > 0, lengths, 1)
