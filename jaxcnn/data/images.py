"""A split made of given images: files, arrays, and Pillow's images."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcnn.config import DataConfig
from jaxcnn.data.pipeline import Split, streamed_split
from jaxcnn.data.sources import Source
from jaxcnn.errors import UserError

ImageLike = str | Path | np.ndarray | Image.Image
"""A path to an image file; uint8 pixels of shape (height, width) or (height, width, 1 or 3); or a Pillow image."""


def split_of_images(images: Sequence[ImageLike], config: DataConfig) -> Split:
    """Returns a streamed split of these images without labels, cut as for evaluation.

    A file that cannot be read as an image is counted in the split's ``bad``, and does not stop the others.

    Args:
        images: the images, in the order of the split.
        config: the options by which they are cut, and their number of channels.

    Raises:
        UserError: there are no images, or one is of another kind.
    """
    if not images:
        raise UserError("there are no images: give at least one file, array or Pillow image")
    pixels = [_pixels(image, number) for number, image in enumerate(images)]

    def read(index: int) -> tuple[bytes | np.ndarray, int]:
        content = pixels[index]
        return (content.read_bytes() if isinstance(content, Path) else content), 0

    def describe(index: int) -> str:
        return str(pixels[index]) if isinstance(pixels[index], Path) else f"image {index}"

    source = Source("the images", "given", class_names=(), size=len(images), read=read, describe=describe)
    return streamed_split(source, dataclasses.replace(config, max_bad_share=1.0))


def _pixels(image: ImageLike, number: int) -> Path | np.ndarray:
    if isinstance(image, str | Path):
        return Path(image)
    if isinstance(image, Image.Image):
        image = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise UserError(
            f"image {number} is an array of {array.dtype} and shape {array.shape}: give uint8 of shape (height, width) "
            "or (height, width, 1 or 3)"
        )
    return array
