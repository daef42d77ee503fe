"""Whole images of any shape, in batches of one shape.

Every shape is compiled for once, so a batch must be of one shape and of one size. Images wait, each for others of its
shape; those that wait to the end go out in batches padded with zeros. (Taking one image at a time would compile as
often and leave all devices but one idle; padding images to few shapes would change what the network sees.)
"""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from jaxcnn.data.stream import Batch

Element = TypeVar("Element")

_AHEAD_A_THREAD = 4


def read_ahead(load: Callable[[int], Element], size: int, workers: int) -> Iterator[Element]:
    """Yields ``load(0)`` to ``load(size - 1)``, in order, loaded by threads ahead of whoever asks.

    Args:
        load: called from many threads.
        size: how many there are.
        workers: threads; 0 to load in the caller's, nothing ahead.

    Raises:
        Exception: what ``load`` raised, when its element is asked for.
    """
    if not workers:
        yield from map(load, range(size))
        return
    pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="whole")
    loading: collections.deque[concurrent.futures.Future[Element]] = collections.deque()
    try:
        for index in range(size):
            loading.append(pool.submit(load, index))
            if len(loading) > _AHEAD_A_THREAD * workers:
                yield loading.popleft().result()
        while loading:
            yield loading.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def by_shape(images: Iterable[tuple[np.ndarray, int, int]], batch_size: int) -> Iterator[Batch]:
    """Yields batches of images of one shape.

    Args:
        images: uint8 of shape ``(height, width, channels)``, with its index and label.
        batch_size: of all batches.

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
