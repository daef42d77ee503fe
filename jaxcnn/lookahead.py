"""Bounded numbers of results between those who start them and those who need them."""

import collections
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

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


class Delay(Generic[T]):
    """Gives each value back a fixed number of calls later, when a device has long computed it and nobody need wait.

    >>> delay = Delay(2)
    >>> [delay(value) for value in "abcd"]
    [None, None, 'a', 'b']

    Args:
        calls: how many calls later.
    """

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._held: collections.deque[T] = collections.deque()

    def __call__(self, value: T) -> T | None:
        """Takes a value, and returns that of so many calls before; None where there were not so many."""
        self._held.append(value)
        return self._held.popleft() if len(self._held) > self._calls else None
