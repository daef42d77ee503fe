"""SIGTERM and SIGINT as a request: finish the step, save, leave."""

import signal
from types import FrameType

EXIT_STOPPED = 75
"""Exit code of a run that was asked to stop and has saved everything: EX_TEMPFAIL, "run me again"."""


class StopRequest:
    """While entered, SIGTERM and SIGINT only set a flag that the loop polls; a second SIGINT raises KeyboardInterrupt.

    Only the main thread can install it (Python's rule).
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether somebody asked."""
        return self.received is not None

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
