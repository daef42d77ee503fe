"""From a config's list of augmentations to one function, and from uint8 to what a network takes.

An augmentation's function takes the keys, the images and, by name, the fields of its config. It is of one of three
kinds, in the order in which they are applied: of uint8 pixels; of normalized float32 pixels; of a whole normalized
batch with its targets.
"""

import dataclasses
import itertools
import types
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxcnn import config
from jaxcnn.augment.erase import cutout, random_erasing
from jaxcnn.augment.geometric import (
    horizontal_flip,
    random_affine,
    random_crop,
    random_perspective,
    random_rotation,
    vertical_flip,
)
from jaxcnn.augment.mix import cutmix, mixup, mixup_or_cutmix
from jaxcnn.augment.policies import aug_mix, auto_augment, rand_augment, trivial_augment_wide
from jaxcnn.augment.random_color import (
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
from jaxcnn.config import Augmentation, ConfigError, Normalization

PIXELS: Mapping[type, Callable[..., jax.Array]] = types.MappingProxyType(
    {
        config.RandomCrop: random_crop,
        config.RandomResizedCrop: random_resized_crop,
        config.HorizontalFlip: horizontal_flip,
        config.VerticalFlip: vertical_flip,
        config.RandomRotation: random_rotation,
        config.RandomAffine: random_affine,
        config.RandomPerspective: random_perspective,
        config.ColorJitter: color_jitter,
        config.Lighting: lighting,
        config.RandomGrayscale: random_grayscale,
        config.RandomAutocontrast: random_autocontrast,
        config.RandomEqualize: random_equalize,
        config.RandomPosterize: random_posterize,
        config.RandomSolarize: random_solarize,
        config.RandomInvert: random_invert,
        config.RandomAdjustSharpness: random_adjust_sharpness,
        config.GaussianBlur: gaussian_blur,
        config.AutoAugment: auto_augment,
        config.RandAugment: rand_augment,
        config.TrivialAugmentWide: trivial_augment_wide,
        config.AugMix: aug_mix,
    }
)
NORMALIZED: Mapping[type, Callable[..., jax.Array]] = types.MappingProxyType(
    {
        config.RandomErasing: random_erasing,
        config.Cutout: cutout,
    }
)
MIXED: Mapping[type, Callable[..., tuple[jax.Array, jax.Array]]] = types.MappingProxyType(
    {
        config.MixUp: mixup,
        config.CutMix: cutmix,
        config.MixUpOrCutMix: mixup_or_cutmix,
    }
)
_KINDS = (PIXELS, NORMALIZED, MIXED)


def check_order(augmentations: tuple[Augmentation, ...]) -> None:
    """Refuses a list in which one kind comes after a later kind.

    Raises:
        ConfigError: naming the two.
    """
    kinds = [next(number for number, kind in enumerate(_KINDS) if type(step) in kind) for step in augmentations]
    for index, (this, following) in enumerate(itertools.pairwise(kinds)):
        if this > following:
            first, second = (augmentations[place].kind for place in (index, index + 1))
            raise ConfigError(
                f"augmentations.{index + 1}, {second}, cannot come after {first}: move it before. Erasing, then "
                "mixing, come last, on normalized images"
            )


def mixes(augmentations: tuple[Augmentation, ...]) -> bool:
    """Returns whether targets become soft."""
    return any(type(step) in MIXED for step in augmentations)


def augmented_shape(shape: tuple[int, int, int], augmentations: tuple[Augmentation, ...]) -> tuple[int, int, int]:
    """Returns the (height, width, channels) that augmentations make of an image's, without computing an image.

    Raises:
        ConfigError: an augmentation does not fit such images.
    """

    def run(images):
        keys, plain = jax.random.split(jax.random.key(0), 1), Normalization(mean=(0.0,), std=(1.0,))
        return augment(keys, images, jnp.zeros(1, jnp.int32), augmentations, plain, num_classes=1)[0]

    return jax.eval_shape(run, jax.ShapeDtypeStruct((1, *shape), jnp.uint8)).shape[1:]


def augment(
    keys: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    augmentations: tuple[Augmentation, ...],
    normalization: Normalization,
    num_classes: int,
) -> tuple[jax.Array, jax.Array]:
    """Applies augmentations in their order, and normalizes.

    Args:
        keys: (batch,) typed PRNG keys, a function of each image's epoch and place in it.
        images: (batch, height, width, channels), uint8.
        labels: (batch,), int32.
        augmentations: as the config lists them, in the order that `check_order` wants.
        normalization: applied before the first augmentation of normalized pixels.
        num_classes: of the targets, where they become soft.

    Returns:
        Float32 images, and the labels; where `mixes`, instead of them targets, float32 (batch, num_classes), each a
        distribution.
    """
    steps = [
        (jax.vmap(jax.random.fold_in, (0, None))(keys, index), step, _fields(step))
        for index, step in enumerate(augmentations)
    ]
    for step_keys, step, fields in steps:
        if type(step) in PIXELS:
            images = PIXELS[type(step)](step_keys, images, **fields)
    images = normalize(images, normalization)
    for step_keys, step, fields in steps:
        if type(step) in NORMALIZED:
            images = NORMALIZED[type(step)](step_keys, images, **fields)
    if not mixes(augmentations):
        return images, labels
    targets = jax.nn.one_hot(labels, num_classes)
    for step_keys, step, fields in steps:
        if type(step) in MIXED:
            images, targets = MIXED[type(step)](step_keys, images, targets, **fields)
    return images, targets


def _fields(step: Augmentation) -> dict[str, object]:
    return {field.name: getattr(step, field.name) for field in dataclasses.fields(step) if field.name != "kind"}


def normalize(images: jax.Array, normalization: Normalization) -> jax.Array:
    """Returns ``(images / 255 - mean) / std`` as float32, for uint8 images (batch, height, width, channels)."""
    mean, std = jnp.array(normalization.mean), jnp.array(normalization.std)
    multiplier, offset = (each.reshape(1, 1, 1, -1) for each in (1 / (255 * std), -mean / std))
    return images.astype(jnp.float32) * multiplier + offset
