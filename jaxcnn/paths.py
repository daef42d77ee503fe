"""Paths as people write them, which every path of an option or an argument is; and files that are whole or absent."""

import contextlib
import os
from pathlib import Path

from jaxcnn.errors import UserError


def expanded(path: str | Path) -> Path:
    """Returns a path in which ``~`` and ``~name`` at the beginning stand for home folders.

    A shell expands ``--workdir ~/run`` and leaves ``--workdir=~/run``, an option in a recipe and an argument in Python
    as they are.

    Raises:
        UserError: the path is empty, or the machine knows no such user.
    """
    if not str(path):
        raise UserError("a path is empty: write '.' for the current folder")
    found = os.path.expanduser(path)
    if str(found).startswith("~"):
        raise UserError(f"{path} begins in the home folder of an unknown user: write the whole path, or ./{path}")
    return Path(found)


def cache_folder() -> Path:
    """Returns where a machine keeps what can be had again: ``$JAXCNN_CACHE``, by default ``~/.cache/jaxcnn``.

    Published files are there, and compiled programs.
    """
    return expanded(os.environ.get("JAXCNN_CACHE") or "~/.cache/jaxcnn")


def absolute(path: str | Path) -> Path:
    """Returns an `expanded` path that means the same in every working directory; links in it stay as they are.

    Raises:
        UserError: as `expanded` does.
    """
    return expanded(path).absolute()


def replace_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that at every moment it is whole, absent or as it was before, even where the disk is full.

    A kill may leave a hidden file beside it, which is written over the next time.

    Raises:
        OSError: it cannot be written.
    """
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(scratch, path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise
