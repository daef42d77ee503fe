"""Bounded queues between the code that starts results and the code that needs them."""

import collections
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def ahead(results: Iterable[T], depth: int) -> Iterator[T]:
    """Yields results in order, each only after the next ``depth`` results have been started too.

    ``results`` yields results that have been started and need not be done: futures, or arrays that a device still
    computes. With the bound, a fast producer need not wait for its consumer and yet does not pile up everything: at
    most ``depth + 1`` results are held, the one that is handed out included. Nothing is started before the first result
    is asked for.

    Examples:
        >>> list(ahead("abc", depth=2))
        ['a', 'b', 'c']

    Args:
        results: an iterable that starts a result whenever the next one is asked for.
        depth: the number of results that are started beyond the one that is handed out.

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


class Delay(Generic[T]):
    """Returns each value a fixed number of calls later, when a device has long computed it, so that nothing waits.

    Examples:
        >>> delay = Delay(2)
        >>> [delay(value) for value in "abcd"]
        [None, None, 'a', 'b']

    Args:
        calls: the number of calls.
    """

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._held: collections.deque[T] = collections.deque()

    def __call__(self, value: T) -> T | None:
        """Takes a value, and returns the one of that many calls before; None where there were fewer calls."""
        self._held.append(value)
        return self._held.popleft() if len(self._held) > self._calls else None
