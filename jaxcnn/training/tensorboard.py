"""TensorBoard's files, written in the caller's thread, so that a full disk is an error where it happens.

tensorboardX's own ``SummaryWriter`` writes in a thread of its own. When that fails, nobody is told, and later calls
wait for it for ever or fail for another reason. tensorboardX is imported when something is written first: it imports
PyTorch where that is installed, which takes seconds, and most programs write nothing.
"""

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name

_EVENTS = "tensorboardX.proto.event_pb2"
"""The module of events, whose names type checkers do not see, because protobuf makes them at import."""


class ScalarLog:
    """Appends scalars to a file of events, a new one for each sitting of a run.

    Args:
        folder: the folder of TensorBoard's files, which is made if need be.
        first_step: the step from which a run starts or goes on. TensorBoard forgets what earlier files have after it.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # What a buffer holds back when the disk is full would be tried again when it is closed, and fail again.
        self._file = (folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}").open("ab", buffering=0)
        self._first_step: int | None = first_step

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Appends each value under ``KIND/NAME``.

        Raises:
            OSError: the file cannot be written.
        """
        from tensorboardX.summary import scalar

        if self._first_step is not None:
            log = resolve_name(f"{_EVENTS}:SessionLog")
            began = _framed(step=self._first_step + 1, session_log=log(status=log.START))
            self._append(_framed(file_version="brain.Event:2") + began)
            self._first_step = None
        summaries = (scalar(f"{kind}/{name}", value) for name, value in values.items())
        self._append(b"".join(_framed(step=step, summary=summary) for summary in summaries))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _append(self, frames: bytes) -> None:
        while frames:  # a write to a disk that is nearly full is cut short before one fails
            frames = frames[self._file.write(frames) :]


def _framed(**event: object) -> bytes:
    """Returns an event as TensorFlow's record files have it, with checksums of its length and of its content."""
    from tensorboardX.record_writer import masked_crc32c

    content = resolve_name(f"{_EVENTS}:Event")(wall_time=time.time(), **event).SerializeToString()
    length = struct.pack("<Q", len(content))
    checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return length + next(checksums) + content + next(checksums)
