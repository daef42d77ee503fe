"""TensorBoard's files, written in the caller's thread, so that a full disk is an error where it happens.

tensorboardX's own ``SummaryWriter`` writes in a thread of its own. When that fails, nobody is told, and later calls
wait for it for ever or fail for another reason.
"""

import pkgutil
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.summary import scalar

# Type checkers do not see these, because protobuf makes them at import.
Event, SessionLog = (pkgutil.resolve_name(f"tensorboardX.proto.event_pb2:{name}") for name in ("Event", "SessionLog"))


class ScalarLog:
    """Appends scalars to a new file of events.

    Args:
        folder: the folder of TensorBoard's files, which is made if need be.
        first_step: the step from which a run starts or goes on. TensorBoard forgets what earlier files have after it.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = EventsWriter(str(folder / "events"))
        start = SessionLog(status=SessionLog.START)
        self._file.write_event(Event(wall_time=time.time(), step=first_step + 1, session_log=start))
        self._file.flush()

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Appends each value under ``KIND/NAME``.

        Raises:
            OSError: the file cannot be written.
        """
        for name, value in values.items():
            summary = scalar(f"{kind}/{name}", value)
            self._file.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._file.flush()

    def close(self) -> None:
        """Closes the file.

        Raises:
            OSError: what is not written yet cannot be.
        """
        self._file.close()
