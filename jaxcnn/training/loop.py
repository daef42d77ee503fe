"""The loop: it dispatches steps, and logs, evaluates and saves when these are due, until the end or a stop."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, SupportsFloat, cast

import jax
import numpy as np
import optax

from jaxcnn.devices.memory import settled
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.evaluation.result import Result
from jaxcnn.lookahead import Delay
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.profile import Profile
from jaxcnn.training.report import Reporter
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import Totals, TrainStep, totals_of
from jaxcnn.types import PyTree

STEPS_IN_FLIGHT = 3
"""The number of steps that the host may run ahead: enough that the devices never wait, with few batches in their
memory."""


class TrainingFeed(Protocol):
    """What yields training batches, such as a `jaxcnn.devices.feed.Feed`."""

    def training(self, first_step: int, last_step: int, /) -> Iterator[PyTree]:
        """Yields the batches of steps ``first_step`` to ``last_step - 1``."""
        ...


class TrainingError(UserError):
    """An error for training that cannot succeed any more."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is due after which step of a run."""

    total_steps: int
    evaluation_steps: frozenset[int]
    """The steps after which to evaluate; the last step is one of them."""
    log_every_steps: int
    save_every_steps: int | None
    """The number of steps from one save to the next; None where the state is saved only after every evaluation."""
    max_bad_steps: int
    """The number of bad steps in a row (see `make_train_step`) after which the run is given up."""
    learning_rate: optax.Schedule
    """The learning rate by step, for the log."""
    evaluated: Result | None = None
    """The evaluation of the state that training goes on from, where it was made before the run was interrupted."""
    sums: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The totals since the last line of the log, where training goes on from a step between two lines."""
    profile: Profile | None = None
    """A trace of some of the steps, where one is asked for."""
    after_compiling: Callable[[int], None] = lambda step: None
    """What is called with the number of the first step, once it is compiled."""


def fit(
    state: TrainState,
    *,
    step: TrainStep,
    feed: TrainingFeed,
    evaluate: Callable[[TrainState], Result],
    plan: Plan,
    checkpoints: Checkpoints,
    reporter: Reporter,
    stop: Callable[[], bool],
    compiled: jax.stages.Compiled | None = None,
) -> tuple[TrainState, Result | None]:
    """Trains to the last step of a plan.

    Args:
        state: the state to start from; its buffers are donated.
        step: the step that `make_train_step` returned.
        feed: what yields the batches that the step takes.
        evaluate: returns the errors of a state; it may raise `Interrupted`.
        plan: what is due after which step.
        checkpoints: where the state is saved.
        reporter: what progress and results are reported to.
        stop: polled at every step; several processes must get the same answers (see `AgreedStop`).
        compiled: the step where it is compiled already; by default it is compiled for the first batch.

    Returns:
        The state and the evaluation of the last step, or None instead of the evaluation where training was asked to
        stop before. Everything is saved in both cases.

    Raises:
        TrainingError: too many steps in a row were bad. Nothing new is saved then.
    """
    first_step, evaluated = int(state.step), plan.evaluated
    batches = feed.training(first_step, plan.total_steps)
    earlier = Delay[Totals](STEPS_IN_FLIGHT)
    totals, meter = totals_of(plan.sums), _Meter(images=int(plan.sums.get("images", 0)))
    for now in range(first_step, plan.total_steps + 1):
        due = now in plan.evaluation_steps and not (now == first_step and evaluated is not None)
        if due:
            try:
                evaluated = evaluate(state)
                reporter.evaluation(now, evaluated.metrics(), str(evaluated))
            except Interrupted:
                due = False
        stopping = stop()
        asked_for = plan.save_every_steps and now > first_step and now % plan.save_every_steps == 0
        if due or stopping or asked_for:
            checkpoints.save(now, state, evaluated.metrics() if due and evaluated else None, totals)
        if due:
            meter.restart()  # neither evaluation nor its checkpoint is the step's time
        if stopping:
            return state, None
        if now == plan.total_steps:
            break

        batch = meter.wait_for(batches)
        if compiled is None:
            compiled = step.lower(state, totals, batch).compile()
        if now == first_step:
            plan.after_compiling(now)
            meter.restart()
        state, totals = settled(compiled(state, totals, batch))
        # Reading these totals waits only for a step that is done or nearly done.
        past = earlier(totals)
        lost = past is not None and int(past["bad_in_row"]) >= plan.max_bad_steps
        reporter.advance(now + 1)
        if plan.profile is not None:
            plan.profile.after_step(totals)
        if lost or (now + 1) % plan.log_every_steps == 0 or now + 1 in plan.evaluation_steps:
            found = jax.device_get(totals)
            # Optax's type allows complex numbers too, which no learning rate is.
            rate = float(cast(SupportsFloat, plan.learning_rate(now)))
            reporter.training(now + 1, meter.read(found, learning_rate=rate))
            if lost or found["bad_in_row"] >= plan.max_bad_steps:
                in_row = f"by step {now + 1}, {plan.max_bad_steps} steps in a row"
                raise TrainingError(
                    f"{in_row} had a loss or gradient that is not finite: lower optimizer.learning_rate, lengthen "
                    "optimizer.schedule.warmup_epochs, or set optimizer.clip_norm"
                )
            totals = totals_of({}) | {"bad_in_row": totals["bad_in_row"]}
            meter.restart()
    return state, evaluated


class _Meter:
    """Measures time since it was last restarted, and the share of it spent waiting for data.

    Args:
        images: the number of images that the first line counts though an earlier process has seen them.
    """

    def __init__(self, images: int) -> None:
        self._earlier_images = images
        self.restart()

    def restart(self) -> None:
        self._waited, self._since = 0.0, time.perf_counter()

    def wait_for(self, batches: Iterator[PyTree]) -> PyTree:
        """Returns the next batch, and counts the time until it is there as waiting."""
        before = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - before
        return batch

    def read(self, found: Mapping[str, np.ndarray], learning_rate: float) -> dict[str, float]:
        """Returns a line for the log: the means over the steps that were summed, and the last one's learning rate."""
        elapsed, images = time.perf_counter() - self._since, int(found["images"])
        timed, self._earlier_images = images - self._earlier_images, 0
        return {
            "loss": float(found["loss"]) / images if images else math.nan,
            "top1_error": 100 * int(found["top1"]) / images if images else math.nan,
            "learning_rate": learning_rate,
            "images_per_second": timed / elapsed,
            "data_wait_share": self._waited / elapsed,
            "images": images,
            "bad_steps": int(found["bad_steps"]),
        }
