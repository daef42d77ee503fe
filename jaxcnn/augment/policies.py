"""Policies: operations drawn at random, as AutoAugment, RandAugment, TrivialAugment and AugMix draw them.

For each image, a policy draws a row of operations and of their amounts; `apply_operations` then applies them.

Images are uint8 (batch, height, width, channels) with 1 or 3 channels, in and out. Keys are typed PRNG keys, (batch,),
so what a policy does to an image does not depend on its batch. The options stand above each policy; their fields, apart
from ``kind``, are the function's arguments.
"""

import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Float32, Int32
from pydantic import Field

from jaxcnn.augment import color
from jaxcnn.augment.arrays import Keys, Pixels
from jaxcnn.augment.operations import amounts_of, apply_operations, numbers_of
from jaxcnn.augment.policy_tables import (
    AUG_MIX_ALL,
    AUG_MIX_PAPER,
    AUTO_AUGMENT,
    AUTO_AUGMENT_POLICIES,
    OPERATIONS,
    RAND_AUGMENT,
    RAND_AUGMENT_INCREASING,
    TRIVIAL_AUGMENT_WIDE,
)
from jaxcnn.augment.warp import Fill, SampledAt
from jaxcnn.config import Augmentation, option_group
from jaxcnn.config.options import NonNegativeFloat, PositiveFloat, PositiveInt, Probability

_IDENTITY = OPERATIONS.index("identity")
Bins = Annotated[int, Field(ge=2)]
"""A number of magnitudes."""
PolicyName = Literal["imagenet", "cifar10", "svhn"]


def _split(keys: jax.Array, count: int) -> jax.Array:
    """Returns several keys, each (batch,), made of one."""
    return jax.vmap(lambda key: jax.random.split(key, count), out_axes=1)(keys)


def _evenly(keys: jax.Array, shape: tuple[int, ...], low: int, high: int) -> jax.Array:
    """Draws integers from [low, high), an array of ``shape`` for each image."""
    return jax.vmap(lambda key: jax.random.randint(key, shape, low, high))(keys)


