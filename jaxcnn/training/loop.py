"""The loop: dispatch a step, now and then log, evaluate, save; stop when asked."""

import collections
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax

from jaxcnn.config import CheckpointConfig
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluate import Interrupted, Result
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.report import Reporter
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import zero_totals

STEPS_IN_FLIGHT = 3
"""How far the host may run ahead of the devices: enough to hide it, few enough that batches do not pile up."""


class TrainingError(UserError):
    """Training that leads nowhere."""


def fit(
    state: TrainState,
    *,
    first_step: int,
    total_steps: int,
    step: jax.stages.Wrapped,
    batches: Callable[[int], Iterator[dict[str, np.ndarray]]],
    put: Callable[[Any], Any],
    arrays: Any,
    learning_rate: optax.Schedule,
    log_every_steps: int,
    evaluate: Callable[[TrainState], Result],
    evaluation_steps: frozenset[int],
    evaluated: Result | None,
    checkpoints: Checkpoints,
    checkpoint_config: CheckpointConfig,
    reporter: Reporter,
    stop: Callable[[], bool],
    max_bad_steps: int,
) -> tuple[TrainState, Result | None]:
    """Trains from ``first_step`` to ``total_steps``.

    Args:
        state: where to start; its buffers are given up.
        first_step: ``state.step``, on the host.
        total_steps: where to end.
        step: what `make_train_step` returned.
        batches: from a step to the host batches of that step and the ones after it.
        put: places a host batch on the devices.
        arrays: the training images and labels where they live on the devices, else None.
        learning_rate: for the log.
        log_every_steps: steps between log lines.
        evaluate: may raise `Interrupted`.
        evaluation_steps: the steps after which to evaluate; the last step is one.
        evaluated: what an evaluation at ``first_step`` found, if it was made before the run was interrupted.
        checkpoints: where to save.
        checkpoint_config: when to save besides.
        reporter: whom to tell.
        stop: polled every step, in evaluation too; several processes must get the same answers (`AgreedStop`).
        max_bad_steps: how many steps in a row may be bad (see `make_train_step`) before the run is given up.

    Returns:
        The state, and the last step's evaluation; None instead of it if asked to stop before. Everything is saved
        either way.

    Raises:
        TrainingError: too many steps in a row were bad. Nothing is saved then but what had been.
    """
    feed = batches(first_step)
    compiled, in_flight = None, collections.deque()
    totals, waited, since = zero_totals(), 0.0, time.perf_counter()
    for now in range(first_step, total_steps + 1):
        due = now in evaluation_steps and not (now == first_step and evaluated is not None)
        if due:
            try:
                evaluated = evaluate(state)
                reporter.evaluation(now, evaluated.metrics(), str(evaluated))
            except Interrupted:
                due = False
        stopping = stop()
        asked_for = checkpoint_config.every_steps and now > first_step and now % checkpoint_config.every_steps == 0
        if due or stopping or asked_for:
            checkpoints.save(now, state, evaluated.metrics() if due else None)
        if stopping:
            return state, None
        if now == total_steps:
            break

        if due:
            since = time.perf_counter()
        before = time.perf_counter()
        batch = next(feed)
        waited += time.perf_counter() - before
        batch = put(batch)
        if compiled is None:
            compiled = step.lower(state, totals, batch, arrays).compile()
            waited, since = 0.0, time.perf_counter()
        state, totals = compiled(state, totals, batch, arrays)
        in_flight.append(totals)
        # Waits for a step that is over or nearly so.
        lost = len(in_flight) > STEPS_IN_FLIGHT and int(in_flight.popleft()["bad_in_row"]) >= max_bad_steps
        reporter.advance(now + 1)
        if lost or (now + 1) % log_every_steps == 0 or now + 1 in evaluation_steps:
            found = jax.device_get(totals)
            elapsed, images = time.perf_counter() - since, int(found["images"])
            values = {
                "loss": float(found["loss"]) / images if images else math.nan,
                "top1_error": 100 * int(found["top1"]) / images if images else math.nan,
                "learning_rate": float(learning_rate(now)),
                "images_per_second": images / elapsed,
                "data_wait_share": waited / elapsed,
                "images": images,
                "bad_steps": int(found["bad_steps"]),
            }
            reporter.training(now + 1, values)
            if lost or found["bad_in_row"] >= max_bad_steps:
                raise TrainingError(
                    f"by step {now + 1}, {max_bad_steps} steps in a row had a loss or gradient that is not finite: "
                    "lower optimizer.learning_rate, lengthen optimizer.schedule.warmup_epochs, or set "
                    "optimizer.clip_norm"
                )
            totals = zero_totals() | {"bad_in_row": totals["bad_in_row"]}
            waited, since = 0.0, time.perf_counter()
    return state, evaluated
