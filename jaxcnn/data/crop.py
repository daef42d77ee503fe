"""Cutting a square of a given size out of an image of any size, as pretrained weights expect it."""

import dataclasses
import math

import numpy as np

from jaxcnn.config import CenterCrop, Crop, Pad, RandomResizedCrop, Resize, ScaleJitter, Views
from jaxcnn.config.options import Interpolation
from jaxcnn.data.resize import resize, resize_fast

MAX_RESIZED_PIXELS = 1 << 28
"""The most pixels an image is scaled to: without a limit, a sliver whose short side is scaled would take all memory."""


class CropError(ValueError):
    """An error for an image that a crop cannot cut; the message is a clause that says why."""


@dataclasses.dataclass(frozen=True)
class Cut:
    """Where a square comes from: a box of an image is scaled, and a window of the scaled box is the square.

    All numbers are pixels.
    """

    box: tuple[int, int, int, int]
    """The top, left, height and width of the part of the image that is scaled; nothing outside it is looked at."""
    shape: tuple[int, int]
    """The height and width that the box is scaled to."""
    corner: tuple[int, int]
    """The top and left of the window in the scaled box; the window is black where it extends beyond the box."""
    size: int
    """The height and width of the window."""


def is_random(crop: Crop | Views) -> bool:
    """Returns whether two cuts of one image may differ."""
    return isinstance(crop, RandomResizedCrop | ScaleJitter)


def short_side_shape(height: int, width: int, short: int) -> tuple[int, int]:
    """Returns the height and width after the short side is scaled to ``short`` pixels.

    The long side is rounded down: ``_compute_resized_output_size`` in torchvision's ``transforms/functional.py``.
    """
    if width <= height:
        return int(short * height / width), short
    return short, int(short * width / height)


def center_box(height: int, width: int, size: int) -> tuple[int, int]:
    """Returns the top and left of the centred ``size`` by ``size`` box, in pixels; negative where the box is larger.

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

    The rule is that of ``RandomResizedCrop.get_params`` in torchvision's ``transforms/transforms.py``: the first of ten
    draws that fits is taken; if none fits, the largest centred box whose aspect ratio is allowed.

    Args:
        rng: the generator that draws.
        height: height of the image, in pixels.
        width: width of the image, in pixels.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width over height; drawn log-uniformly.

    Returns:
        The top, left, height and width of the box, in pixels; it lies inside the image.
    """
    for _ in range(10):
        area = height * width * _uniform(rng, *scale)
        aspect = math.exp(_uniform(rng, math.log(ratio[0]), math.log(ratio[1])))
        box_height, box_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = _below(rng, height - box_height + 1), _below(rng, width - box_width + 1)
            return top, left, box_height, box_width
    box_height = min(height, max(1, round(width / ratio[0])))
    box_width = min(width, max(1, round(height * ratio[1])))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _uniform(rng: np.random.RandomState, low: float, high: float) -> float:
    """Returns what ``rng.uniform`` does, which takes six times as long for a single number."""
    return low + (high - low) * rng.random_sample()


def _below(rng: np.random.RandomState, end: int) -> int:
    """Returns an integer from 0 to ``end - 1``, as ``rng.randint(end)`` does, which takes longer to find its dtype."""
    return int(rng.randint(0, end, dtype=np.int64))


