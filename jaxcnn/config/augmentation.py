"""What happens to training images on the accelerator."""

from typing import Annotated, Literal

from pydantic import Field

from jaxcnn.config.color import (
    ColorJitter,
    GaussianBlur,
    Lighting,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from jaxcnn.config.data import RandomResizedCrop
from jaxcnn.config.geometric import (
    Cutout,
    RandomAffine,
    RandomErasing,
    RandomPerspective,
    RandomRotation,
    VerticalFlip,
)
from jaxcnn.config.options import PositiveFloat, PositiveInt, Probability, option_group
from jaxcnn.config.policies import AugMix, AutoAugment, RandAugment, TrivialAugmentWide


@option_group
class RandomCrop:
    """A window of the image's own size out of the image padded by ``padding`` pixels on each side."""

    padding: PositiveInt = 4
    fill: Annotated[int, Field(ge=0, le=255)] = 0
    """Grey level of the padding."""
    kind: Literal["random_crop"] = "random_crop"


@option_group
class HorizontalFlip:
    """Mirrors an image with this probability."""

    probability: Probability = 0.5
    kind: Literal["horizontal_flip"] = "horizontal_flip"


@option_group
class MixUp:
    """Each image and target blended with another's of the batch (arXiv:1710.09412): torchvision's ``MixUp``."""

    alpha: PositiveFloat = 0.2
    """The share, one a batch, is drawn from Beta(alpha, alpha)."""
    probability: Probability = 1.0
    """Of blending a batch at all."""
    kind: Literal["mixup"] = "mixup"


@option_group
class CutMix:
    """A box of each image out of another of the batch, targets by area (arXiv:1905.04899): torchvision's ``CutMix``."""

    alpha: PositiveFloat = 1.0
    """The share of the area that stays, one a batch, is drawn from Beta(alpha, alpha)."""
    probability: Probability = 1.0
    """Of cutting a batch at all."""
    kind: Literal["cutmix"] = "cutmix"


@option_group
class MixUpOrCutMix:
    """One of the two, drawn anew for each batch: torchvision's reference scripts draw evenly."""

    mixup_alpha: PositiveFloat = 0.2
    cutmix_alpha: PositiveFloat = 1.0
    cutmix_probability: Probability = 0.5
    """Of CutMix rather than MixUp."""
    probability: Probability = 1.0
    """Of either."""
    kind: Literal["mixup_or_cutmix"] = "mixup_or_cutmix"


Augmentation = Annotated[
    RandomCrop
    | RandomResizedCrop
    | HorizontalFlip
    | VerticalFlip
    | RandomRotation
    | RandomAffine
    | RandomPerspective
    | ColorJitter
    | Lighting
    | RandomGrayscale
    | RandomAutocontrast
    | RandomEqualize
    | RandomPosterize
    | RandomSolarize
    | RandomInvert
    | RandomAdjustSharpness
    | GaussianBlur
    | AutoAugment
    | RandAugment
    | TrivialAugmentWide
    | AugMix
    | RandomErasing
    | Cutout
    | MixUp
    | CutMix
    | MixUpOrCutMix,
    Field(discriminator="kind"),
]


@option_group
class Normalization:
    """``(pixel / 255 - mean) / std``, one value a channel, or one for all channels. The defaults are ILSVRC's."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, ...] = (0.229, 0.224, 0.225)
