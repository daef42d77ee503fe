"""The memory of this process as Linux counts it: what is resident, now and at most."""

import contextlib
from pathlib import Path
from typing import Literal

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes(when: Literal["now", "at most"]) -> int | None:
    """Returns the bytes that are resident now, or were at most since `forget_peak`; None where Linux does not run.

    What ``getrusage`` says is of no use here: a child process begins with the peak of its parent.
    """
    field = {"now": "VmRSS:", "at most": "VmHWM:"}[when]
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    return None


def forget_peak() -> None:
    """Lets what is resident now be the peak so far, where the system allows that."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
