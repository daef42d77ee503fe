"""Augmentations that move pixels or hide them."""

from typing import Literal

from jaxcnn.config.options import (
    FiniteFloat,
    GreyLevel,
    Interval,
    PositiveInt,
    Probability,
    ShareInterval,
    SignedInterval,
    option_group,
)

Fill = tuple[GreyLevel, ...]
SampledAt = Literal["nearest", "bilinear"]


@option_group
class VerticalFlip:
    """Turns an image upside down, as in a mirror, with this probability."""

    probability: Probability = 0.5
    kind: Literal["vertical_flip"] = "vertical_flip"


@option_group
class RandomRotation:
    """A rotation about the middle: torchvision's ``RandomRotation``."""

    degrees: SignedInterval = (-10.0, 10.0)
    """Counter-clockwise; drawn uniformly."""
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """Grey level where there was no image: one a channel, or one for all."""
    kind: Literal["random_rotation"] = "random_rotation"


@option_group
class RandomAffine:
    """Shear, scale, rotation about the middle, translation, each drawn uniformly: torchvision's ``RandomAffine``."""

    degrees: SignedInterval = (0.0, 0.0)
    """Clockwise."""
    translate: tuple[Probability, Probability] = (0.0, 0.0)
    """Largest share of the width, and of the height, to either side; whole pixels."""
    scale: Interval = (1.0, 1.0)
    """Of lengths."""
    shear_x: SignedInterval = (0.0, 0.0)
    """In degrees."""
    shear_y: SignedInterval = (0.0, 0.0)
    """In degrees."""
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """Grey level where there was no image: one a channel, or one for all."""
    kind: Literal["random_affine"] = "random_affine"


@option_group
class RandomPerspective:
    """Each corner moved inward, and the image with it: torchvision's ``RandomPerspective``."""

    distortion_scale: Probability = 0.5
    """Largest share of the half width, and of the half height, by which a corner moves."""
    probability: Probability = 0.5
    interpolation: SampledAt = "bilinear"
    fill: Fill = (0,)
    """Grey level where there was no image: one a channel, or one for all."""
    kind: Literal["random_perspective"] = "random_perspective"


@option_group
class RandomErasing:
    """A box of random area, aspect ratio and place is hidden (arXiv:1708.04896): torchvision's ``RandomErasing``.

    It comes after normalization, where 0 is the mean colour.
    """

    probability: Probability = 0.5
    scale: ShareInterval = (0.02, 0.33)
    """Smallest and largest share of the image's area."""
    ratio: Interval = (0.3, 3.3)
    """Smallest and largest height over width; drawn log-uniformly."""
    value: FiniteFloat | Literal["color", "pixels"] = 0.0
    """Put there; or drawn from a standard normal distribution, once a channel (``color``) or for each pixel."""
    kind: Literal["random_erasing"] = "random_erasing"


@option_group
class Cutout:
    """Squares whose middles lie anywhere, cut off at the border, take the mean colour (arXiv:1708.04552).

    It comes after normalization.
    """

    length: PositiveInt = 16
    """Of a side, in pixels."""
    holes: PositiveInt = 1
    kind: Literal["cutout"] = "cutout"
