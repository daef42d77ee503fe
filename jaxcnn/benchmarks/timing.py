"""Fair timing on a machine that does other work too: candidates take turns, and their rounds are compared."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax

from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.types import PyTree

Name = TypeVar("Name")


def take_turns(candidates: Mapping[Name, Callable[[], PyTree]], *, rounds: int, seconds: float = 1.0) -> Rounds[Name]:
    """Times functions against each other.

    Each is called once to warm up, then all of them in turn, round by round, so that other work of the machine slows
    all alike.

    Args:
        candidates: functions that return JAX arrays; a call is over when these are computed.
        rounds: the most calls of each.
        seconds: the time after which a candidate that has been timed three times is not timed again.

    Returns:
        The seconds of each call, by candidate.
    """
    for call in candidates.values():
        jax.block_until_ready(call())
    taken: dict[Name, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            if len(taken[name]) < 3 or sum(taken[name]) < seconds:
                started = time.perf_counter()
                jax.block_until_ready(call())
                taken[name].append(time.perf_counter() - started)
    return Rounds(taken)
