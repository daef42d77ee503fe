"""Writing a data set of tens of gigabytes: one process at a time, where there is room, and whole or not at all."""

import contextlib
import fcntl
import logging
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path

from jaxcnn.errors import UserError
from jaxcnn.paths import expanded

_LOG = logging.getLogger(__name__)
_INCOMPLETE = re.compile(r"incomplete\.[A-Z0-9]{6}_[\d.]+")
"""The name that tfds gives the folder of a version until it is whole."""


def data_root(data_dir: str | None) -> Path:
    """Returns tfds's folder of prepared data sets: ``data_dir``, ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``."""
    return expanded(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Locks a folder, which the kernel releases when the process ends, however it ends.

    Raises:
        UserError: another process is writing there.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is writing to {folder}: wait until it is done, or end it") from None
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def sole_writer(folder: Path) -> Generator[None]:
    """Locks the folder of a tfds data set's versions, and removes the incomplete ones that a killed writer left there.

    Raises:
        UserError: another process is writing there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            for left in sorted(folder.iterdir()):
                if left.is_dir() and _INCOMPLETE.fullmatch(left.name):
                    _LOG.info("removing %s, which an interrupted process left", left)
                    shutil.rmtree(left)
            yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty if something was written
            folder.rmdir()


@contextlib.contextmanager
def complete_or_absent(folder: Path) -> Generator[Path]:
    """Makes a folder to write a version to, which is renamed to ``folder`` at the end, or removed after an error."""
    scratch = folder.with_name(f"incomplete.PACKED_{folder.name}")
    scratch.mkdir()
    try:
        yield scratch
        os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_room(folder: Path, needed: int, what: str) -> None:
    """Refuses to begin to write what will not fit.

    Args:
        folder: the folder to write to.
        needed: the number of bytes that are needed.
        what: what is written, for the message.

    Raises:
        UserError: less is free than is needed. The message names both numbers.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{what} needs about {in_bytes(needed)} in {folder} and {in_bytes(free)} are free there: make room, or "
            "name another folder"
        )


def in_bytes(count: float) -> str:
    """Returns a number of bytes as people write it.

    Examples:
        >>> in_bytes(147_897_477_120), in_bytes(98_304)
        ('147.9 GB', '0.1 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
