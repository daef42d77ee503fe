"""The registry of evaluation protocols, ours and those of a recipe, and the views of an image that they cut."""

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from jaxcnn.config import CenterCrop, CenterCrops, Dense, FixedViews, GooglenetCrops, SingleCrop, TenCrop, Views
from jaxcnn.config.registry import Kinds
from jaxcnn.data.crop import cut, with_short_side
from jaxcnn.data.multi_crop import googlenet_crops, multi_scale, ten_crop
from jaxcnn.errors import UserError
from jaxcnn.types import TypeHint

FixedViewsT = TypeVar("FixedViewsT", bound=FixedViews)
Cut = Callable[[np.ndarray, Any], np.ndarray]
"""A function from an image and a protocol's options to the image's views."""

PROTOCOLS: Kinds[Views, Cut | None] = Kinds(Views, "protocol")
"""The protocols, with the function that cuts an image's views: None for `SingleCrop`, whose view is the data's own
crop, and for `Dense`, whose images stay whole (`scaled_images`)."""


def register_protocol(group: type[FixedViewsT], cut: Callable[[np.ndarray, FixedViewsT], np.ndarray]) -> None:
    """Adds a protocol, whose options can then be the views of an evaluation.

    Args:
        group: the class of its options: an `option_group` derived from `FixedViews`, with a field ``kind:
            Literal["name"] = "name"``. They must be hashable: tuples, and neither lists nor dictionaries.
        cut: a pure function from an image, uint8 (height, width, 1 or 3), and the options to its views, uint8 (views,
            size, size, channels), as many of every image. It may raise `jaxcnn.data.crop.CropError` for an image that
            it cannot cut, which then counts as unreadable.

    Raises:
        UserError: the class is not such a group, or its kind is taken.
    """
    if not issubclass(group, FixedViews):
        raise PROTOCOLS.refusal(group, "derive it from FixedViews and decorate it with @option_group")
    PROTOCOLS.register(group, cut)


def protocol_union() -> TypeHint:
    """Returns the union of the classes of all protocols that are registered by now, for a parser of commands."""
    return functools.reduce(operator.or_, PROTOCOLS.groups.values())


def view_count(views: FixedViews) -> int:
    """Returns the number of views of each image.

    They are counted by cutting a black square twice as large as the views. A protocol cuts the same number of views
    from every image, so the number cannot disagree with what is cut.

    Raises:
        UserError: the protocol is not registered, or its function returned something else than views of its size.
    """
    return _count(PROTOCOLS.implementation(views), views)


def cut_views(image: np.ndarray, views: FixedViews) -> np.ndarray:
    """Returns an image's views.

    Args:
        image: uint8 of shape ``(height, width, 1 or 3)``.
        views: the protocol.

    Returns:
        uint8 of shape ``(view_count(views), views.size, views.size, channels)``.

    Raises:
        CropError: the image cannot be cut: it is too elongated to be scaled.
        UserError: the protocol is not registered, or its function returned something else than that many views of its
            size.
    """
    cut_image = PROTOCOLS.implementation(views)
    found, count = _cut(cut_image, image, views), _count(cut_image, views)
    if len(found) != count:
        raise UserError(
            f"protocol {views.kind} cut {len(found)} views of one image and {count} of another: have the function "
            "given to register_protocol cut as many of every image"
        )
    return found


@functools.lru_cache(maxsize=64)
def _count(cut_image: Cut | None, views: FixedViews) -> int:
    return len(_cut(cut_image, np.zeros((2 * views.size, 2 * views.size, 3), np.uint8), views))


def _cut(cut_image: Cut | None, image: np.ndarray, views: FixedViews) -> np.ndarray:
    assert cut_image is not None  # only what is no `FixedViews` is registered without
    found = cut_image(image, views)
    expected = (views.size, views.size, image.shape[-1])
    if found.ndim != 4 or found.shape[1:] != expected or found.dtype != np.uint8:
        raise UserError(
            f"protocol {views.kind} cut {found.dtype} {found.shape}: have the function given to register_protocol "
            f"return uint8 (views, {', '.join(map(str, expected))})"
        )
    return found


def scaled_images(image: np.ndarray, views: Dense) -> list[np.ndarray]:
    """Returns the whole image at each scale; the device mirrors it.

    Raises:
        CropError: the image is too elongated to be scaled.
    """
    return multi_scale(image, views.short_sides, views.interpolation)


def _center_crops(image: np.ndarray, views: CenterCrops) -> np.ndarray:
    """Returns the centre at each scale, then the mirror image of each."""
    crops = [
        CenterCrop(size=views.size, resize=short, interpolation=views.interpolation) for short in views.short_sides
    ]
    centers = np.stack([cut(image, crop) for crop in crops])
    return np.concatenate([centers, centers[:, :, ::-1]]) if views.flip else centers


def _ten_crop(image: np.ndarray, views: TenCrop) -> np.ndarray:
    """Returns ten views of each scale, one scale after the other."""
    if views.from_center_square:
        crops = [CenterCrop(size=short, resize=short, interpolation=views.interpolation) for short in views.short_sides]
        scaled = [cut(image, crop) for crop in crops]
    else:
        scaled = [with_short_side(image, short, views.interpolation) for short in views.short_sides]
    return np.concatenate([ten_crop(each, views.size) for each in scaled])


def _googlenet_crops(image: np.ndarray, views: GooglenetCrops) -> np.ndarray:
    return googlenet_crops(image, views.size, views.short_sides, views.interpolation)


PROTOCOLS.register(SingleCrop, None)
register_protocol(CenterCrops, _center_crops)
register_protocol(TenCrop, _ten_crop)
register_protocol(GooglenetCrops, _googlenet_crops)
PROTOCOLS.register(Dense, None)
