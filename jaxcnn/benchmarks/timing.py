"""Fair timing on a machine that does other work too: candidates take turns, and their rounds are compared."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax

from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.types import PyTree

Name = TypeVar("Name")


TURN = 0.02
"""The seconds that a turn takes at least: a call of a millisecond would be lost in what else the machine does."""


def take_turns(candidates: Mapping[Name, Callable[[], PyTree]], *, rounds: int, seconds: float = 1.0) -> Rounds[Name]:
    """Times functions against each other.

    Each is called once to warm up, then all of them in turn, round by round, so that other work of the machine slows
    all alike. In a turn a function is called again until `TURN` has passed.

    Args:
        candidates: functions that return JAX arrays; a call is over when these are computed.
        rounds: the most turns of each.
        seconds: the time after which a candidate that has had three turns has no other.

    Returns:
        The seconds of a call in each turn, by candidate.
    """
    for call in candidates.values():
        jax.block_until_ready(call())
    taken: dict[Name, list[float]] = {name: [] for name in candidates}
    spent = dict.fromkeys(candidates, 0.0)
    for _ in range(rounds):
        for name, call in candidates.items():
            if len(taken[name]) < 3 or spent[name] < seconds:
                turn, calls = _turn(call)
                taken[name].append(turn / calls)
                spent[name] += turn
    return Rounds(taken)


def _turn(call: Callable[[], PyTree]) -> tuple[float, int]:
    """Returns the seconds that a turn took, and the calls in it."""
    started, calls = time.perf_counter(), 0
    while True:
        jax.block_until_ready(call())
        calls += 1
        if (elapsed := time.perf_counter() - started) >= TURN:
            return elapsed, calls
