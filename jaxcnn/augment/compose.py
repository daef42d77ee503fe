"""From a config's list of augmentations to one function, and from uint8 to what a network takes."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.geometric import horizontal_flip, random_crop
from jaxcnn.config import Augmentation, HorizontalFlip, Normalization, RandomCrop


def augment(keys: jax.Array, images: jax.Array, augmentations: tuple[Augmentation, ...]) -> jax.Array:
    """Applies augmentations in their order.

    Args:
        keys: (batch,) typed PRNG keys, a function of each image's epoch and place in it.
        images: (batch, height, width, channels), uint8.
        augmentations: as the config lists them.

    Returns:
        uint8 images of the same shape.
    """
    for index, step in enumerate(augmentations):
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
        match step:
            case RandomCrop():
                images = random_crop(step_keys, images, padding=step.padding, fill=step.fill)
            case HorizontalFlip():
                images = horizontal_flip(step_keys, images, probability=step.probability)
    return images


def normalize(images: jax.Array, normalization: Normalization) -> jax.Array:
    """Returns ``(images / 255 - mean) / std`` as float32, for uint8 images (batch, height, width, channels)."""
    mean, std = jnp.array(normalization.mean), jnp.array(normalization.std)
    multiplier, offset = (each.reshape(1, 1, 1, -1) for each in (1 / (255 * std), -mean / std))
    return images.astype(jnp.float32) * multiplier + offset