def _chance(keys: jax.Array, probability: float | jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws bools that are True with this probability, an array of ``shape`` for each image."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape))(keys) < probability


@option_group
class AutoAugment(Augmentation):
    """Applies one of 25 pairs of operations, found by a search on a data set (arXiv:1805.09501), like torchvision's."""

    policy: PolicyName = "imagenet"
    """The data set of the search."""
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """The grey level where there was no image, one for each channel or one for all."""
    kind: Literal["auto_augment"] = "auto_augment"


def draw_auto_augment(
    keys: Keys, height: int, width: int, *, policy: PolicyName
) -> tuple[Int32[Array, "batch 2"], Float32[Array, "batch 2"]]:
    """Draws one of a policy's 25 pairs for each image, and each of its two operations with its own probability.

    Args:
        keys: (batch,) typed PRNG keys.
        height: the height of the images, in pixels.
        width: the width of the images, in pixels.
        policy: the data set for which the policy was found.

    Returns:
        Operations and amounts, each (batch, 2), as `apply_operations` takes them.
    """
    pairs = AUTO_AUGMENT_POLICIES[policy]
    names = list(AUTO_AUGMENT)
    choices = jnp.array([[names.index(name) for name, _, _ in pair] for pair in pairs])
    chances = jnp.array([[chance for _, chance, _ in pair] for pair in pairs])
    shares = jnp.array([[magnitude / 9 for _, _, magnitude in pair] for pair in pairs])

    pair_keys, done_keys, sign_keys = _split(keys, 3)
    pair = _evenly(pair_keys, (), 0, len(pairs))
    done = _chance(done_keys, chances[pair], (2,))
    negated = _chance(sign_keys, 0.5, (2,))
    amounts = amounts_of(AUTO_AUGMENT, choices[pair], shares[pair], negated, height, width)
    return jnp.where(done, numbers_of(AUTO_AUGMENT)[choices[pair]], _IDENTITY), amounts


def auto_augment(keys: Keys, images: Pixels, *, policy: PolicyName, interpolation: SampledAt, fill: Fill) -> Pixels:
    """Applies AutoAugment (arXiv:1805.09501): see `draw_auto_augment` and `apply_operations`."""
    drawn = draw_auto_augment(keys, *images.shape[1:3], policy=policy)
    return apply_operations(images, *drawn, interpolation=interpolation, fill=fill)


@option_group
class RandAugment(Augmentation):
    """Applies operations drawn evenly, all of one magnitude (arXiv:1909.13719), like torchvision's ``RandAugment``.

    timm's ``rand-m9-mstd0.5-inc1`` is ``RandAugment(magnitude=9, magnitude_std=0.5, num_magnitude_bins=11,
    increasing=True, probability=0.5)``.
    """

    num_ops: PositiveInt = 2
    """The number of operations for each image."""
    num_magnitude_bins: Bins = 31
    magnitude: NonNegativeFloat = 9.0
    """The magnitude of every operation, from 0 to ``num_magnitude_bins - 1``."""
    magnitude_std: NonNegativeFloat = 0.0
    """The standard deviation of a normal draw about the magnitude for each operation, clipped to the same range."""
    increasing: bool = False
    """Whether the operations are those of timm's increasing set, which also has solarize_add and invert, has no
    identity, and posterizes to 4 bits or less."""
    probability: Probability = 1.0
    """The probability of applying each operation that was drawn."""
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """The grey level where there was no image, one for each channel or one for all."""
    kind: Literal["rand_augment"] = "rand_augment"

    @pydantic.field_validator("magnitude")
    @classmethod
    def _in_range(cls, magnitude: float, info: pydantic.ValidationInfo) -> float:
        bins = info.data.get("num_magnitude_bins", math.inf)
        if magnitude > bins - 1:
            raise ValueError(f"must be at most {bins - 1}, one less than num_magnitude_bins")
        return magnitude


def draw_rand_augment(
    keys: Keys,
    height: int,
    width: int,
    *,
    num_ops: int,
    magnitude: float,
    num_magnitude_bins: int,
    magnitude_std: float,
    increasing: bool,
    probability: float,
) -> tuple[Int32[Array, "batch {num_ops}"], Float32[Array, "batch {num_ops}"]]:
    """Draws operations evenly, all of one magnitude.

    Args:
        keys: (batch,) typed PRNG keys.
        height: the height of the images, in pixels.
        width: the width of the images, in pixels.
        num_ops: the number of operations for each image.
        magnitude: the magnitude of every operation, from 0 to ``num_magnitude_bins - 1``.
        num_magnitude_bins: one more than the largest magnitude.
        magnitude_std: the standard deviation of a normal draw about the magnitude for each operation, clipped to the
            same range.
        increasing: whether the operations are those of timm's set, instead of torchvision's.
        probability: the probability of applying each operation that was drawn.

    Returns:
        Operations and amounts, each (batch, num_ops), as `apply_operations` takes them.
    """
    space = RAND_AUGMENT_INCREASING if increasing else RAND_AUGMENT
    shape, largest = (num_ops,), num_magnitude_bins - 1
    choice_keys, share_keys, sign_keys, done_keys = _split(keys, 4)
    choices = _evenly(choice_keys, shape, 0, len(space))
    magnitudes = magnitude + magnitude_std * jax.vmap(lambda key: jax.random.normal(key, shape))(share_keys)
    shares = jnp.clip(magnitudes, 0, largest) / largest
    amounts = amounts_of(space, choices, shares, _chance(sign_keys, 0.5, shape), height, width)
    done = _chance(done_keys, probability, shape)
    return jnp.where(done, numbers_of(space)[choices], _IDENTITY), amounts


def rand_augment(keys: Keys, images: Pixels, *, interpolation: SampledAt, fill: Fill, **options) -> Pixels:
    """Applies RandAugment (arXiv:1909.13719): see `draw_rand_augment` and `apply_operations`."""
    drawn = draw_rand_augment(keys, *images.shape[1:3], **options)
    return apply_operations(images, *drawn, interpolation=interpolation, fill=fill)


@option_group
class TrivialAugmentWide(Augmentation):
    """Applies one operation that is drawn evenly, with its magnitude, like torchvision's ``TrivialAugmentWide``.

    The method is that of arXiv:2103.10158.
    """

    num_magnitude_bins: Bins = 31
    interpolation: SampledAt = "nearest"
    fill: Fill = (0,)
    """The grey level where there was no image, one for each channel or one for all."""
    kind: Literal["trivial_augment_wide"] = "trivial_augment_wide"


def draw_trivial_augment_wide(
    keys: Keys, height: int, width: int, *, num_magnitude_bins: int
) -> tuple[Int32[Array, "batch 1"], Float32[Array, "batch 1"]]:
    """Draws one operation and its magnitude evenly.

    Args:
        keys: (batch,) typed PRNG keys.
        height: the height of the images, in pixels.
        width: the width of the images, in pixels.
        num_magnitude_bins: the number of magnitudes, from none to the largest.

    Returns:
        Operations and amounts, each (batch, 1), as `apply_operations` takes them.
    """
    space, shape = TRIVIAL_AUGMENT_WIDE, (1,)
    choice_keys, share_keys, sign_keys = _split(keys, 3)
    choices = _evenly(choice_keys, shape, 0, len(space))
    shares = _evenly(share_keys, shape, 0, num_magnitude_bins) / (num_magnitude_bins - 1)
    return numbers_of(space)[choices], amounts_of(space, choices, shares, _chance(sign_keys, 0.5, shape), height, width)


def trivial_augment_wide(
    keys: Keys, images: Pixels, *, num_magnitude_bins: int, interpolation: SampledAt, fill: Fill
) -> Pixels:
    """Applies TrivialAugment (arXiv:2103.10158): see `draw_trivial_augment_wide` and `apply_operations`."""
    drawn = draw_trivial_augment_wide(keys, *images.shape[1:3], num_magnitude_bins=num_magnitude_bins)
    return apply_operations(images, *drawn, interpolation=interpolation, fill=fill)


@option_group
class AugMix(Augmentation):
    """Blends an image with the average of chains of operations (arXiv:1912.02781), like torchvision's ``AugMix``."""

    severity: Annotated[int, Field(ge=1, le=10)] = 3
    """The number of the lowest of ten magnitudes from which that of each operation is drawn."""
    mixture_width: PositiveInt = 3
    """The number of chains for each image."""
    chain_depth: PositiveInt | None = None
    """The number of operations in a chain; by default 1 to 3, drawn for each chain."""
    alpha: PositiveFloat = 1.0
    """The parameter of Dirichlet(alpha, ..., alpha) and Beta(alpha, alpha), from which the weights are drawn."""
    all_ops: bool = True
    """Whether brightness, colour, contrast and sharpness are among the operations: the paper leaves them out, because
    ImageNet-C tests with them."""
    interpolation: SampledAt = "bilinear"
    fill: Fill = (0,)
    """The grey level where there was no image, one for each channel or one for all."""
    kind: Literal["aug_mix"] = "aug_mix"


def draw_aug_mix(
    keys: Keys,
    height: int,
    width: int,
    *,
    severity: int,
    mixture_width: int,
    chain_depth: int | None,
    all_ops: bool,
) -> tuple[Int32[Array, "batch {mixture_width} steps"], Float32[Array, "batch {mixture_width} steps"]]:
    """Draws chains of operations, each evenly and of one of the ``severity`` lowest of ten magnitudes.

    Args:
        keys: (batch,) typed PRNG keys.
        height: the height of the images, in pixels.
        width: the width of the images, in pixels.
        severity: the number of magnitudes to draw from, 1 to 10.
        mixture_width: the number of chains for each image.
        chain_depth: the number of operations in a chain; None for 1 to 3, drawn evenly.
        all_ops: whether brightness, colour, contrast and sharpness are among them.

    Returns:
        Operations and amounts, each (batch, mixture_width, steps); a shorter chain ends in identities.
    """
    space = AUG_MIX_ALL if all_ops else AUG_MIX_PAPER
    steps = chain_depth or 3
    shape = (mixture_width, steps)
    choice_keys, share_keys, sign_keys, depth_keys = _split(keys, 4)
    choices, shares = _evenly(choice_keys, shape, 0, len(space)), _evenly(share_keys, shape, 0, severity) / 9
    operations = numbers_of(space)[choices]
    if chain_depth is None:
        depths = _evenly(depth_keys, (mixture_width, 1), 1, 4)
        operations = jnp.where(jnp.arange(steps)[None, None] < depths, operations, _IDENTITY)
    return operations, amounts_of(space, choices, shares, _chance(sign_keys, 0.5, shape), height, width)


def aug_mix(keys: Keys, images: Pixels, *, alpha: float, interpolation: SampledAt, fill: Fill, **options) -> Pixels:
    """Applies AugMix (arXiv:1912.02781): averages chains from `draw_aug_mix`, and blends the average with the image.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        alpha: the parameter of Dirichlet(alpha, ..., alpha), from which the chains' weights are drawn, and of
            Beta(alpha, alpha), from which the average's weight is drawn.
        interpolation: as `apply_operation`'s.
        fill: as `apply_operation`'s.
        **options: `draw_aug_mix`'s.

    Returns:
        Images of the same shape, rounded. (torchvision truncates: its images are half a level darker.)
    """
    chain_keys, weight_keys, share_keys = _split(keys, 3)
    operations, amounts = draw_aug_mix(chain_keys, *images.shape[1:3], **options)
    batch, chains, _ = operations.shape
    weights = jax.vmap(lambda key: jax.random.dirichlet(key, jnp.full(chains, alpha)))(weight_keys)
    share = jax.vmap(lambda key: jax.random.beta(key, alpha, alpha))(share_keys)
    # All chains are computed at once, as a larger batch.
    repeated = jnp.repeat(images, chains, axis=0)
    operations, amounts = (each.reshape(batch * chains, -1) for each in (operations, amounts))
    changed = apply_operations(repeated, operations, amounts, interpolation=interpolation, fill=fill)
    changed, own = changed.reshape(batch, chains, *images.shape[1:]), images.astype(jnp.float32)
    # XLA on a CPU takes fifty times as long for a sum over an axis, whose terms it writes to memory first.
    mixture = sum(
        changed[:, chain].astype(jnp.float32) * color.spread(weights[:, chain], own) for chain in range(chains)
    )
    return jnp.round(own + color.spread(share, own) * (mixture - own)).astype(jnp.uint8)
