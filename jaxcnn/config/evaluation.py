"""The evaluation protocols: which views of an image a network is measured on, and what is averaged over them.

All protocols, ours and others, are registered in `jaxcnn.data.views`.
"""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxcnn.config.options import Interpolation, PositiveInt, option_group, shared_options
from jaxcnn.config.registry import Role

Average = Literal["probabilities", "scores"]
"""What is averaged over the views of an image: the softmax's outputs, or its inputs."""
ShortSides = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


def _hold_the_view(short_sides: tuple[int, ...], info: pydantic.ValidationInfo) -> tuple[int, ...]:
    size = info.data.get("size", 1)  # it is absent if it was refused
    if min(short_sides) < size:
        raise ValueError(f"must each be at least size={size}")
    return short_sides


class Views(Role):
    """The views of an image that a network is measured on, over which its answers are averaged."""

    registry = "jaxcnn.data.views:PROTOCOLS"


@shared_options
class FixedViews(Views):
    """Views cut on the host, the same number and size for every image. Every kind has these options.

    Kinds are registered by `jaxcnn.data.views.register_protocol`.
    """

    size: PositiveInt = 224
    """The height and width of each view, in pixels."""
    average: Average = "probabilities"


@option_group
class SingleCrop(Views):
    """One view, ``data.evaluation_crop``."""

    kind: Literal["single_crop"] = "single_crop"


@option_group
class CenterCrops(FixedViews):
    """The centre at each of several scales, and its mirror image where ``flip`` is set. This is no paper's protocol."""

    size: PositiveInt = 224
    short_sides: ShortSides = (256,)
    """The lengths in pixels to each of which the short side is scaled."""
    flip: bool = False
    """Whether the mirror image of each is a view too."""
    interpolation: Interpolation = "bilinear"
    average: Average = "probabilities"
    kind: Literal["center_crops"] = "center_crops"

    _short_sides = pydantic.field_validator("short_sides")(_hold_the_view)


@option_group
class TenCrop(FixedViews):
    """The corners, the centre, and the mirror images of the five, at one scale or several.

    The defaults are AlexNet's (NIPS 2012, section 4.1): the views come out of the 256 by 256 centre square, and the
    outputs of the softmax are averaged. torchvision's ``TenCrop`` cuts from the whole scaled image:
    ``from_center_square=False``.
    """

    size: PositiveInt = 224
    short_sides: ShortSides = (256,)
    """The lengths in pixels to each of which the short side is scaled: ten views of each."""
    from_center_square: bool = True
    """Whether the corners are those of the scaled image's centre square, or its own."""
    interpolation: Interpolation = "bilinear"
    average: Average = "probabilities"
    kind: Literal["ten_crop"] = "ten_crop"

    _short_sides = pydantic.field_validator("short_sides")(_hold_the_view)


@option_group
class GooglenetCrops(FixedViews):
    """GoogLeNet's 144 views (arXiv:1409.4842, section 7): 4 scales, 3 squares of each, 6 views of each, and mirrored.

    The paper averages the outputs of the softmax.
    """

    size: PositiveInt = 224
    short_sides: ShortSides = (256, 288, 320, 352)
    interpolation: Interpolation = "bilinear"
    average: Average = "probabilities"
    kind: Literal["googlenet_crops"] = "googlenet_crops"

    _short_sides = pydantic.field_validator("short_sides")(_hold_the_view)


@option_group
class Dense(Views):
    """The whole image at one scale or several, the network's scores averaged over all positions.

    The defaults are VGG's (arXiv:1409.1556, section 3.2): the map of class scores is averaged before the softmax, and
    the softmax's outputs over mirror images and scales. ResNet's (arXiv:1512.03385, section 3.4) is
    ``average="scores"`` with short sides of 224, 256, 384, 480 and 640; its averaging over positions is the network's
    own pooling. A network with a ``fully_convolutional`` option gets it set.
    """

    short_sides: ShortSides = (256,)
    """The lengths in pixels to each of which the short side is scaled."""
    flip: bool = True
    """Whether the mirror image of each is a view too."""
    interpolation: Interpolation = "bilinear"
    average: Average = "probabilities"
    kind: Literal["dense"] = "dense"
