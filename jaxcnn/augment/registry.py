"""The registry of augmentations: ours are registered here one by one, and a recipe adds others by the same call."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, Literal

from jaxcnn.augment.erase import Cutout, RandomErasing, cutout, random_erasing
from jaxcnn.augment.geometric import (
    HorizontalFlip,
    RandomAffine,
    RandomCrop,
    RandomPerspective,
    RandomRotation,
    VerticalFlip,
    horizontal_flip,
    random_affine,
    random_crop,
    random_perspective,
    random_rotation,
    vertical_flip,
)
from jaxcnn.augment.mix import CutMix, MixUp, MixUpOrCutMix, cutmix, mixup, mixup_or_cutmix
from jaxcnn.augment.policies import (
    AugMix,
    AutoAugment,
    RandAugment,
    TrivialAugmentWide,
    aug_mix,
    auto_augment,
    rand_augment,
    trivial_augment_wide,
)
from jaxcnn.augment.random_color import (
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
    color_jitter,
    gaussian_blur,
    lighting,
    random_adjust_sharpness,
    random_autocontrast,
    random_equalize,
    random_grayscale,
    random_invert,
    random_posterize,
    random_solarize,
)
from jaxcnn.augment.resized_crop import random_resized_crop
from jaxcnn.config import Augmentation, RandomResizedCrop
from jaxcnn.config.registry import Kinds

On = Literal["pixels", "normalized", "batch"]
"""What an augmentation changes, in the order in which augmentations are applied: uint8 pixels; normalized float32
pixels; a whole normalized batch with its targets."""


Change = Callable[..., Any]
"""A function from keys, images (with a batch's targets) and options by their names to images (and targets)."""


@dataclasses.dataclass(frozen=True)
class Step:
    """The function of an augmentation, and what it changes."""

    function: Change
    """The function that `register_augmentation` was given."""
    on: On


AUGMENTATIONS: Kinds[Augmentation, Step] = Kinds(Augmentation, "augmentation")


def register_augmentation(group: type[Augmentation], function: Change, *, on: On) -> None:
    """Adds an augmentation, whose options can then be among a recipe's ``augmentations``.

    Args:
        group: the class of its options: an `option_group` derived from `Augmentation`, with a field ``kind:
            Literal["name"] = "name"``.
        function: a pure function that JAX can compile. It takes the keys, (batch,) typed PRNG keys, one for each image;
            the images (batch, height, width, channels); with ``on="batch"`` the targets, float32 (batch, classes),
            each a distribution; and by name every option but ``kind``. It returns images of the same dtype, and with
            ``on="batch"`` a pair of images and targets.
        on: ``pixels`` for uint8 images; ``normalized`` for normalized float32 images; ``batch`` for a normalized batch
            with its targets.

    Raises:
        UserError: the class is not such a group, its kind is taken, or the function does not take its options.
    """
    AUGMENTATIONS.check(group)
    if on not in typing.get_args(On):
        raise AUGMENTATIONS.refusal(group, f"on={on!r} is not one of {', '.join(map(repr, typing.get_args(On)))}")
    positional = ("keys", "images", "targets") if on == "batch" else ("keys", "images")
    options = [field.name for field in dataclasses.fields(group) if field.name != "kind"]
    try:
        inspect.signature(function).bind(*positional, **dict.fromkeys(options))
    except TypeError as error:
        takes = ", ".join((*positional, "*" * bool(options), *options))
        raise AUGMENTATIONS.refusal(
            group, f"its function must take ({takes}), and this one does not: {error}"
        ) from None
    AUGMENTATIONS.register(group, Step(function, on))


register_augmentation(RandomCrop, random_crop, on="pixels")
register_augmentation(RandomResizedCrop, random_resized_crop, on="pixels")
register_augmentation(HorizontalFlip, horizontal_flip, on="pixels")
register_augmentation(VerticalFlip, vertical_flip, on="pixels")
register_augmentation(RandomRotation, random_rotation, on="pixels")
register_augmentation(RandomAffine, random_affine, on="pixels")
register_augmentation(RandomPerspective, random_perspective, on="pixels")
register_augmentation(ColorJitter, color_jitter, on="pixels")
register_augmentation(Lighting, lighting, on="pixels")
register_augmentation(RandomGrayscale, random_grayscale, on="pixels")
register_augmentation(RandomAutocontrast, random_autocontrast, on="pixels")
register_augmentation(RandomEqualize, random_equalize, on="pixels")
register_augmentation(RandomPosterize, random_posterize, on="pixels")
register_augmentation(RandomSolarize, random_solarize, on="pixels")
register_augmentation(RandomInvert, random_invert, on="pixels")
register_augmentation(RandomAdjustSharpness, random_adjust_sharpness, on="pixels")
register_augmentation(GaussianBlur, gaussian_blur, on="pixels")
register_augmentation(AutoAugment, auto_augment, on="pixels")
register_augmentation(RandAugment, rand_augment, on="pixels")
register_augmentation(TrivialAugmentWide, trivial_augment_wide, on="pixels")
register_augmentation(AugMix, aug_mix, on="pixels")
register_augmentation(RandomErasing, random_erasing, on="normalized")
register_augmentation(Cutout, cutout, on="normalized")
register_augmentation(MixUp, mixup, on="batch")
register_augmentation(CutMix, cutmix, on="batch")
register_augmentation(MixUpOrCutMix, mixup_or_cutmix, on="batch")
