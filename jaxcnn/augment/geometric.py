"""Augmentations that move pixels. Each takes one key an image, so an image's fate does not depend on its batch."""

import jax
import jax.numpy as jnp


def random_crop(keys: jax.Array, images: jax.Array, *, padding: int, fill: int = 0) -> jax.Array:
    """Takes a window of the image's own size, placed uniformly, out of the image padded on all sides.

    As torchvision's ``RandomCrop(size, padding)``; the usual augmentation of CIFAR (arXiv:1512.03385, section 4.2).

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        padding: pixels added on each side.
        fill: grey level of what is added.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, _ = images.shape
    offsets = jax.vmap(lambda key: jax.random.randint(key, (2,), -padding, padding + 1))(keys)

    # One axis at a time: a gather of whole rows, then of whole columns, is several times faster on a CPU than a
    # dynamic slice under vmap.
    def shift(images, offset, length, axis):
        source = offset[:, None] + jnp.arange(length)[None]
        shape = [1, 1, 1, 1]
        shape[0], shape[axis] = source.shape
        inside = ((source >= 0) & (source < length)).reshape(shape)
        shifted = jnp.take_along_axis(images, jnp.clip(source, 0, length - 1).reshape(shape), axis=axis)
        return jnp.where(inside, shifted, jnp.array(fill, images.dtype))

    return shift(shift(images, offsets[:, 0], height, 1), offsets[:, 1], width, 2)


def horizontal_flip(keys: jax.Array, images: jax.Array, *, probability: float = 0.5) -> jax.Array:
    """Mirrors each image left to right with this probability.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels).
        probability: of a flip.

    Returns:
        Images of the same shape and dtype.
    """
    flipped = jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)
    return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)
