"""``synthetic[:CLASSES]``: gratings whose direction is their class, of any size and any number of classes."""

import re

import numpy as np

from jaxcnn.data.random import random_state
from jaxcnn.data.sources.source import Source, SourceRequest
from jaxcnn.errors import UserError

_SIZES = {"train": 1280, "test": 320}


def synthetic_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of the two splits."""
    return tuple(_SIZES)


def open_synthetic(request: SourceRequest) -> Source:
    """Opens one split: 1280 images are in ``train``, 320 in ``test``; they are ``request.image_size`` pixels a side.

    Raises:
        UserError: what follows the colon is not a number of classes.
    """
    if not re.fullmatch(r"[1-9]\d*|", request.rest):
        raise UserError(f"{request.name!r} must end in a number of classes, as in 'synthetic:10'")
    count, size = int(request.rest or 10), request.image_size
    across = np.arange(size)

    def read(index: int) -> tuple[np.ndarray, int]:
        # Integers only, so that every machine makes the same images. The wave's direction walks half way around a
        # diamond, one step a class, and 512 is one period.
        label = index % count
        rng = random_state(("train", "test").index(request.split), index)
        right = count - 2 * label
        down = count - abs(right)
        phase = (right * across + down * across[:, None]) * (512 * 4) // (count * size) + rng.randint(512)
        wave = np.abs(phase % 512 - 256) * 3 // 4
        return (wave[..., None] + rng.randint(64, size=(size, size, 3))).astype(np.uint8), label

    return Source(
        request.name,
        request.split,
        class_names=tuple(map(str, range(count))),
        size=_SIZES[request.split],
        read=read,
        describe=lambda index: f"image {index}",
    )
