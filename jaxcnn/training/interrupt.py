"""SIGTERM and SIGINT as requests to finish the step, save, and leave."""

import signal
from types import FrameType

EXIT_STOPPED = 75
"""The exit code of a run that was asked to stop and has saved everything: EX_TEMPFAIL, which means "run me again"."""


class StopRequest:
    """A context in which SIGTERM and SIGINT only set a flag, which the loop polls.

    A second SIGINT raises KeyboardInterrupt. Only the main thread can enter the context, because only it can install
    signal handlers.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __call__(self) -> bool:
        """Returns whether one of the signals has come."""
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
