"""Random changes of colour and sharpness, drawn with a key for each image, and so independently of its batch.

Images are uint8 (batch, height, width, channels), in and out. Keys are typed PRNG keys, (batch,). The options stand
above each function; their fields, apart from ``kind``, are its arguments.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Float, Int
from pydantic import Field

from jaxcnn.augment import color
from jaxcnn.augment.arrays import Keys, Pixels
from jaxcnn.config import Augmentation, ConfigError, option_group
from jaxcnn.config.options import Interval, NonNegativeFloat, PositiveInt, Probability

# These are the principal components of RGB in [0, 1] on a random subset of ILSVRC's training images, as fb.resnet.torch
# has them (datasets/imagenet.lua). A row of the vectors is a channel, a column a component.
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


def _sometimes(
    keys: jax.Array, images: jax.Array, probability: float, change: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    changed = jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)
    return jnp.where(color.spread(changed, images), change(images), images)


def _uniform(keys: jax.Array, low: float, high: float) -> jax.Array:
    return jax.vmap(lambda key: jax.random.uniform(key, minval=low, maxval=high))(keys)


def jitter(
    images: Pixels,
    order: Int[Array, "batch 3"],
    factors: Float[Array, "batch 3"],
    turned_after: Int[Array, " batch"],
    turn: Float[Array, " batch"] | None,
) -> Pixels:
    """Changes brightness, contrast and saturation in an order, and the hue between them.

    Args:
        images: (batch, height, width, channels), uint8.
        order: (batch, 3), a permutation of 0 brightness, 1 contrast and 2 saturation.
        factors: (batch, 3), the factors of brightness, contrast and saturation.
        turned_after: (batch,), the number of the three changes, 0 to 3, after which the hue is turned.
        turn: (batch,), the share of the circle by which it is turned; None where it is not.

    Returns:
        Images of the same shape.
    """

    # All three are one kernel: a blend with black, with the mean luma or with the luma.
    def blends(images, due):
        for number in range(3):
            which = order[:, number]
            ratio = jnp.where(due(number), jnp.take_along_axis(factors, which[:, None], axis=1)[:, 0], 1.0)
            luma = color.grey(images).astype(jnp.float32)
            even = jnp.where(which == 1, color.mean_grey(images), 0.0)
            other = jnp.where(color.spread(which == 2, luma), luma, color.spread(even, luma))
            images = color.blend(images, other, ratio)
        return images

    if turn is None:
        return blends(images, lambda number: True)
    images = blends(images, lambda number: number < turned_after)
    images = color.adjust_hue(images, turn)
    return blends(images, lambda number: number >= turned_after)


@option_group
class ColorJitter(Augmentation):
    """Changes brightness, contrast, saturation and hue in a random order, like torchvision's ``ColorJitter``.

    The first three are each changed by a factor from [max(0, 1 - value), 1 + value]. The defaults are those of ResNet's
    recipe in Torch (fb.resnet.torch, ``datasets/imagenet.lua``).
    """

    brightness: NonNegativeFloat = 0.4
    contrast: NonNegativeFloat = 0.4
    saturation: NonNegativeFloat = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The largest share of the circle by which the hue is turned, to either side."""
    probability: Probability = 1.0
    """The probability of changing an image at all."""
    kind: Literal["color_jitter"] = "color_jitter"


def color_jitter(
    keys: Keys,
    images: Pixels,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    probability: float,
) -> Pixels:
    """Changes brightness, contrast, saturation and hue, in an order drawn anew for each image, as torchvision does.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        brightness: the factor is uniform in [max(0, 1 - brightness), 1 + brightness].
        contrast: likewise.
        saturation: likewise; nothing changes where there is one channel.
        hue: the turn is uniform in [-hue, hue], in shares of the circle; likewise.
        probability: the probability of changing an image at all.

    Returns:
        Images of the same shape.
    """
    color_strength = 0.0 if images.shape[-1] == 1 else saturation

    def draw(key):
        keys = jax.random.split(key, 4)
        strengths = jnp.array([brightness, contrast, color_strength])
        factors = jax.random.uniform(keys[0], (3,), minval=jnp.maximum(1 - strengths, 0), maxval=1 + strengths)
        order = jax.random.permutation(keys[1], 3)
        turned_after = jax.random.randint(keys[2], (), 0, 4)
        return order, factors, turned_after, jax.random.uniform(keys[3], minval=-hue, maxval=hue)

    choices, draws = (jax.vmap(jax.random.fold_in, (0, None))(keys, number) for number in range(2))
    order, factors, turned_after, turn = jax.vmap(draw)(draws)
    turn = None if hue == 0 or images.shape[-1] == 1 else turn
    return _sometimes(choices, images, probability, lambda images: jitter(images, order, factors, turned_after, turn))


@option_group
class Lighting(Augmentation):
    """Changes the colour and the strength of the light, like AlexNet's (Krizhevsky et al., 2012, section 4.1)."""

    std: NonNegativeFloat = 0.1
    """The standard deviation of the three draws for each image that scale ILSVRC's principal components of RGB."""
    kind: Literal["lighting"] = "lighting"


