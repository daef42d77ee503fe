"""Batches filled by threads, ahead of whoever asks for them.

Decoding and scaling release Python's lock, so threads are enough. Every image is written to its own slot, so a batch is
the same for any number of them.
"""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

Batch = dict[str, np.ndarray]

_AHEAD = 3
"""Batches being filled, or full, beside the one that was handed out."""
_CHUNKS_A_THREAD = 4
"""Into which each batch is cut: few, since every chunk costs Python; several, so that threads end together."""


def available_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stream(
    load: Callable[[int], Mapping[str, Any]],
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
        batch_size: elements a batch.
        rows: which of them are loaded, in this order.
        workers: threads; 0 to load in the caller's, nothing ahead.

    Raises:
        Exception: what ``load`` raised, when its batch is asked for.
    """

    def fill(batch: Batch, step: int, slots: range) -> None:
        for slot in slots:
            for name, value in load(step * batch_size + int(rows[slot])).items():
                batch[name][slot] = value

    def empty() -> Batch:
        return {name: np.empty((len(rows), *shape), dtype) for name, (shape, dtype) in layout.items()}

    if not workers:
        for step in range(first_step, last_step):
            batch = empty()
            fill(batch, step, range(len(rows)))
            yield batch
        return

    chunk = -(-len(rows) // (_CHUNKS_A_THREAD * workers))
    pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="stream")
    filling: collections.deque[tuple[Batch, list[concurrent.futures.Future[None]]]] = collections.deque()
    try:
        for step in range(first_step, last_step + _AHEAD):
            if step < last_step:
                batch = empty()
                slots = [range(start, min(start + chunk, len(rows))) for start in range(0, len(rows), chunk)]
                filling.append((batch, [pool.submit(fill, batch, step, each) for each in slots]))
            if step >= first_step + _AHEAD and filling:
                batch, parts = filling.popleft()
                for part in parts:
                    part.result()
                yield batch
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
