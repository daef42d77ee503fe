"""The lock of a run folder, which one training holds at a time."""

import contextlib
import datetime
import errno
import fcntl
import json
import logging
import os
import socket
from pathlib import Path

from jaxcnn.errors import UserError

_LOG = logging.getLogger(__name__)
LOCK_FILE = "lock"
"""The file of a run folder that is locked while something trains there; it says which process does."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_HELD: set[int] = set()
"""The descriptors of the locks that this process holds."""


def _close_in_child() -> None:
    # A forked child would hold the lock on after its parent's death.
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_close_in_child)


class FolderLock:
    """A lock that the kernel releases when the process ends, however it ends, so that no dead process holds one.

    It binds the threads of one process as it binds processes. On NFS it binds those of all machines, where the server
    and the mount provide locks. On a file system without any, it binds nobody, and the log says so.

    Args:
        folder: the folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock, unless this object holds it already.

        Raises:
            UserError: another training holds it. The message names its process and its host.
            OSError: the folder cannot be written.
        """
        while self._descriptor is None:
            # NFS locks only what is open for writing, which a folder cannot be.
            descriptor = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 1 << 16, 0)
                os.close(descriptor)
                raise UserError(
                    f"{self._folder} is in use by {_in_words(holder)}: wait until it is done, end it, or choose "
                    "another --workdir"
                ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(descriptor)
                    raise
                _LOG.warning(
                    "%s is on a file system without locks: nothing prevents a second training there", self._folder
                )
            if self._is_still(descriptor):
                self._descriptor = descriptor
                _HELD.add(descriptor)
            else:  # whoever held it has removed the file in between
                os.close(descriptor)
                continue
            with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
                os.fchmod(
                    descriptor, 0o666
                )  # another user of the folder must be able to lock it after this one's death
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _this_process(), 0)

    def release(self) -> None:
        """Gives the lock back and removes its file, if this object holds it."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with contextlib.suppress(OSError):
            # It is removed while it is locked, so nobody can hold the file that is removed.
            if self._is_still(descriptor):
                (self._folder / LOCK_FILE).unlink()
        _HELD.discard(descriptor)
        os.close(descriptor)

    def _is_still(self, descriptor: int) -> bool:
        """Returns whether the file that is open is the one that has the name."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._folder / LOCK_FILE))
        except FileNotFoundError:
            return False


def _this_process() -> bytes:
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since}).encode() + b"\n"


def _in_words(holder: bytes) -> str:
    try:
        said = json.loads(holder)
        return f"process {said['process']} on {said['host']}, since {said['since']}"
    except (ValueError, KeyError, TypeError):  # it has taken the lock, and not written yet
        return "another training"
