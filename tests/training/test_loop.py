from types import SimpleNamespace

import pytest

from jaxcnn.training import loop
from jaxcnn.training.loop import Plan, fit

STEP_SECONDS, SAVING_SECONDS, BATCH = 2.0, 1000.0, 8


class Clock:
    """A clock that goes on only when it is told to."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    return clock


def trained(clock, plan):
    """The lines for the log of a run whose steps do nothing but take time."""
    lines = []

    def take(state, totals, batch):
        clock.now += STEP_SECONDS
        return SimpleNamespace(step=state.step + 1), totals | {"images": totals["images"] + BATCH}

    def spend(*_):
        clock.now += SAVING_SECONDS
        return SimpleNamespace(metrics=dict)

    fit(
        SimpleNamespace(step=0),
        step=None,
        feed=SimpleNamespace(training=lambda first, last: iter([{}] * (last - first))),
        evaluate=spend,
        plan=plan,
        checkpoints=SimpleNamespace(save=spend),
        reporter=SimpleNamespace(
            evaluation=lambda *_: None, advance=lambda _: None, training=lambda _, line: lines.append(line)
        ),
        stop=lambda: False,
        compiled=take,
    )
    return [line["images_per_second"] for line in lines]


def test_neither_evaluation_nor_its_checkpoint_counts_as_a_steps_time(clock):
    plan = Plan(
        total_steps=4,
        evaluation_steps=frozenset({2, 4}),
        log_every_steps=1,
        save_every_steps=None,
        max_bad_steps=10,
        learning_rate=lambda _: 0.1,
    )
    assert trained(clock, plan) == [BATCH / STEP_SECONDS] * 4
