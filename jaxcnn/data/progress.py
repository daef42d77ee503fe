"""How far a long pass over a data set is, said every few seconds."""

import logging
import time

_LOG = logging.getLogger(__name__)
_EVERY_SECONDS = 10.0


class Progress:
    """Counts what is done, and logs a line when the last is old: never one for a pass of seconds."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._done = 0
        self._start = self._said = time.monotonic()

    def advance(self, images: int) -> None:
        """Takes note of that many more images."""
        self._done += images
        now = time.monotonic()
        if now - self._said < _EVERY_SECONDS:
            return
        self._said = now
        rate = self._done / (now - self._start)
        left = (self._total - self._done) / rate / 60
        _LOG.info(
            "%s: %s of %s images, %.0f a second, about %.0f minutes left",
            self._what,
            f"{self._done:,}",
            f"{self._total:,}",
            rate,
            left,
        )
