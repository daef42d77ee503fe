"""Work done ahead by threads: in order, bounded, and cancelled when nobody wants it any more."""

import threading

import pytest

from jaxcnn.data.threads import map_ahead


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order(workers):
    assert list(map_ahead(lambda number: number**2, range(20), workers=workers, depth=5)) == [n**2 for n in range(20)]


def test_without_workers_nothing_is_done_ahead():
    taken, done = [], []
    results = map_ahead(done.append, (taken.append(n) or n for n in range(5)), workers=0, depth=3)
    next(results)
    assert (taken, done) == ([0], [0])


def test_items_are_taken_as_they_are_needed():
    taken = []
    results = map_ahead(str, (taken.append(n) or n for n in range(10)), workers=2, depth=3)
    assert taken == []
    assert [next(results), next(results)] == ["0", "1"]
    assert taken == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_when_its_result_is_asked_for(workers):
    results = map_ahead(lambda number: 1 // (2 - number), range(10), workers=workers, depth=5)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closing_cancels_what_no_thread_has_begun():
    begun, go_on = [], threading.Event()

    def work(number):
        begun.append(number)
        if number:
            go_on.wait(5)

    before = set(threading.enumerate())
    results = map_ahead(work, range(100), workers=1, depth=10)
    next(results)
    results.close()
    go_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
    assert len(begun) <= 2
