"""What the function of a kind is asked for, and the reading of images that the kinds share."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from jaxcnn.config import DataConfig
from jaxcnn.data.decode import DecodeError, decode
from jaxcnn.errors import UserError
from jaxcnn.text import escaped


@dataclasses.dataclass(frozen=True)
class AnnotatedRequest:
    """A request to open one split of a data set for detection."""

    name: str
    """The data set's whole name, such as ``coco:FOLDER``."""
    rest: str
    """What follows the first colon of the name, such as ``FOLDER``."""
    split: str
    """The split's name."""
    data_dir: str | None
    """The folder of prepared data sets, where the user named one."""


def image_of(encoded: bytes, width: int, height: int, what: str, annotation: str) -> np.ndarray:
    """Returns a decoded image, whose size must be the one that its annotation says.

    As in COCO and VOC, the orientation in EXIF is not applied: boxes are those of the stored pixels.

    Args:
        encoded: a whole file.
        width: the width of the image in pixels, by its annotation.
        height: the height of the image in pixels, by its annotation.
        what: the name of the image, for messages.
        annotation: the name of its annotation, for messages.

    Returns:
        uint8 of shape ``(height, width, 3)``.

    Raises:
        UserError: the file is no image that can be read, or of another size.
    """
    try:
        pixels = decode(encoded, 3, DataConfig.max_pixels)
    except DecodeError as error:
        raise UserError(f"the image {escaped(what)} {error}: put the right file in its place") from None
    if pixels.shape[:2] != (height, width):
        raise UserError(
            f"the image {escaped(what)} has {pixels.shape[1]} by {pixels.shape[0]} pixels, and {escaped(annotation)} "
            f"says {width} by {height}: put the file there that the annotation is for"
        )
    return pixels


def reader(path: Path, width: int, height: int, annotation: str) -> Callable[[], np.ndarray]:
    """Returns the `AnnotatedImage.read` of an image in a file; the other arguments are those of `image_of`."""

    def read() -> np.ndarray:
        try:
            encoded = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"the image {escaped(str(path))} cannot be read ({error.strerror}): make it readable, or copy it again"
            ) from None
        return image_of(encoded, width, height, str(path), annotation)

    return read


def file_lines(folder: Path, names: Iterable[str]) -> Iterator[str]:
    """Yields a line for each file below a folder, with its name and its size.

    Raises:
        OSError: a file cannot be found.
    """
    for name in names:
        yield f"{name} {os.stat(folder / name).st_size}"


def text_of(path: Path, way_out: str) -> str:
    """Returns the text of a file, in UTF-8.

    Args:
        path: the path of the file.
        way_out: the clause that leads out where it cannot be read.

    Raises:
        UserError: it cannot be read, or holds no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UserError(f"{escaped(str(path))} cannot be read ({reason}): {way_out}") from None


def check_folder(folder: Path, way_out: str) -> None:
    """Refuses a path that is no folder.

    Raises:
        UserError: it is none.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {escaped(str(folder))}: {way_out}")
