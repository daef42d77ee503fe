"""Whole images of any shape, in batches of one shape.

A network is compiled once for every shape, so all images of a batch must have one shape, and all batches one size. An
image waits until there are enough others of its shape; those that still wait at the end are put in batches padded with
zeros. (Batches of one image would be compiled as often, and leave all devices but one idle; padding the images to few
shapes would change what the network sees.)
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from jaxcnn.data.stream import Batch
from jaxcnn.data.threads import map_ahead

Element = TypeVar("Element")

_AHEAD_A_THREAD = 4
"""The number of images for each thread that are loaded ahead."""


def read_ahead(load: Callable[[int], Element], size: int, workers: int) -> Iterator[Element]:
    """Returns an iterator over ``load(0)`` to ``load(size - 1)``, in order, loaded by threads ahead of the consumer.

    Args:
        load: loads the element of an index; called from many threads.
        size: the number of elements.
        workers: the number of threads; 0 to load in the caller's thread, nothing ahead.

    Raises:
        Exception: what ``load`` raised, when its element is asked for.
    """
    return map_ahead(load, range(size), workers=workers, depth=_AHEAD_A_THREAD * workers)


def by_shape(images: Iterable[tuple[np.ndarray, int, int]], batch_size: int) -> Iterator[Batch]:
    """Yields batches of images of one shape.

    Args:
        images: each image, uint8 of shape ``(height, width, channels)``, with its index and label.
        batch_size: the number of images in every batch, padding included.

    Yields:
        ``image``, uint8 of shape ``(batch_size, height, width, channels)``; ``index`` and ``label``, int32; ``mask``,
        bool, False for padding.
    """
    waiting: dict[tuple[int, ...], list[tuple[np.ndarray, int, int]]] = collections.defaultdict(list)
    for element in images:
        group = waiting[element[0].shape]
        group.append(element)
        if len(group) == batch_size:
            yield _batch(waiting.pop(element[0].shape), batch_size)
    for group in waiting.values():
        yield _batch(group, batch_size)


def _batch(group: list[tuple[np.ndarray, int, int]], batch_size: int) -> Batch:
    images, indices, labels = zip(*group, strict=True)
    missing = batch_size - len(group)
    padded = np.zeros((batch_size, *images[0].shape), np.uint8)
    padded[: len(group)] = images
    return {
        "image": padded,
        "index": np.array([*indices, *[0] * missing], np.int32),
        "label": np.array([*labels, *[0] * missing], np.int32),
        "mask": np.arange(batch_size) < len(group),
    }
