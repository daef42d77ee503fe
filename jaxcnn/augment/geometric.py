"""Augmentations that move pixels. Each takes a key for each image, so what it does to one does not depend on its batch.

The options stand above each function; their fields, apart from ``kind``, are its arguments.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxcnn.augment.arrays import Images, Keys, Pixels
from jaxcnn.augment.warp import Fill, SampledAt, inverse_affine, inverse_perspective, warp
from jaxcnn.config import Augmentation, option_group
from jaxcnn.config.options import GreyLevel, Interval, PositiveInt, Probability, SignedInterval


@option_group
class RandomCrop(Augmentation):
    """Cuts a window of the image's own size out of the image padded by ``padding`` pixels on each side."""

    padding: PositiveInt = 4
    fill: GreyLevel = 0
    """The grey level of the padding."""
    kind: Literal["random_crop"] = "random_crop"


def random_crop(keys: Keys, images: Pixels, *, padding: int, fill: int = 0) -> Pixels:
    """Takes a window of the image's own size, placed uniformly, out of the image padded on all sides.

    It equals torchvision's ``RandomCrop(size, padding)``, the usual augmentation of CIFAR (arXiv:1512.03385, section
    4.2).

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        padding: the number of pixels added on each side.
        fill: the grey level of what is added.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, _ = images.shape
    offsets = jax.vmap(lambda key: jax.random.randint(key, (2,), -padding, padding + 1))(keys)

    # A gather of whole rows, then of whole columns, is several times faster on a CPU than a dynamic slice under vmap.
    def shift(images, offset, length, axis):
        source = offset[:, None] + jnp.arange(length)[None]
        shape = [1, 1, 1, 1]
        shape[0], shape[axis] = source.shape
        inside = ((source >= 0) & (source < length)).reshape(shape)
        shifted = jnp.take_along_axis(images, jnp.clip(source, 0, length - 1).reshape(shape), axis=axis)
        return jnp.where(inside, shifted, jnp.array(fill, images.dtype))

    return shift(shift(images, offsets[:, 0], height, 1), offsets[:, 1], width, 2)


@option_group
class HorizontalFlip(Augmentation):
    """Mirrors an image with this probability."""

    probability: Probability = 0.5
    kind: Literal["horizontal_flip"] = "horizontal_flip"


def horizontal_flip(keys: Keys, images: Images, *, probability: float = 0.5) -> Images:
    """Mirrors each image left to right with this probability.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels).
        probability: the probability of a flip.

    Returns:
        Images of the same shape and dtype.
    """
    return jnp.where(_chosen(keys, probability)[:, None, None, None], images[:, :, ::-1], images)


@option_group
class VerticalFlip(Augmentation):
    """Turns an image upside down, as in a mirror, with this probability."""

    probability: Probability = 0.5
    kind: Literal["vertical_flip"] = "vertical_flip"


def vertical_flip(keys: Keys, images: Images, *, probability: float = 0.5) -> Images:
    """Turns each image upside down, as in a mirror, with this probability.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels).
        probability: the probability of a flip.

    Returns:
        Images of the same shape and dtype.
    """
    return jnp.where(_chosen(keys, probability)[:, None, None, None], images[:, ::-1], images)


@option_group
class RandomRotation(Augmentation):
    """Rotates an image about its middle, like torchvision's ``RandomRotation``."""

    degrees: SignedInterval = (-10.0, 10.0)
    """The smallest and the largest angle, counter-clockwise; drawn uniformly."""
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """The grey level where there was no image, one for each channel or one for all."""
    kind: Literal["random_rotation"] = "random_rotation"


def random_rotation(
    keys: Keys,
    images: Pixels,
    *,
    degrees: tuple[float, float],
    interpolation: SampledAt,
    fill: Fill,
) -> Pixels:
    """Rotates each image about its middle, as torchvision's ``RandomRotation``.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        degrees: the smallest and the largest angle, counter-clockwise; drawn uniformly.
        interpolation: as `sample`'s.
        fill: as `sample`'s.

    Returns:
        Images of the same shape and dtype.
    """
    angle = -_uniform(keys, degrees)
    return warp(images, inverse_affine(angle=angle), interpolation=interpolation, fill=fill)


