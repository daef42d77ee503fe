"""SIGTERM and SIGINT as requests to finish the step, save, and leave."""

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from types import FrameType

EXIT_STOPPED = 75
"""The exit code of a run that was asked to stop and has saved everything: EX_TEMPFAIL, which means "run me again"."""
STOPPING = (signal.SIGTERM, signal.SIGINT)
"""The signals that ask a run to stop."""


@contextlib.contextmanager
def handled(signals: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    """Handles signals while the context is entered; in any thread but the main one it changes nothing.

    Python lets only the main thread install handlers, and runs them there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, before in previous.items():
            # A handler that was not installed by Python is None here, and Python cannot install it again.
            signal.signal(number, signal.SIG_DFL if before is None else before)


class StopRequest:
    """A context in which SIGTERM and SIGINT only set a flag, which the loop polls.

    A second SIGINT raises KeyboardInterrupt. A thread other than the main one takes no signals: what it trains goes on
    whatever the main thread does about them.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __call__(self) -> bool:
        """Returns whether one of the signals has come."""
        return self.received is not None

    def __enter__(self) -> "StopRequest":
        self._handled = handled(STOPPING, self._handle)
        self._handled.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._handled.__exit__(None, None, None)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
