"""Batches that threads fill ahead of their consumer, alone or with processes that decode and cut for them.

Every image is written to its own slot of its batch, so a batch is the same for any number of threads and processes.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from jaxcnn.data.cutter import Uncut
from jaxcnn.data.processes import CuttingProcesses
from jaxcnn.data.threads import map_ahead

Batch = dict[str, np.ndarray]

_AHEAD = 3
"""The number of batches that are being filled, or are full, beside the one that was handed out."""
_PARTS_A_THREAD = 4
"""The number of parts for each thread that a batch is cut into: few, since every part costs Python; several, so that
the threads end together."""


_LEAST_PART = 8
"""The fewest images of a part that processes cut: each part costs them a message."""


class Load(Protocol):
    """A function from a position to an element, its parts by name; a pure function, called from many threads."""

    def __call__(self, position: int, /, *, uncut: bool) -> Mapping[str, ArrayLike | Uncut]:
        """Returns an element; where ``uncut`` is true, its ``image`` may be `Uncut`."""


def available_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stream(
    load: Load,
    layout: Mapping[str, tuple[tuple[int, ...], type]],
    first_step: int,
    last_step: int,
    *,
    batch_size: int,
    rows: np.ndarray,
    workers: int,
    processes: CuttingProcesses | None = None,
) -> Iterator[Batch]:
    """Yields some rows of the batches of steps ``first_step`` to ``last_step - 1``.

    Args:
        load: what returns the element at a position. Step s holds positions s * batch_size to
            (s + 1) * batch_size - 1.
        layout: what an element holds: its names, shapes and dtypes.
        first_step: where to begin.
        last_step: where to end.
        batch_size: the number of elements in a batch.
        rows: which of them are loaded, in this order.
        workers: the number of threads; 0 to load in the caller's thread, nothing ahead.
        processes: what cuts the images that ``load`` returns uncut; by default the threads do. An element of which an
            image cannot be cut is loaded once more, and cut by the thread.

    Raises:
        UserError: a process was ended from outside.
        Exception: what ``load`` raised, when its batch is asked for.
    """
    if processes is None:
        part = -(-len(rows) // (_PARTS_A_THREAD * max(workers, 1)))
    else:
        part = max(-(-len(rows) // (_PARTS_A_THREAD * processes.count)), _LEAST_PART)
    parts = [range(start, min(start + part, len(rows))) for start in range(0, len(rows), part)]

    def tasks() -> Iterator[tuple[int, Batch, range]]:
        for step in range(first_step, last_step):
            batch = {name: np.empty((len(rows), *shape), dtype) for name, (shape, dtype) in layout.items()}
            yield from ((step, batch, slots) for slots in parts)

    def put(step: int, batch: Batch, slot: int, *, uncut: bool) -> Uncut | None:
        """Loads an element into its slot; returns its image if that has still to be cut."""
        left = None
        for name, value in load(step * batch_size + int(rows[slot]), uncut=uncut).items():
            if isinstance(value, Uncut):
                left = value
            else:
                batch[name][slot] = value
        return left

    def fill(task: tuple[int, Batch, range]) -> Batch | None:
        """Fills one part of a batch; returns the batch if that is the last part."""
        step, batch, slots = task
        left = {slot: put(step, batch, slot, uncut=processes is not None) for slot in slots}
        images = {slot: image for slot, image in left.items() if image is not None}
        if processes is not None and images:
            cut = processes.cut(list(images.values()), [batch["image"][slot] for slot in images])
            for slot in itertools.compress(images, (not done for done in cut)):
                put(step, batch, slot, uncut=False)
        return batch if slots is parts[-1] else None

    filled = map_ahead(fill, tasks(), workers=workers, depth=_AHEAD * len(parts))
    with contextlib.closing(filled):
        yield from (batch for batch in filled if batch is not None)
