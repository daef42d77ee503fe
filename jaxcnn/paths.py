"""Paths as people write them: every path that an option or an argument takes goes through here."""

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


def absolute(path: str | Path) -> Path:
    """Returns an `expanded` path that means the same in every working directory; links in it stay as they are.

    Raises:
        UserError: as `expanded` does.
    """
    return expanded(path).absolute()