@option_group
class RandomAffine(Augmentation):
    """Shears, scales, rotates and translates by amounts drawn uniformly, like torchvision's ``RandomAffine``."""

    degrees: SignedInterval = (0.0, 0.0)
    """The smallest and the largest angle, clockwise."""
    translate: tuple[Probability, Probability] = (0.0, 0.0)
    """The largest share of the width, and of the height, to either side; whole pixels."""
    scale: Interval = (1.0, 1.0)
    """The smallest and the largest factor of lengths."""
    shear_x: SignedInterval = (0.0, 0.0)
    """The smallest and the largest shear along x, in degrees."""
    shear_y: SignedInterval = (0.0, 0.0)
    """The smallest and the largest shear along y, in degrees."""
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """The grey level where there was no image, one for each channel or one for all."""
    kind: Literal["random_affine"] = "random_affine"


def random_affine(
    keys: Keys,
    images: Pixels,
    *,
    degrees: tuple[float, float],
    translate: tuple[float, float],
    scale: tuple[float, float],
    shear_x: tuple[float, float],
    shear_y: tuple[float, float],
    interpolation: SampledAt,
    fill: Fill,
) -> Pixels:
    """Shears, scales, rotates and translates each image, as torchvision's ``RandomAffine``; everything drawn uniformly.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        degrees: the smallest and the largest angle, clockwise.
        translate: the largest share of the width, and of the height, to either side; rounded to whole pixels.
        scale: the smallest and the largest factor of lengths.
        shear_x: the smallest and the largest shear along x, in degrees.
        shear_y: the same along y.
        interpolation: as `sample`'s.
        fill: as `sample`'s.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, _ = images.shape
    across, down = translate[0] * width, translate[1] * height
    intervals = (degrees, (-across, across), (-down, down), scale, shear_x, shear_y)
    folded = jax.vmap(jax.random.fold_in, (0, None))
    angle, x, y, factor, *shears = (_uniform(folded(keys, index), interval) for index, interval in enumerate(intervals))
    matrices = inverse_affine(
        angle=angle,
        translate_x=jnp.round(x),
        translate_y=jnp.round(y),
        scale=factor,
        shear_x=shears[0],
        shear_y=shears[1],
    )
    return warp(images, matrices, interpolation=interpolation, fill=fill)


@option_group
class RandomPerspective(Augmentation):
    """Moves each corner inward, and the image with it, like torchvision's ``RandomPerspective``."""

    distortion_scale: Probability = 0.5
    """The largest share of the half width, and of the half height, by which a corner moves."""
    probability: Probability = 0.5
    interpolation: SampledAt = "bilinear"
    fill: Fill = (0,)
    """The grey level where there was no image, one for each channel or one for all."""
    kind: Literal["random_perspective"] = "random_perspective"


def random_perspective(
    keys: Keys,
    images: Pixels,
    *,
    distortion_scale: float,
    probability: float,
    interpolation: SampledAt,
    fill: Fill,
) -> Pixels:
    """Moves each corner inward by whole pixels, and the image with them, as torchvision's ``RandomPerspective``.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        distortion_scale: the largest share of the half width, and of the half height, by which a corner moves.
        probability: the probability of moving an image's corners at all.
        interpolation: as `sample`'s.
        fill: as `sample`'s.

    Returns:
        Images of the same shape and dtype.
    """
    _, height, width, _ = images.shape
    bounds = jnp.array([int(distortion_scale * (length // 2)) + 1 for length in (width, height)])
    whether, where = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    inward = jax.vmap(lambda key: jax.random.randint(key, (4, 2), 0, bounds[None]))(where)
    inward = jnp.where(_chosen(whether, probability)[:, None, None], inward, 0)
    right, bottom = width - 1, height - 1
    corners = jnp.array([[0, 0], [right, 0], [right, bottom], [0, bottom]])
    signs = jnp.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    matrices = inverse_perspective(corners[None] + signs[None] * inward, height, width)
    return warp(images, matrices, interpolation=interpolation, fill=fill)


def _chosen(keys: jax.Array, probability: float) -> jax.Array:
    return jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)


def _uniform(keys: jax.Array, interval: tuple[float, float]) -> jax.Array:
    low, high = interval
    return jax.vmap(lambda key: jax.random.uniform(key, (), minval=low, maxval=high))(keys)
