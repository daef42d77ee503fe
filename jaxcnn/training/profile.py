"""A trace of some training steps, for XProf (TensorBoard's profiler) and Perfetto."""

from pathlib import Path

import jax

from jaxcnn.errors import UserError
from jaxcnn.types import PyTree

WARM_UP_STEPS = 5
"""The number of steps that are not traced first: compilation and the first reads are no part of a usual step."""


class Profile:
    """Traces a number of training steps, after the first few.

    Args:
        folder: the folder of the trace. XProf reads the folder; Perfetto reads the ``perfetto_trace.json.gz`` in it.
        steps: the number of steps to trace.

    Raises:
        UserError: the number is not positive.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        if steps < 1:
            raise UserError(f"--profile {steps} traces nothing: give the number of steps to trace, at least 1")
        self.folder = folder
        self._steps = steps
        self._seen = 0
        self._running = False

    def after_step(self, results: PyTree) -> None:
        """Counts a dispatched step; the trace begins after the first few, and ends when its last step is computed.

        Args:
            results: the arrays that the step computes; the trace begins and ends when they are there.
        """
        self._seen += 1
        if self._seen == WARM_UP_STEPS:
            jax.block_until_ready(results)
            jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self._running = True
        elif self._seen == WARM_UP_STEPS + self._steps:
            jax.block_until_ready(results)
            self.stop()

    def stop(self) -> None:
        """Ends the trace where training has ended before it."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
