"""Making a data set by a plan: the same bytes after a kill, whole or not at all, and never over something else.

The plan is made first, and is a file beside the images, so that a command with the same options knows its own work.
"""

import contextlib
import io
import json
import os
from collections.abc import Generator
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcnn.data.folders import locked
from jaxcnn.errors import UserError, writing
from jaxcnn.paths import replace_whole
from jaxcnn.strict_json import dumps
from jaxcnn.text import escaped
from jaxcnn.types import Json, JsonObject

_WAY_OUT = "choose another --out"
_QUALITY = 95


@contextlib.contextmanager
def planned_folder(out: Path, plan_file: str, plan: JsonObject) -> Generator[Path | None]:
    """Yields the folder to write a data set to, which gets its name ``out`` at the end of the ``with`` block.

    Until it is whole, it lies in ``incomplete.NAME`` beside its place, locked, and a call with the same plan goes on
    there: what files it holds are whole.

    Args:
        out: the data set's folder.
        plan_file: the name of the plan's file in it.
        plan: everything that the bytes of the data set depend on.

    Yields:
        The folder, which holds the plan; None where the same data set is in ``out`` already.

    Raises:
        UserError: either folder holds something else, it cannot be written, or another process is writing it.
    """
    text = dumps(plan, indent=1) + "\n"
    plan = json.loads(text)  # tuples are lists there
    if out.exists() or out.is_symlink():
        if _stored(out / plan_file) != plan:
            raise UserError(
                f"{escaped(str(out))} exists already and is not what this would make: {_WAY_OUT}, or remove it"
            )
        yield None
        return
    scratch = out.absolute().with_name(f"incomplete.{out.absolute().name}")
    with writing(escaped(str(out)), _WAY_OUT):
        scratch.mkdir(parents=True, exist_ok=True)
        with locked(scratch):
            if not (scratch / plan_file).exists():
                if any(not each.name.startswith(".") for each in scratch.iterdir()):
                    raise UserError(f"{escaped(str(scratch))} is in the way: remove it, or {_WAY_OUT}")
                replace_whole(scratch / plan_file, text)
            elif _stored(scratch / plan_file) != plan:
                raise UserError(
                    f"{escaped(str(scratch))} is left of a command with other options or images: remove it, or "
                    f"{_WAY_OUT}"
                )
            yield scratch
            os.replace(scratch, out)


def _stored(path: Path) -> Json:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    """Returns an image as a file: PNG where the suffix is ``.png``, else JPEG of quality 95.

    Args:
        pixels: uint8 of shape ``(height, width, 3)``.
        suffix: the suffix of the file's name, with its dot.
    """
    file = io.BytesIO()
    if suffix == ".png":
        Image.fromarray(pixels).save(file, "PNG")
    else:
        Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def rounded_share(share: float) -> float:
    """Returns a share from 0 to 1 as plans have it: short, and right to less than a pixel."""
    return round(float(share), 4)
