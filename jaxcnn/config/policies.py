"""Policies: several operations, drawn at random."""

import math
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxcnn.config.geometric import Fill, SampledAt
from jaxcnn.config.options import NonNegativeFloat, PositiveFloat, PositiveInt, Probability, option_group

Bins = Annotated[int, Field(ge=2)]


@option_group
class AutoAugment:
    """Two operations, one of 25 pairs found by a search on a data set (arXiv:1805.09501): torchvision's."""

    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"
    """The data set of the search."""
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """Grey level where there was no image: one a channel, or one for all."""
    kind: Literal["auto_augment"] = "auto_augment"


@option_group
class RandAugment:
    """Operations drawn evenly, all of one magnitude (arXiv:1909.13719): torchvision's ``RandAugment``.

    timm's ``rand-m9-mstd0.5-inc1`` is ``RandAugment(magnitude=9, magnitude_std=0.5, num_magnitude_bins=11,
    increasing=True, probability=0.5)``.
    """

    num_ops: PositiveInt = 2
    """Operations an image."""
    num_magnitude_bins: Bins = 31
    magnitude: NonNegativeFloat = 9.0
    """From 0 to ``num_magnitude_bins - 1``."""
    magnitude_std: NonNegativeFloat = 0.0
    """Of a normal draw about the magnitude for each operation, clipped to the same range."""
    increasing: bool = False
    """Operations of timm's increasing set: solarize_add and invert besides, and no identity; posterize to 4 bits or
    less."""
    probability: Probability = 1.0
    """Of doing each operation that was drawn."""
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """Grey level where there was no image: one a channel, or one for all."""
    kind: Literal["rand_augment"] = "rand_augment"

    @pydantic.field_validator("magnitude")
    @classmethod
    def _in_range(cls, magnitude: float, info: pydantic.ValidationInfo) -> float:
        bins = info.data.get("num_magnitude_bins", math.inf)
        if magnitude > bins - 1:
            raise ValueError(f"must be at most {bins - 1}, one less than num_magnitude_bins")
        return magnitude


@option_group
class TrivialAugmentWide:
    """One operation and its magnitude, drawn evenly (arXiv:2103.10158): torchvision's ``TrivialAugmentWide``."""

    num_magnitude_bins: Bins = 31
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """Grey level where there was no image: one a channel, or one for all."""
    kind: Literal["trivial_augment_wide"] = "trivial_augment_wide"


@option_group
class AugMix:
    """The average of chains of operations, blended with the image (arXiv:1912.02781): torchvision's ``AugMix``."""

    severity: Annotated[int, Field(ge=1, le=10)] = 3
    """Each operation is of one of so many lowest magnitudes of ten."""
    mixture_width: PositiveInt = 3
    """Chains an image."""
    chain_depth: PositiveInt | None = None
    """Operations a chain; by default 1 to 3, drawn for each chain."""
    alpha: PositiveFloat = 1.0
    """Weights are drawn from Dirichlet(alpha, ..., alpha) and Beta(alpha, alpha)."""
    all_ops: bool = True
    """Brightness, colour, contrast and sharpness besides: the paper leaves them out, for ImageNet-C tests with them."""
    interpolation: SampledAt = "bilinear"
    fill: Fill = (0,)
    """Grey level where there was no image: one a channel, or one for all."""
    kind: Literal["aug_mix"] = "aug_mix"
