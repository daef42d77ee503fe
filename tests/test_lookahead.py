"""Results come in order, and as many are started ahead as was asked for, never more."""

import pytest

from jaxcnn.lookahead import ahead


def counted(started, count):
    for number in range(count):
        started.append(number)
        yield number


@pytest.mark.parametrize("count", [0, 1, 3, 4, 10])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_order_and_depth(count, depth):
    started, results = [], []
    for number in ahead(counted(started, count), depth):
        results.append(number)
        assert len(started) == min(count, number + 1 + depth)
    assert results == list(range(count))


def test_nothing_is_started_before_it_is_asked_for():
    started = []
    results = ahead(counted(started, 5), 2)
    assert started == []
    assert next(results) == 0
    results.close()
    assert started == [0, 1, 2]


def test_closing_ends_the_results():
    ended = []

    def results():
        try:
            yield from range(5)
        finally:
            ended.append(True)

    taken = ahead(results(), 1)
    assert next(taken) == 0
    taken.close()
    assert ended == [True]


def test_negative_depth():
    with pytest.raises(ValueError, match="depth must be at least 0, not -1"):
        next(ahead([1], -1))
