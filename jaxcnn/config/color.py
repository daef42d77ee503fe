"""Augmentations of colour and sharpness."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxcnn.config.options import Interval, NonNegativeFloat, PositiveInt, Probability, option_group


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("must be odd, so that the kernel has a middle")
    return size


@option_group
class ColorJitter:
    """Brightness, contrast, saturation and hue changed in a random order: torchvision's ``ColorJitter``.

    The first three by a factor from [max(0, 1 - value), 1 + value], each its own. The defaults are those of ResNet's
    recipe in Torch (fb.resnet.torch, ``datasets/imagenet.lua``).
    """

    brightness: NonNegativeFloat = 0.4
    contrast: NonNegativeFloat = 0.4
    saturation: NonNegativeFloat = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The hue is turned by a share of the circle from [-hue, hue]."""
    probability: Probability = 1.0
    """Of changing an image at all."""
    kind: Literal["color_jitter"] = "color_jitter"


@option_group
class Lighting:
    """AlexNet's change of the light's colour and strength (Krizhevsky et al., 2012, section 4.1)."""

    std: NonNegativeFloat = 0.1
    """Of the three normal draws an image that scale ILSVRC's principal components of RGB."""
    kind: Literal["lighting"] = "lighting"


@option_group
class RandomGrayscale:
    """Colour taken out with this probability: torchvision's ``RandomGrayscale``."""

    probability: Probability = 0.1
    kind: Literal["random_grayscale"] = "random_grayscale"


@option_group
class RandomAutocontrast:
    """Each channel stretched to 0..255 with this probability: torchvision's ``RandomAutocontrast``."""

    probability: Probability = 0.5
    kind: Literal["random_autocontrast"] = "random_autocontrast"


@option_group
class RandomEqualize:
    """Each channel's histogram made even with this probability: torchvision's ``RandomEqualize``."""

    probability: Probability = 0.5
    kind: Literal["random_equalize"] = "random_equalize"


@option_group
class RandomPosterize:
    """Only the highest bits of each value kept: torchvision's ``RandomPosterize``."""

    bits: Annotated[int, Field(ge=0, le=8)] = 4
    probability: Probability = 0.5
    kind: Literal["random_posterize"] = "random_posterize"


@option_group
class RandomSolarize:
    """Values from a threshold on inverted: torchvision's ``RandomSolarize``."""

    threshold: Annotated[float, Field(ge=0, le=255)] = 128.0
    probability: Probability = 0.5
    kind: Literal["random_solarize"] = "random_solarize"


@option_group
class RandomInvert:
    """The negative with this probability: torchvision's ``RandomInvert``."""

    probability: Probability = 0.5
    kind: Literal["random_invert"] = "random_invert"


@option_group
class RandomAdjustSharpness:
    """Sharpened (a factor above 1) or smoothed (below): torchvision's ``RandomAdjustSharpness``."""

    factor: NonNegativeFloat = 2.0
    probability: Probability = 0.5
    kind: Literal["random_adjust_sharpness"] = "random_adjust_sharpness"


@option_group
class GaussianBlur:
    """A Gaussian of random width: torchvision's ``GaussianBlur``; the defaults are SimCLR's (arXiv:2002.05709, A)."""

    kernel_size: Annotated[PositiveInt, pydantic.AfterValidator(_odd)] = 23
    """Height and width of the kernel in pixels: about a tenth of 224."""
    sigma: Interval = (0.1, 2.0)
    """Smallest and largest standard deviation in pixels."""
    probability: Probability = 0.5
    kind: Literal["gaussian_blur"] = "gaussian_blur"
