"""Finding cut-outs: images of single things with a transparent ground, in a folder for each category."""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from jaxcnn.config import DataConfig
from jaxcnn.data.decode import DecodeError, decode_rgba
from jaxcnn.data.threads import map_ahead
from jaxcnn.errors import UserError
from jaxcnn.text import escaped

FLAT_SHARE = 0.25
"""The largest share of equal pairs of neighbouring pixels in a photograph."""
COPY_DISTANCE = 0.04
"""The root mean square of the differences of two thumbnails, of 0 to 1, below which they are of one picture."""
_THUMBNAIL = 16
_SUFFIXES = (".png", ".webp")
_OPAQUE = 250
SEEN = 32
"""The least alpha of a pixel that counts as part of the thing."""


@dataclasses.dataclass(frozen=True)
class CutOut:
    """A cut-out in a file."""

    path: str
    """The path of the file below the folder of all categories, with ``/`` between its parts."""
    sha256: str
    """The SHA-256 of the file."""


@dataclasses.dataclass(frozen=True)
class FoundCategory:
    """What was found in the folder of a category, those in it not included."""

    folder: str
    """The path of the folder below the folder of all categories, with ``/`` between its parts."""
    cut_outs: tuple[CutOut, ...]
    """The cut-outs that can be used, sorted by path."""
    left_out: Mapping[str, int]
    """The number of the other images, by the reason why they are left out."""


def find_categories(
    folder: Path, *, drawings: bool = False, drawing_folders: Sequence[str] = (), workers: int = 8
) -> tuple[FoundCategory, ...]:
    """Reads every PNG and WebP file below a folder, and judges whether it is a cut-out.

    Args:
        folder: the folder of all categories; each folder below it, at any depth, that holds images is a category.
        drawings: whether drawings are taken too.
        drawing_folders: names of folders, at any depth, that hold drawings.
        workers: the number of threads.

    Returns:
        The categories, sorted by folder.

    Raises:
        UserError: the folder is none, cannot be read, or holds no such files.
    """
    files = list(_files(folder))
    if not files:
        raise UserError(f"{escaped(str(folder))} holds no PNG or WebP files: name a folder of cut-outs")

    def judge(path: str) -> "_Judged | str":
        if not drawings and set(path.split("/")[:-1]) & set(drawing_folders):
            return "drawing"
        return _judge(folder, path, drawings)

    found: dict[str, list[CutOut]] = collections.defaultdict(list)
    left_out: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    seen = np.zeros((len(files), _Judged.NUMBERS), np.float32)
    count = 0
    for path, judged in zip(files, map_ahead(judge, files, workers=workers, depth=4 * workers), strict=True):
        category = path.rpartition("/")[0]
        found[category]  # a category of drawings alone is listed too
        if isinstance(judged, str):
            left_out[category][judged] += 1
        elif judged.resembles(seen[:count]):  # two splits must not share a picture
            left_out[category]["copy"] += 1
        else:
            seen[count], count = judged.thumbnail.ravel(), count + 1
            found[category].append(judged.cut_out)
    return tuple(FoundCategory(each, tuple(found[each]), left_out[each]) for each in sorted(found))


def _files(folder: Path) -> Iterator[str]:
    """Yields the paths of all files that may be cut-outs, below the folder, sorted."""

    def refuse(error: OSError) -> None:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise UserError(f"there is no folder {escaped(str(error.filename))}: check the path") from None
        raise UserError(
            f"the folder {escaped(str(error.filename))} cannot be read ({error.strerror}): make it readable, or name "
            "another"
        ) from None

    for path, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        above = os.path.relpath(path, folder).replace(os.sep, "/")
        for name in sorted(names):
            if name.lower().endswith(_SUFFIXES) and not name.startswith("."):
                yield name if above == "." else f"{above}/{name}"


@dataclasses.dataclass(frozen=True)
class _Judged:
    """A cut-out, and what it looks like from afar."""

    NUMBERS: ClassVar[int] = 4 * _THUMBNAIL**2
    cut_out: CutOut
    thumbnail: np.ndarray
    """The cut-out without margins, float32 of shape ``(_THUMBNAIL, _THUMBNAIL, 4)``, colours times alpha, 0 to 1."""

    def resembles(self, others: np.ndarray) -> bool:
        """Returns whether this or its mirror image is one of some thumbnails, of shape ``(thumbnails, NUMBERS)``."""
        sides = (self.thumbnail, self.thumbnail[:, ::-1])
        return any((np.mean((others - side.ravel()) ** 2, axis=1) < COPY_DISTANCE**2).any() for side in sides)


def _judge(folder: Path, path: str, drawings: bool) -> _Judged | str:
    """Returns a cut-out, or why an image is none."""
    try:
        encoded = (folder / path).read_bytes()
        pixels = decode_rgba(encoded, DataConfig.max_pixels)
    except (OSError, DecodeError):
        return "unreadable"
    alpha = pixels[..., 3]
    if not (alpha < SEEN).any():
        return "without transparency"
    if not (alpha >= _OPAQUE).any():
        return "empty"
    if not drawings and flat_share(pixels) > FLAT_SHARE:
        return "drawing"
    shown = Image.fromarray(trimmed(pixels)).convert("RGBa").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    thumbnail = np.asarray(shown, np.float32) / 255
    return _Judged(CutOut(path, hashlib.sha256(encoded).hexdigest()), thumbnail)


def trimmed(pixels: np.ndarray) -> np.ndarray:
    """Returns an image, uint8 of shape ``(height, width, 4)``, without margins that are transparent, or nearly so."""
    rows, columns = (np.flatnonzero((pixels[..., 3] >= SEEN).any(axis)) for axis in (1, 0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def flat_share(pixels: np.ndarray) -> float:
    """Returns the share of equal pairs among neighbouring opaque pixels, above and below or side by side.

    The noise of a camera leaves few equal neighbours; a drawing is mostly made of them.

    Args:
        pixels: uint8 of shape ``(height, width, 4)``: red, green, blue, alpha.

    Returns:
        A number from 0 to 1; 1 where no two opaque pixels are neighbours.
    """
    opaque = pixels[..., 3] >= _OPAQUE
    equal = pairs = 0
    for axis in (0, 1):
        first, second = (np.delete(pixels, end, axis) for end in (-1, 0))
        both = np.delete(opaque, -1, axis) & np.delete(opaque, 0, axis)
        pairs += np.count_nonzero(both)
        equal += np.count_nonzero((first == second).all(-1) & both)
    return equal / pairs if pairs else 1.0


def read_cut_out(folder: Path, cut_out: CutOut) -> np.ndarray:
    """Returns the part of a cut-out that is not transparent, uint8 of shape ``(height, width, 4)``.

    Raises:
        UserError: the file is not what it was when it was found.
    """
    try:
        encoded = (folder / cut_out.path).read_bytes()
    except OSError:
        encoded = b""
    if hashlib.sha256(encoded).hexdigest() != cut_out.sha256:
        raise UserError(f"{escaped(str(folder / cut_out.path))} has changed meanwhile: run the same command again")
    return trimmed(decode_rgba(encoded, DataConfig.max_pixels))
