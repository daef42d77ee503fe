"""Starting a bounded number of results ahead of their consumer."""

import collections
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def ahead(results: Iterable[T], depth: int) -> Iterator[T]:
    """Yields results in order, each only after the ``depth`` results behind it were started too.

    ``results`` yields what was started and need not be done: a future, or arrays that a device still computes. With the
    bound, a fast producer neither waits for its consumer nor piles up everything: at most ``depth + 1`` results are
    held, the one that is handed out included. Nothing is started before the first is asked for.

    >>> list(ahead("abc", depth=2))
    ['a', 'b', 'c']

    Args:
        results: starts a result whenever the next one is asked for.
        depth: how many results are started beyond the one that is handed out; 0 for none.

    Raises:
        ValueError: ``depth`` is negative.
    """
    if depth < 0:
        raise ValueError(f"depth must be at least 0, not {depth}")
    started: collections.deque[T] = collections.deque()
    for result in results:
        started.append(result)
        if len(started) > depth:
            yield started.popleft()
    while started:
        yield started.popleft()
