"""Several views of one image, for networks that are measured on the average over them.

These functions only cut; the evaluation decides what is averaged, and how. "Multi-scale" means evaluation at several
lengths of the short side: `multi_scale` returns the whole image at each, for a network that takes any size or for
`ten_crop`, and `googlenet_crops` the squares that GoogLeNet's authors cut. In training a batch has one shape, so
`ScaleJitter` changes the scale from image to image before it cuts the window.
"""

from collections.abc import Sequence

import numpy as np

from jaxcnn.config.options import Interpolation
from jaxcnn.data.crop import CropError, center_box, with_short_side
from jaxcnn.data.resize import resize


def _five_corners(height: int, width: int, size: int) -> list[tuple[int, int]]:
    bottom, right = height - size, width - size
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), center_box(height, width, size)]


def _mirrored(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def five_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the windows in the corners and the centre of an image.

    Args:
        image: array of shape ``(height, width, channels)``.
        size: height and width of the windows, in pixels.

    Returns:
        Array of shape ``(5, size, size, channels)``: top left, top right, bottom left, bottom right, centre.

    Raises:
        CropError: the image is smaller than the windows.
    """
    height, width, _ = image.shape
    if min(height, width) < size:
        raise CropError(f"is {height} by {width} pixels, too small for windows of {size} by {size}")
    corners = _five_corners(height, width, size)
    return np.stack([image[top : top + size, left : left + size] for top, left in corners])


def ten_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the windows in the corners and the centre of an image, and those of its mirror image.

    Geometry and order are those of ``ten_crop`` in torchvision's ``transforms/functional.py``: the sixth is the top
    left of the mirror image, which is the mirror image of the second. AlexNet's ten (NIPS 2012, section 4.1) are cut
    from the 256 by 256 centre square, which is ``CenterCrop(size=256, resize=256)``; torchvision's ten are cut from the
    whole resized image, so they lie further apart.

    Args:
        image: array of shape ``(height, width, channels)``.
        size: height and width of the windows, in pixels.

    Returns:
        Array of shape ``(10, size, size, channels)``.

    Raises:
        CropError: the image is smaller than the windows.
    """
    return np.concatenate([five_crop(image, size), five_crop(_mirrored(image), size)])


def multi_scale(
    image: np.ndarray, short_sides: Sequence[int], interpolation: Interpolation = "bilinear"
) -> list[np.ndarray]:
    """Returns an image at several scales, as VGG is evaluated (arXiv:1409.1556, section 4.2).

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        short_sides: wanted lengths of the short side, in pixels; (256, 384, 512) for a VGG trained on 256 to 512.
        interpolation: how to scale.

    Returns:
        uint8 of shape ``(scaled height, scaled width, channels)`` for each.

    Raises:
        CropError: the image is too elongated.
    """
    return [with_short_side(image, short, interpolation) for short in short_sides]


def _three_squares(image: np.ndarray) -> list[np.ndarray]:
    """Returns the left, centre and right square of a landscape; the top, centre and bottom one of a portrait."""
    height, width, _ = image.shape
    short, last = min(height, width), abs(height - width)
    starts = (0, max(center_box(height, width, short)), last)
    if width < height:
        return [image[start : start + short] for start in starts]
    return [image[:, start : start + short] for start in starts]


def googlenet_crops(
    image: np.ndarray,
    size: int = 224,
    short_sides: Sequence[int] = (256, 288, 320, 352),
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """Returns the 144 views that GoogLeNet is evaluated on (arXiv:1409.4842, section 7).

    The image is scaled to four lengths of its short side. From each scale three squares are cut, along the long side;
    from each square the four corners and the centre, and the square itself is scaled to ``size``. All of these are also
    mirrored. The paper names no interpolation.

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        size: height and width of the views, in pixels.
        short_sides: wanted lengths of the short side, in pixels.
        interpolation: how to scale.

    Returns:
        uint8 of shape ``(12 * 3 * len(short_sides), size, size, channels)``, ordered by scale, then by square (left or
        top first); of each square first the views of `five_crop`, then the whole square, then these six mirrored.

    Raises:
        CropError: the image is too elongated, or a short side is below ``size``.
    """
    views = []
    for scaled in multi_scale(image, short_sides, interpolation):
        for square in _three_squares(scaled):
            six = [*five_crop(square, size), resize(square, size, size, interpolation)]
            views += [*six, *map(_mirrored, six)]
    return np.stack(views)
