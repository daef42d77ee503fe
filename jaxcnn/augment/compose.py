"""Makes one function of a config's list of augmentations, and float32 images of uint8 ones.

The augmentations are those of `jaxcnn.augment.registry`. They are applied in the order of what they change: uint8
pixels; normalized float32 pixels; a whole normalized batch with its targets.
"""

import dataclasses
import functools
import itertools
import typing

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, Real

from jaxcnn.augment.arrays import Keys, Pixels
from jaxcnn.augment.registry import AUGMENTATIONS, Change, On
from jaxcnn.config import Augmentation, ConfigError, Normalization
from jaxcnn.errors import UserError


def check_order(augmentations: tuple[Augmentation, ...]) -> None:
    """Refuses a list in which an augmentation comes after one that is applied later.

    Raises:
        ConfigError: there are two such augmentations. The message names them.
    """
    order = [typing.get_args(On).index(_on(step)) for step in augmentations]
    for index, (this, following) in enumerate(itertools.pairwise(order)):
        if this > following:
            first, second = (augmentations[position].kind for position in (index, index + 1))
            raise ConfigError(
                f"augmentations.{index + 1}, {second}, cannot come after {first}: move it before. Erasing, then "
                "mixing, come last, on normalized images"
            )


def mixes(augmentations: tuple[Augmentation, ...]) -> bool:
    """Returns whether targets become soft."""
    return any(_on(step) == "batch" for step in augmentations)


def _on(step: Augmentation) -> On:
    return AUGMENTATIONS.implementation(step).on


def augmented_shape(shape: tuple[int, int, int], augmentations: tuple[Augmentation, ...]) -> tuple[int, int, int]:
    """Returns an image's (height, width, channels) after augmentations, without computing an image.

    Raises:
        ConfigError: an augmentation does not fit such images.
    """

    def run(images):
        keys, plain = jax.random.split(jax.random.key(0), 1), Normalization(mean=(0.0,), std=(1.0,))
        return augment(keys, images, jnp.zeros(1, jnp.int32), augmentations, plain, num_classes=1)[0]

    return jax.eval_shape(run, jax.ShapeDtypeStruct((1, *shape), jnp.uint8)).shape[1:]


def augment(
    keys: Keys,
    images: Pixels,
    labels: Int32[Array, " batch"],
    augmentations: tuple[Augmentation, ...],
    normalization: Normalization,
    num_classes: int,
) -> tuple[
    Float32[Array, "batch new_height new_width new_channels"],
    Int32[Array, " batch"] | Float32[Array, "batch {num_classes}"],
]:
    """Applies augmentations in their order, and normalizes.

    Args:
        keys: (batch,) typed PRNG keys, a function of each image's epoch and position in it.
        images: (batch, height, width, channels), uint8.
        labels: (batch,), int32.
        augmentations: the augmentations as the config lists them, in an order that `check_order` accepts.
        normalization: the normalization, which comes before the first augmentation of normalized pixels.
        num_classes: the number of classes of the targets, where they become soft.

    Returns:
        Float32 images, and the labels. Where `mixes` is true, targets stand in place of the labels: float32 (batch,
        num_classes), each a distribution.

    Raises:
        UserError: an augmentation is not registered, or returned something else than a batch of such images.
    """
    steps = [
        (step, jax.vmap(jax.random.fold_in, (0, None))(keys, index), _with_options(step))
        for index, step in enumerate(augmentations)
    ]
    for step, step_keys, change in steps:
        if _on(step) == "pixels":
            images = _checked(step, images, change(step_keys, images))
    images = normalize(images, normalization)
    for step, step_keys, change in steps:
        if _on(step) == "normalized":
            images = _checked(step, images, change(step_keys, images))
    if not mixes(augmentations):
        return images, labels
    targets = jax.nn.one_hot(labels, num_classes)
    for step, step_keys, change in steps:
        if _on(step) == "batch":
            mixed, targets = change(step_keys, images, targets)
            images = _checked(step, images, mixed)
    return images, targets


def _with_options(step: Augmentation) -> Change:
    """Returns the function of an augmentation with its options bound: it takes the keys and what it changes."""
    options = {field.name: getattr(step, field.name) for field in dataclasses.fields(step) if field.name != "kind"}
    return functools.partial(AUGMENTATIONS.implementation(step).function, **options)


def _checked(step: Augmentation, images: jax.Array, changed: jax.Array) -> jax.Array:
    if changed.dtype != images.dtype or changed.ndim != 4 or len(changed) != len(images):
        raise UserError(
            f"augmentation {step.kind} made {changed.dtype} {changed.shape} of {images.dtype} {images.shape}: have the "
            "function given to register_augmentation return as many images of the same type"
        )
    return changed


def normalize(
    images: Real[Array, "batch height width channels"], normalization: Normalization
) -> Float32[Array, "batch height width channels"]:
    """Returns ``(images / 255 - mean) / std`` as float32, for levels from 0 to 255, uint8 or not rounded."""
    mean, std = jnp.array(normalization.mean), jnp.array(normalization.std)
    multiplier, offset = (each.reshape(1, 1, 1, -1) for each in (1 / (255 * std), -mean / std))
    return images.astype(jnp.float32) * multiplier + offset