def jittered_window(
    rng: np.random.RandomState, height: int, width: int, short_side: tuple[int, int], size: int, center_square: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Draws the scale and the window of VGG's training crops (arXiv:1409.1556, section 3.1).

    Args:
        rng: the generator that draws: first the length of the short side, then the window's top and left.
        height: height of the image, in pixels.
        width: width of the image, in pixels.
        short_side: shortest and longest length of the short side, in pixels, both included.
        size: height and width of the window, in pixels; at most the short side.
        center_square: whether the window stays in the centre square of the scaled image.

    Returns:
        The scaled image's height and width, and the window's top and left in it.
    """
    short = short_side[0] + _below(rng, short_side[1] + 1 - short_side[0])
    shape = short_side_shape(height, width, short)
    top, left = center_box(*shape, short) if center_square else (0, 0)
    span = (short, short) if center_square else shape
    return shape, (top + _below(rng, span[0] - size + 1), left + _below(rng, span[1] - size + 1))


def plan(crop: Crop, height: int, width: int, rng: np.random.RandomState | None = None) -> Cut:
    """Returns where a crop's square comes from, for an image of this size.

    Args:
        crop: the crop to plan.
        height: height of the image, in pixels.
        width: width of the image, in pixels.
        rng: the generator from which a random crop draws; the other crops need none.

    Raises:
        CropError: the image is larger than a `Pad` canvas, or too elongated to have its short side scaled.
        TypeError: the crop is random and there is no generator.
    """
    box, size = (0, 0, height, width), crop.size
    match crop:
        case Resize():
            return Cut(box, (size, size), (0, 0), size)
        case RandomResizedCrop():
            box = random_resized_box(_given(rng), height, width, crop.scale, crop.ratio)
            return Cut(box, (size, size), (0, 0), size)
        case Pad():
            if max(height, width) > size:
                raise CropError(f"is {height} by {width} pixels, too large to be padded to {size} by {size}")
            shape = height, width
            corner = center_box(height, width, size)
        case CenterCrop():
            shape = short_side_shape(height, width, crop.resize)
            corner = center_box(*shape, size)
        case ScaleJitter():
            shape, corner = jittered_window(_given(rng), height, width, crop.short_side, size, crop.from_center_square)
    _check_shape(height, width, shape)
    return Cut(box, shape, corner, size)


def _given(rng: np.random.RandomState | None) -> np.random.RandomState:
    if rng is None:
        raise TypeError("a random crop draws from a generator, and there is none: give rng")
    return rng


def _check_shape(height: int, width: int, shape: tuple[int, int]) -> None:
    if math.prod(shape) > MAX_RESIZED_PIXELS:
        raise CropError(f"is {height} by {width} pixels, too elongated to be scaled to {shape[0]} by {shape[1]}")


def with_short_side(image: np.ndarray, short: int, interpolation: Interpolation) -> np.ndarray:
    """Returns an image scaled so that its short side has ``short`` pixels.

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        short: wanted length of the short side, in pixels.
        interpolation: how to scale.

    Raises:
        CropError: the image is too elongated.
    """
    shape = short_side_shape(*image.shape[:2], short)
    _check_shape(*image.shape[:2], shape)
    return resize(image, *shape, interpolation)


def cut(image: np.ndarray, crop: Crop, rng: np.random.RandomState | None = None) -> np.ndarray:
    """Cuts one image to the crop's square: plans it with `plan`, then carries the plan out.

    Pillow scales, with antialiasing when it shrinks, as in torchvision's transforms of Pillow images. A random crop is
    scaled by `resize_fast`, which comes close to Pillow.

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        crop: the crop to cut.
        rng: the generator from which a random crop draws; the other crops need none.

    Returns:
        uint8 of shape ``(crop.size, crop.size, channels)``.

    Raises:
        CropError: as `plan` does.
    """
    return carry_out(plan(crop, *image.shape[:2], rng), image, crop)


def carry_out(planned: Cut, image: np.ndarray, crop: Crop) -> np.ndarray:
    """Cuts an image as `plan` planned it; the image's rows below the box may be missing."""
    top, left, height, width = planned.box
    image = image[top : top + height, left : left + width]
    if not isinstance(crop, Pad):
        image = (resize_fast if is_random(crop) else resize)(image, *planned.shape, crop.interpolation)
    return _window(image, *planned.corner, planned.size)


def _window(image: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    """Returns a square of an image, black where it extends beyond the image."""
    height, width, channels = image.shape
    inside = image[max(top, 0) : top + size, max(left, 0) : left + size]
    if inside.shape[:2] == (size, size):
        return inside
    window = np.zeros((size, size, channels), np.uint8)
    window[max(-top, 0) : height - top, max(-left, 0) : width - left] = inside
    return window
