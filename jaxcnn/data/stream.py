"""Batches that threads fill ahead of their consumer.

Every image is written to its own slot of its batch, so a batch is the same for any number of threads.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from jaxcnn.data.threads import map_ahead

Batch = dict[str, np.ndarray]

_AHEAD = 3
"""The number of batches that are being filled, or are full, beside the one that was handed out."""
_PARTS_A_THREAD = 4
"""The number of parts for each thread that a batch is cut into: few, since every part costs Python; several, so that
the threads end together."""


def available_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stream(
    load: Callable[[int], Mapping[str, ArrayLike]],
    layout: Mapping[str, tuple[tuple[int, ...], type]],
    first_step: int,
    last_step: int,
    *,
    batch_size: int,
    rows: np.ndarray,
    workers: int,
) -> Iterator[Batch]:
    """Yields some rows of the batches of steps ``first_step`` to ``last_step - 1``.

    Args:
        load: from a position to an element; a pure function, called from many threads. Step s holds positions
            s * batch_size to (s + 1) * batch_size - 1.
        layout: what an element holds: its names, shapes and dtypes.
        first_step: where to begin.
        last_step: where to end.
        batch_size: the number of elements in a batch.
        rows: which of them are loaded, in this order.
        workers: the number of threads; 0 to load in the caller's thread, nothing ahead.

    Raises:
        Exception: what ``load`` raised, when its batch is asked for.
    """
    part = -(-len(rows) // (_PARTS_A_THREAD * max(workers, 1)))
    parts = [range(start, min(start + part, len(rows))) for start in range(0, len(rows), part)]

    def tasks() -> Iterator[tuple[int, Batch, range]]:
        for step in range(first_step, last_step):
            batch = {name: np.empty((len(rows), *shape), dtype) for name, (shape, dtype) in layout.items()}
            yield from ((step, batch, slots) for slots in parts)

    def fill(task: tuple[int, Batch, range]) -> Batch | None:
        """Fills one part of a batch; returns the batch if that is the last part."""
        step, batch, slots = task
        for slot in slots:
            for name, value in load(step * batch_size + int(rows[slot])).items():
                batch[name][slot] = value
        return batch if slots is parts[-1] else None

    filled = map_ahead(fill, tasks(), workers=workers, depth=_AHEAD * len(parts))
    with contextlib.closing(filled):
        yield from (batch for batch in filled if batch is not None)
