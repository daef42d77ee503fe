"""Logging how far a long pass over a data set is."""

import logging
import time

_LOG = logging.getLogger(__name__)
_EVERY_SECONDS = 10.0


class Progress:
    """Counts images or other things, and logs a line every ten seconds, so none for a short pass."""

    def __init__(self, what: str, total: int, counted: str = "images") -> None:
        self._what, self._total, self._counted = what, total, counted
        self._done = 0
        self._start = self._logged = time.monotonic()

    def advance(self, count: int) -> None:
        """Counts that many more images, and logs a line if the last one is old enough."""
        self._done += count
        now = time.monotonic()
        if now - self._logged < _EVERY_SECONDS:
            return
        self._logged = now
        rate = self._done / (now - self._start)
        left = (self._total - self._done) / rate / 60
        _LOG.info(
            "%s: %s of %s %s, %.0f a second, about %.0f minutes left",
            self._what,
            f"{self._done:,}",
            f"{self._total:,}",
            self._counted,
            rate,
            left,
        )
