"""A trace of some training steps, for XProf (TensorBoard's profiler) and Perfetto."""

from pathlib import Path

import jax

from jaxcnn.errors import UserError
from jaxcnn.types import PyTree

WARM_UP_STEPS = 5
"""How many steps go by untraced first: the compiler and the first reads are no part of a usual step."""


class Profile:
    """Traces a number of steps of a training, after the first few.

    Args:
        folder: where the trace goes. XProf reads the folder; Perfetto reads the ``perfetto_trace.json.gz`` in it.
        steps: how many steps to trace.

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
        """Counts a dispatched step; the trace begins after some and ends when the last traced step is computed.

        Args:
            results: the step's arrays, which are waited for at the beginning and the end of the trace.
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
        """Ends a trace that training did not reach the end of."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
