"""Augmentations that blend images of a batch, and their targets with them.

The partner of each image is the one before it in the batch, and there is one draw for the whole batch, as in
torchvision's ``transforms/v2/_augment.py``. It is made with the key of the batch's first image, so it is still a
function of (seed, step).

The options stand above each function; their fields, apart from ``kind``, are its arguments.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxcnn.augment.arrays import Images, Keys, Targets
from jaxcnn.config import Augmentation, option_group
from jaxcnn.config.options import PositiveFloat, Probability


def _share(key: jax.Array, alpha: float, probability: float) -> jax.Array:
    """Returns the share that stays of each image; 1 where the batch is left alone."""
    drawn, whether = jax.random.split(key)
    return jnp.where(jax.random.bernoulli(whether, probability), jax.random.beta(drawn, alpha, alpha), 1.0)


def _blend(own: jax.Array, share: jax.Array) -> jax.Array:
    return share * own + (1 - share) * jnp.roll(own, 1, axis=0)


def _box(key: jax.Array, share: jax.Array, height: int, width: int) -> jax.Array:
    """Returns where a box of the other share of the area lies, bool (height, width); its centre is anywhere."""
    half = 0.5 * jnp.sqrt(1 - share)
    inside = []
    for axis_key, length in zip(jax.random.split(key), (height, width), strict=True):
        center, reach = jax.random.randint(axis_key, (), 0, length), jnp.floor(half * length)
        index = jnp.arange(length)
        inside.append((index >= center - reach) & (index < center + reach))
    return inside[0][:, None] & inside[1][None]


@option_group
class MixUp(Augmentation):
    """Blends each image and target with its neighbour's (arXiv:1710.09412), like torchvision's ``MixUp``."""

    alpha: PositiveFloat = 0.2
    """The parameter of Beta(alpha, alpha), from which the share that stays of each image is drawn, once for a batch."""
    probability: Probability = 1.0
    """The probability of blending a batch at all."""
    kind: Literal["mixup"] = "mixup"


def mixup(keys: Keys, images: Images, targets: Targets, *, alpha: float, probability: float) -> tuple[Images, Targets]:
    """Blends each image and target with its neighbour's (arXiv:1710.09412).

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), float32.
        targets: (batch, classes), float32: probabilities.
        alpha: the parameter of the Beta distribution that the images' share is drawn from.
        probability: the probability of blending at all.

    Returns:
        Images and targets of the same shapes.
    """
    share = _share(keys[0], alpha, probability)
    return _blend(images, share), _blend(targets, share)


@option_group
class CutMix(Augmentation):
    """Puts a box of its neighbour into each image, and blends targets by area, like torchvision's ``CutMix``.

    The method is that of arXiv:1905.04899.
    """

    alpha: PositiveFloat = 1.0
    """The parameter of Beta(alpha, alpha), from which the share of the area that stays is drawn, once for a batch."""
    probability: Probability = 1.0
    """The probability of cutting a batch at all."""
    kind: Literal["cutmix"] = "cutmix"


def cutmix(keys: Keys, images: Images, targets: Targets, *, alpha: float, probability: float) -> tuple[Images, Targets]:
    """Puts a box of each image's neighbour into it, and blends the targets by area (arXiv:1905.04899).

    The box's centre is uniform over the image, and what extends beyond the border is cut off; the targets are blended
    by the area that is left.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels).
        targets: (batch, classes), float32: probabilities.
        alpha: the parameter of the Beta distribution that the share of the area that stays is drawn from.
        probability: the probability of cutting at all.

    Returns:
        Images and targets of the same shapes.
    """
    share_key, box_key = jax.random.split(keys[0])
    inside = _box(box_key, _share(share_key, alpha, probability), *images.shape[1:3])
    cut = jnp.where(inside[None, :, :, None], jnp.roll(images, 1, axis=0), images)
    return cut, _blend(targets, 1 - jnp.mean(inside, dtype=jnp.float32))


@option_group
class MixUpOrCutMix(Augmentation):
    """Applies one of the two, which is drawn anew for each batch; torchvision's reference scripts draw evenly."""

    mixup_alpha: PositiveFloat = 0.2
    cutmix_alpha: PositiveFloat = 1.0
    cutmix_probability: Probability = 0.5
    """The probability of CutMix rather than MixUp."""
    probability: Probability = 1.0
    """The probability of either."""
    kind: Literal["mixup_or_cutmix"] = "mixup_or_cutmix"


def mixup_or_cutmix(
    keys: Keys,
    images: Images,
    targets: Targets,
    *,
    mixup_alpha: float,
    cutmix_alpha: float,
    cutmix_probability: float,
    probability: float,
) -> tuple[Images, Targets]:
    """Applies `mixup` or `cutmix` to the whole batch.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), float32.
        targets: (batch, classes), float32: probabilities.
        mixup_alpha: as `mixup`'s.
        cutmix_alpha: as `cutmix`'s.
        cutmix_probability: the probability of CutMix rather than MixUp.
        probability: the probability of either.

    Returns:
        Images and targets of the same shapes.
    """
    choice = jax.random.bernoulli(jax.random.fold_in(keys[0], 2), cutmix_probability)
    return jax.lax.cond(
        choice,
        lambda: cutmix(keys, images, targets, alpha=cutmix_alpha, probability=probability),
        lambda: mixup(keys, images, targets, alpha=mixup_alpha, probability=probability),
    )
