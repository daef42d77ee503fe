"""Image files as a split without annotations, in which a detector looks for objects."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcnn.config import DataConfig
from jaxcnn.data.decode import DecodeError, decode
from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects
from jaxcnn.errors import UserError
from jaxcnn.text import escaped


def split_of_files(paths: Sequence[Path], max_pixels: int = DataConfig.max_pixels) -> AnnotatedSplit:
    """Returns image files as a split of no classes, whose images have no objects; they are numbered from 1 on.

    Photographs are turned as their orientation in EXIF says, as `jaxcnn.trained.Trained.predict` does.

    Args:
        paths: the files.
        max_pixels: the most pixels that an image may have.

    Raises:
        UserError: there are no files, or one cannot be read as an image.
    """
    if not paths:
        raise UserError("there are no images: name at least one file")
    return AnnotatedSplit("files", (), (), [_image(path, number, max_pixels) for number, path in enumerate(paths, 1)])


def _image(path: Path, number: int, max_pixels: int) -> AnnotatedImage:
    def read() -> np.ndarray:
        try:
            return decode(path.read_bytes(), 3, max_pixels, upright=True)
        except (OSError, DecodeError) as error:
            said = getattr(error, "strerror", None) or str(error)
            raise UserError(f"{escaped(str(path))} cannot be read ({said}): name an image file") from None

    height, width = read().shape[:2]  # its header may know another orientation
    return AnnotatedImage(str(path), number, width, height, Objects.of([], []), read)
