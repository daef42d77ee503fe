"""Work that threads do ahead of its consumer.

Reading, decoding and scaling release Python's lock, so threads are enough for several cores; `jaxcnn.data.processes` is
for more.
"""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from jaxcnn.lookahead import ahead

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, depth: int
) -> Generator[Result]:
    """Yields ``function(item)`` of each item, in order, computed by threads ahead of the consumer.

    Closing the iterator cancels what no thread has begun.

    Args:
        function: called from many threads.
        items: taken in the caller's thread, none before it is needed.
        workers: the number of threads; 0 to compute in the caller's thread, nothing ahead.
        depth: how many items are computed, or wait for a thread, beyond the one whose result is handed out.

    Raises:
        Exception: what ``function`` raised, when that item's result is asked for.
    """
    if not workers:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="jaxcnn")
    try:
        for future in ahead((pool.submit(function, item) for item in items), depth):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
