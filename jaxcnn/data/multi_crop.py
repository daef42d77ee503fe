"""Several views of one image, for networks that are measured on the average over them.

Geometry alone: what is averaged, and how, is the evaluation's. "Multi-scale" here is evaluation at several lengths of
the short side: `multi_scale` gives the whole image at each, for a network that runs on any size, or for `ten_crop` of
each, and `googlenet_crops` the squares that GoogLeNet's authors cut. Training has one shape a batch, so there the scale
changes before the window is cut, from image to image: `ScaleJitter`.
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
        image: of shape ``(height, width, channels)``.
        size: of the windows, in pixels.

    Returns:
        Shape ``(5, size, size, channels)``: top left, top right, bottom left, bottom right, centre.

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
    left of the mirror image, so the second one's mirror image. AlexNet's ten (NIPS 2012, section 4.1) come from the 256
    by 256 centre square, which is ``CenterCrop(size=256, resize=256)``; torchvision's of a resized image lie further
    apart.

    Args:
        image: of shape ``(height, width, channels)``.
        size: of the windows, in pixels.

    Returns:
        Shape ``(10, size, size, channels)``.

    Raises:
        CropError: the image is smaller than the windows.
    """
    return np.concatenate([five_crop(image, size), five_crop(_mirrored(image), size)])


def multi_scale(
    image: np.ndarray, short_sides: Sequence[int], interpolation: Interpolation = "bilinear"
) -> list[np.ndarray]:
    """Returns an image at several scales: those at which VGG is evaluated (arXiv:1409.1556, section 4.2).

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        short_sides: lengths of the short side, in pixels: (256, 384, 512) for a VGG trained on 256 to 512.
        interpolation: how to scale.

    Returns:
        uint8 of shape ``(scaled height, scaled width, channels)`` for each.

    Raises:
        CropError: the image is too elongated.
    """
    return [with_short_side(image, short, interpolation) for short in short_sides]


def _three_squares(image: np.ndarray) -> list[np.ndarray]:
    """Left, centre and right square of a landscape; top, centre and bottom of a portrait."""
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

    The image is scaled to four lengths of its short side; of each scale come three squares, along the long side; of
    each square the four corners and the centre, and the square itself scaled to ``size``; of all these the mirror
    images. The paper names no interpolation.

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        size: of the views, in pixels.
        short_sides: in pixels.
        interpolation: how to scale.

    Returns:
        uint8 of shape ``(12 * 3 * len(short_sides), size, size, channels)``, by scale, then square (left or top first),
        then the six as `five_crop` has them and the whole square last, then these mirrored.

    Raises:
        CropError: the image is too elongated, or a short side below ``size``.
    """
    views = []
    for scaled in multi_scale(image, short_sides, interpolation):
        for square in _three_squares(scaled):
            six = [*five_crop(square, size), resize(square, size, size, interpolation)]
            views += [*six, *map(_mirrored, six)]
    return np.stack(views)