def lighting(keys: Keys, images: Pixels, *, std: float) -> Pixels:
    """Adds one colour to each image: the sum of ILSVRC's principal components of RGB, scaled by normal draws.

    It follows AlexNet (Krizhevsky et al., 2012, section 4.1), with the numbers of fb.resnet.torch, but rounds to uint8
    and clips.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, 3), uint8.
        std: the standard deviation of the three draws.

    Returns:
        Images of the same shape.

    Raises:
        ConfigError: the images are grey.
    """
    if images.shape[-1] != 3:
        raise ConfigError(f"lighting changes RGB images, and these have {images.shape[-1]} channel: leave it out")
    draws = std * jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)
    components = 255 * jnp.array(_EIGENVECTORS) * jnp.array([_EIGENVALUES])
    change = jnp.sum(draws[:, None] * components[None], axis=-1)
    lit = jnp.round(images.astype(jnp.float32) + change[:, None, None])
    return jnp.clip(lit, 0, 255).astype(jnp.uint8)


@option_group
class RandomGrayscale(Augmentation):
    """Takes the colour out with this probability, like torchvision's ``RandomGrayscale``."""

    probability: Probability = 0.1
    kind: Literal["random_grayscale"] = "random_grayscale"


def random_grayscale(keys: Keys, images: Pixels, *, probability: float) -> Pixels:
    """Takes the colour out of each image with this probability."""
    return _sometimes(keys, images, probability, color.to_grayscale)


@option_group
class RandomAutocontrast(Augmentation):
    """Stretches each channel to 0..255 with this probability, like torchvision's ``RandomAutocontrast``."""

    probability: Probability = 0.5
    kind: Literal["random_autocontrast"] = "random_autocontrast"


def random_autocontrast(keys: Keys, images: Pixels, *, probability: float) -> Pixels:
    """Stretches the channels of each image to 0..255 with this probability."""
    return _sometimes(keys, images, probability, color.autocontrast)


@option_group
class RandomEqualize(Augmentation):
    """Makes each channel's histogram even with this probability, like torchvision's ``RandomEqualize``."""

    probability: Probability = 0.5
    kind: Literal["random_equalize"] = "random_equalize"


def random_equalize(keys: Keys, images: Pixels, *, probability: float) -> Pixels:
    """Makes the histograms of each image even with this probability."""
    return _sometimes(keys, images, probability, color.equalize)


@option_group
class RandomPosterize(Augmentation):
    """Keeps only the highest bits of each value, like torchvision's ``RandomPosterize``."""

    bits: Annotated[int, Field(ge=0, le=8)] = 4
    probability: Probability = 0.5
    kind: Literal["random_posterize"] = "random_posterize"


def random_posterize(keys: Keys, images: Pixels, *, bits: int, probability: float) -> Pixels:
    """Keeps the highest ``bits`` of each value of an image with this probability."""
    kept = jnp.full(len(images), bits)
    return _sometimes(keys, images, probability, lambda images: color.posterize(images, kept))


@option_group
class RandomSolarize(Augmentation):
    """Inverts values from a threshold on, like torchvision's ``RandomSolarize``."""

    threshold: Annotated[float, Field(ge=0, le=255)] = 128.0
    probability: Probability = 0.5
    kind: Literal["random_solarize"] = "random_solarize"


def random_solarize(keys: Keys, images: Pixels, *, threshold: float, probability: float) -> Pixels:
    """Inverts what is not below the threshold, in each image with this probability."""
    thresholds = jnp.full(len(images), threshold)
    return _sometimes(keys, images, probability, lambda images: color.solarize(images, thresholds))


@option_group
class RandomInvert(Augmentation):
    """Makes an image its negative with this probability, like torchvision's ``RandomInvert``."""

    probability: Probability = 0.5
    kind: Literal["random_invert"] = "random_invert"


def random_invert(keys: Keys, images: Pixels, *, probability: float) -> Pixels:
    """Makes each image its negative with this probability."""
    return _sometimes(keys, images, probability, color.invert)


@option_group
class RandomAdjustSharpness(Augmentation):
    """Sharpens (a factor above 1) or smooths (below 1), like torchvision's ``RandomAdjustSharpness``."""

    factor: NonNegativeFloat = 2.0
    probability: Probability = 0.5
    kind: Literal["random_adjust_sharpness"] = "random_adjust_sharpness"


def random_adjust_sharpness(keys: Keys, images: Pixels, *, factor: float, probability: float) -> Pixels:
    """Sharpens each image by a factor with this probability: 0 smooths, 2 sharpens."""
    factors = jnp.full(len(images), factor)
    return _sometimes(keys, images, probability, lambda images: color.adjust_sharpness(images, factors))


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("must be odd, so that the kernel has a middle")
    return size


@option_group
class GaussianBlur(Augmentation):
    """Blurs by a Gaussian of random width, like torchvision's ``GaussianBlur``.

    The defaults are SimCLR's (arXiv:2002.05709, appendix A).
    """

    kernel_size: Annotated[PositiveInt, pydantic.AfterValidator(_odd)] = 23
    """The height and width of the kernel in pixels: about a tenth of 224."""
    sigma: Interval = (0.1, 2.0)
    """The smallest and the largest standard deviation, in pixels."""
    probability: Probability = 0.5
    kind: Literal["gaussian_blur"] = "gaussian_blur"


def gaussian_blur(
    keys: Keys, images: Pixels, *, kernel_size: int, sigma: tuple[float, float], probability: float
) -> Pixels:
    """Blurs each image with this probability, by a Gaussian whose width is uniform in ``sigma``, in pixels."""
    choices, draws = (jax.vmap(jax.random.fold_in, (0, None))(keys, number) for number in range(2))
    widths = _uniform(draws, *sigma)
    return _sometimes(
        choices, images, probability, lambda images: color.gaussian_blur(images, widths, kernel_size=kernel_size)
    )
