"""The views of an image that a config asks for, cut on the host."""

import numpy as np

from jaxcnn.config import CenterCrop, CenterCrops, Dense, FixedViews, GooglenetCrops, TenCrop
from jaxcnn.data.crop import cut, with_short_side
from jaxcnn.data.multi_crop import googlenet_crops, multi_scale, ten_crop


def view_count(views: FixedViews) -> int:
    """Returns how many views there are of each image."""
    match views:
        case CenterCrops():
            each = 2 if views.flip else 1
        case TenCrop():
            each = 10
        case GooglenetCrops():
            each = 36
    return each * len(views.short_sides)


def cut_views(image: np.ndarray, views: FixedViews) -> np.ndarray:
    """Returns an image's views.

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        views: which.

    Returns:
        uint8 of shape ``(view_count(views), views.size, views.size, channels)``, by scale.

    Raises:
        CropError: the image is too elongated to be scaled.
    """
    size, interpolation = views.size, views.interpolation
    match views:
        case GooglenetCrops():
            return googlenet_crops(image, size, views.short_sides, interpolation)
        case CenterCrops():
            crops = [CenterCrop(size=size, resize=short, interpolation=interpolation) for short in views.short_sides]
            centers = np.stack([cut(image, crop) for crop in crops])
            return np.concatenate([centers, centers[:, :, ::-1]]) if views.flip else centers
        case TenCrop(from_center_square=True):
            crops = [CenterCrop(size=short, resize=short, interpolation=interpolation) for short in views.short_sides]
            scaled = [cut(image, crop) for crop in crops]
        case TenCrop():
            scaled = [with_short_side(image, short, interpolation) for short in views.short_sides]
    return np.concatenate([ten_crop(each, size) for each in scaled])


def scaled_images(image: np.ndarray, views: Dense) -> list[np.ndarray]:
    """Returns the whole image at each scale, not mirrored: the device does that.

    Raises:
        CropError: the image is too elongated to be scaled.
    """
    return multi_scale(image, views.short_sides, views.interpolation)
