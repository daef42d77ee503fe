"""A split made of given images: files, arrays, and Pillow's images."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from jaxcnn.config import DataConfig
from jaxcnn.data.decode import decode
from jaxcnn.data.opening import streamed_split
from jaxcnn.data.pipeline import Split
from jaxcnn.data.sources import Source
from jaxcnn.errors import UserError
from jaxcnn.paths import expanded

ImageLike = str | Path | np.ndarray | Image.Image
"""A path to an image file; uint8 pixels of shape (height, width) or (height, width, 1 or 3); or a Pillow image."""


class Given(NamedTuple):
    """An image that somebody gives: see `given`."""

    name: str
    """The path of a file; for others ``image 3``, by their position among those given."""
    content: Path | np.ndarray
    """The path of a file, or uint8 pixels of shape (height, width, 1 or 3)."""


def given(images: Sequence[ImageLike], *, upright: bool = True) -> list[Given]:
    """Checks images that somebody gives, without reading any file.

    Args:
        images: paths, arrays and Pillow images.
        upright: whether Pillow images are turned as their orientation in EXIF says.

    Raises:
        UserError: there are no images, or one is of another kind.
    """
    if not images:
        raise UserError("there are no images: give at least one file, array or Pillow image")
    return [_given(image, f"image {number}", upright) for number, image in enumerate(images)]


def _given(image: ImageLike, name: str, upright: bool) -> Given:
    if isinstance(image, str | Path):
        return Given(str(image), expanded(image))
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image) if upright else image
        image = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise UserError(
            f"{name} is an array of {array.dtype} and shape {array.shape}: give uint8 of shape (height, width) or "
            "(height, width, 1 or 3)"
        )
    return Given(name, array)


def split_of_images(images: Sequence[Given], config: DataConfig, *, upright: bool = True) -> Split:
    """Returns a streamed split of these images without labels, cut as for evaluation.

    A file that cannot be read as an image is counted in the split's ``bad``, and does not stop the others.

    Args:
        images: the images, in the order of the split.
        config: the options by which they are cut, and their number of channels.
        upright: whether files are turned as their orientation in EXIF says, which data sets never are.
    """

    def read(index: int) -> tuple[bytes | np.ndarray, int]:
        content = images[index].content
        if isinstance(content, np.ndarray):
            return content, 0
        encoded = content.read_bytes()
        return (decode(encoded, config.channels, config.max_pixels, upright=True) if upright else encoded), 0

    source = Source(
        *("the images", "given"), class_names=(), size=len(images), read=read, describe=lambda index: images[index].name
    )
    return streamed_split(source, dataclasses.replace(config, max_bad_share=1.0))
