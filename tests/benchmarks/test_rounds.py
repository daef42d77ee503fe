"""Ratios of contenders that took turns, and which of them say too little."""

import math

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.benchmarks import timing
from jaxcnn.benchmarks.rounds import Ratio, Rounds

TIMES = st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=3, max_size=9)


def test_a_ratio_is_the_median_of_those_of_the_rounds():
    rounds = Rounds({"a": [2.0, 40.0, 6.0], "b": [1.0, 10.0, 3.0]})  # the machine was slow in the second round
    assert rounds.ratio("a", "b") == Ratio(2.0, 3.0 / 2.0)
    assert rounds.ratio("b", "a").value == 0.5
    assert dict(rounds) == {"a": 6.0, "b": 3.0}
    assert dict(rounds.map(lambda seconds: 60 / seconds)) == {"a": 10.0, "b": 20.0}


@settings(deadline=None)
@given(TIMES, st.lists(st.floats(0.1, 10), min_size=9, max_size=9))
def test_what_slows_all_contenders_of_a_round_alike_changes_no_ratio(times, slowed):
    first, second = zip(*times, strict=True)
    quiet = Rounds({"a": first, "b": second}).ratio("a", "b")
    busy = Rounds(
        {name: [t * s for t, s in zip(each, slowed, strict=False)] for name, each in (("a", first), ("b", second))}
    ).ratio("a", "b")
    assert math.isclose(quiet.value, busy.value, rel_tol=1e-9)
    assert math.isclose(quiet.spread, busy.spread, rel_tol=1e-9)
    assert quiet.spread >= 1


@pytest.mark.parametrize(
    ("first", "text"),
    [
        ([2.0, 2.0, 2.1, 2.0], "2.00"),
        ([2.0, 3.0, 2.0, 3.0], "spread 1.50: not comparable, run again"),
        ([2.0, 2.0], "spread inf: not comparable, run again"),  # two rounds say nothing about how they differ
    ],
)
def test_rounds_that_differ_give_no_ratio(first, text):
    assert Rounds({"a": first, "b": [1.0] * 4}).ratio("a", "b").text(1.15) == text


def test_one_slow_round_of_five_hides_no_ratio():
    rounds = Rounds({"a": [2.0, 2.0, 9.0, 2.02, 2.01], "b": [1.0] * 5})
    assert rounds.ratio("a", "b").text(1.15, "{:5.1f} times") == "  2.0 times"
    assert rounds.ratio("a", "a").text(1.0) == "1.00"


def test_a_turn_repeats_a_short_call_and_a_long_one_ends_after_three(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    calls = {"short": 0, "long": 0}

    def call(name, seconds):
        calls[name] += 1
        clock[0] += seconds
        return jnp.zeros(())

    found = timing.take_turns(
        {"short": lambda: call("short", 0.008), "long": lambda: call("long", 0.5)}, rounds=5, seconds=1.0
    )
    assert calls == {"short": 1 + 5 * 3, "long": 1 + 3}
    assert {name: len(found.values_of[name]) for name in found} == {"short": 5, "long": 3}
    assert found["short"] == pytest.approx(0.008)
    assert found["long"] == pytest.approx(0.5)
