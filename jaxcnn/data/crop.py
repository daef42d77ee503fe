"""From an image of any size to a square of one: the crops that pretrained weights expect, by Pillow's own resize."""

import math

import numpy as np
from PIL import Image

from jaxcnn.config import CenterCrop, Crop, Pad, RandomResizedCrop, Resize
from jaxcnn.config.options import Interpolation

_MAX_RESIZED_PIXELS = 1 << 28
"""Scaling the short side of a sliver would otherwise take all memory there is."""


class CropError(ValueError):
    """An image that this crop cannot cut; the message is a clause that says why."""


def is_random(crop: Crop) -> bool:
    """Returns whether two cuts of one image may differ."""
    return isinstance(crop, RandomResizedCrop)


def short_side_shape(height: int, width: int, short: int) -> tuple[int, int]:
    """Returns the height and width after the short side is scaled to ``short`` pixels.

    The long side is rounded down: ``_compute_resized_output_size`` in torchvision's ``transforms/functional.py``.
    """
    if width <= height:
        return int(short * height / width), short
    return short, int(short * width / height)


def center_box(height: int, width: int, size: int) -> tuple[int, int]:
    """Returns the top and left of the centred ``size`` by ``size`` box, in pixels; negative where it sticks out.

    An odd margin is rounded as ``center_crop`` in torchvision's ``transforms/functional.py`` does: half to even inside
    the image, and the smaller half of the padding first outside it.
    """

    def offset(length: int) -> int:
        return round((length - size) / 2) if length >= size else -((size - length) // 2)

    return offset(height), offset(width)


def random_resized_box(
    rng: np.random.RandomState, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draws the box of GoogLeNet's training crops (arXiv:1409.4842, section 6).

    As ``RandomResizedCrop.get_params`` in torchvision's ``transforms/transforms.py``: ten draws, the first that fits
    is taken; after them the largest centred box whose aspect ratio is allowed.

    Args:
        rng: where the draws come from.
        height: of the image, in pixels.
        width: of the image, in pixels.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width over height; drawn log-uniformly.

    Returns:
        top, left, height and width of the box, in pixels, inside the image.
    """
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_height, box_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = rng.randint(height - box_height + 1), rng.randint(width - box_width + 1)
            return top, left, box_height, box_width
    box_height = min(height, max(1, round(width / ratio[0])))
    box_width = min(width, max(1, round(height * ratio[1])))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _resize(image: Image.Image, height: int, width: int, interpolation: str) -> Image.Image:
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling[interpolation.upper()])


def scale_short_side(image: Image.Image, short: int, interpolation: Interpolation) -> Image.Image:
    """Returns the image with its short side scaled to ``short`` pixels, antialiased where that shrinks it.

    Raises:
        CropError: it is so elongated that it would take all memory.
    """
    height, width = short_side_shape(image.height, image.width, short)
    if height * width > _MAX_RESIZED_PIXELS:
        raise CropError(f"is {image.height} by {image.width} pixels, too elongated to scale its short side to {short}")
    return _resize(image, height, width, interpolation)


def _center(image: Image.Image, size: int) -> Image.Image:
    """The centred square; black where it sticks out of the image."""
    top, left = center_box(image.height, image.width, size)
    return image.crop((left, top, left + size, top + size))


def cut(image: np.ndarray, crop: Crop, rng: np.random.RandomState | None = None) -> np.ndarray:
    """Cuts one image to the crop's square.

    Scaling is Pillow's, antialiased when it shrinks, as in torchvision's transforms of Pillow images.

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        crop: what to cut.
        rng: where a `RandomResizedCrop` draws its box; the other crops take none.

    Returns:
        uint8 of shape ``(crop.size, crop.size, channels)``.

    Raises:
        CropError: the image is larger than a `Pad` canvas, or too elongated for a `CenterCrop`.
    """
    height, width, channels = image.shape
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    match crop:
        case Resize(size=size):
            picture = _resize(picture, size, size, crop.interpolation)
        case Pad(size=size):
            if max(height, width) > size:
                raise CropError(f"is {height} by {width} pixels, too large to be padded to {size} by {size}")
            picture = _center(picture, size)
        case CenterCrop(size=size):
            picture = _center(scale_short_side(picture, crop.resize, crop.interpolation), size)
        case RandomResizedCrop(size=size):
            top, left, box_height, box_width = random_resized_box(rng, height, width, crop.scale, crop.ratio)
            picture = picture.crop((left, top, left + box_width, top + box_height))
            picture = _resize(picture, size, size, crop.interpolation)
    return np.asarray(picture).reshape(size, size, channels)
