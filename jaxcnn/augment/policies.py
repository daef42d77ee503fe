"""Policies: operations drawn at random, as AutoAugment, RandAugment, TrivialAugment and AugMix draw them.

A policy draws, for each image, a row of operations and of their amounts; `apply_operations` then does them. Whatever
the operations are, each step is the same for all images: one affine warp, one table, one blend, with what does nothing
for those images that are not due. So a batch of any mixture costs one of each, not one of every operation.

Images are uint8 (batch, height, width, channels) with 1 or 3 channels, in and out, and keys typed PRNG keys, (batch,),
so an image's fate does not depend on its batch.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxcnn.augment import color
from jaxcnn.augment.policy_tables import (
    AUG_MIX_ALL,
    AUG_MIX_PAPER,
    AUTO_AUGMENT,
    AUTO_AUGMENT_POLICIES,
    OPERATIONS,
    RAND_AUGMENT,
    RAND_AUGMENT_INCREASING,
    TRIVIAL_AUGMENT_WIDE,
    Space,
)
from jaxcnn.augment.warp import inverse_affine, warp

_NUMBER = {operation: number for number, operation in enumerate(OPERATIONS)}


def apply_operation(
    images: jax.Array,
    operations: jax.Array,
    amounts: jax.Array,
    *,
    interpolation: Literal["nearest", "bilinear"],
    fill: tuple[int, ...],
) -> jax.Array:
    """Does one operation to each image, as torchvision's ``_apply_image_or_video_transform``.

    Args:
        images: (batch, height, width, channels), uint8.
        operations: (batch,), places in `OPERATIONS`.
        amounts: (batch,), float32: slopes, pixels, degrees, what is added to a factor of 1, bits, or levels.
        interpolation: of shears, translations and rotations, as `warp`'s.
        fill: grey level where there was no image, as `warp`'s.

    Returns:
        Images of the same shape.
    """
    _, height, width, _ = images.shape

    def due(*names):
        return jnp.isin(operations, jnp.array([_NUMBER[name] for name in names]))

    def amount(name, otherwise=0.0):
        return jnp.where(due(name), amounts, otherwise)

    # Shears are about the corner at the top left.
    sheared = due("shear_x", "shear_y")
    matrices = inverse_affine(
        angle=-amount("rotate"),
        translate_x=amount("translate_x"),
        translate_y=amount("translate_y"),
        shear_x=jnp.rad2deg(jnp.arctan(amount("shear_x"))),
        shear_y=jnp.rad2deg(jnp.arctan(amount("shear_y"))),
        center_x=jnp.where(sheared, -width / 2, 0.0),
        center_y=jnp.where(sheared, -height / 2, 0.0),
    )
    # An image gets one of the three, so each can measure the image as it came.
    changed = color.apply_tables(
        warp(images, matrices, interpolation=interpolation, fill=fill), _tables(images, due, amount)
    )
    other = jnp.where(color.spread(due("color"), images), color.grey(images), color.smooth(images))
    return color.blend(changed, other, jnp.where(due("color", "sharpness"), 1 + amounts, 1.0))


def _tables(images, due, amount):
    """The table of each image's operation, uint8 (batch, 256, channels); that which changes nothing, if it has none."""
    levels = color.levels(images)
    tables = {
        "brightness": color.adjust_brightness(levels, 1 + amount("brightness")),
        "contrast": color.blend(levels, color.spread(color.mean_grey(images), levels), 1 + amount("contrast")),
        "posterize": color.posterize(levels, amount("posterize", 8.0).astype(jnp.int32)),
        "solarize": color.solarize(levels, amount("solarize")),
        "solarize_add": color.solarize_add(levels, amount("solarize_add")),
        "autocontrast": color.stretch(levels, *color.extremes(images)),
        "equalize": color.equalizing_tables(images),
        "invert": color.invert(levels),
    }
    choice = jnp.stack([due(name) for name in tables], axis=1)
    choice = jnp.concatenate([choice, ~jnp.any(choice, axis=1, keepdims=True)], axis=1)
    candidates = jnp.stack(jnp.broadcast_arrays(*tables.values(), levels), axis=1)
    # Chosen by a product, exact because one factor is 1 and the others are 0. XLA on a CPU would fuse a selection with
    # the look-up, and make each entry anew for each pixel: a step took three times as long.
    chosen = jnp.einsum("bt,btvc->bvc", choice.astype(jnp.float32), candidates.astype(jnp.float32), precision="highest")
    return chosen.astype(jnp.uint8)


def apply_operations(
    images: jax.Array,
    operations: jax.Array,
    amounts: jax.Array,
    *,
    interpolation: Literal["nearest", "bilinear"],
    fill: tuple[int, ...],
) -> jax.Array:
    """Does a row of operations to each image, one after the other.

    Args:
        images: (batch, height, width, channels), uint8.
        operations: (batch, steps), places in `OPERATIONS`.
        amounts: (batch, steps), as `apply_operation`'s.
        interpolation: as `apply_operation`'s.
        fill: as `apply_operation`'s.

    Returns:
        Images of the same shape.
    """

    def step(images, drawn):
        return apply_operation(images, *drawn, interpolation=interpolation, fill=fill), None

    return jax.lax.scan(step, images, (operations.T, amounts.T))[0]


def amounts_of(
    space: Space, places: jax.Array, shares: jax.Array, negated: jax.Array, height: int, width: int
) -> jax.Array:
    """Turns magnitudes into what `apply_operation` takes.

    Args:
        space: the operations and their ranges.
        places: of the operations in the space, int32 of any shape.
        shares: of their ranges, 0 to 1, of that shape.
        negated: whether an operation that has a sign gets a minus, of that shape.
        height: of the images, in pixels.
        width: likewise.

    Returns:
        float32 of that shape.
    """
    sides = [(height if name.endswith("_y") else width) if row.of_side else 1 for name, row in space.items()]
    start, stop = (
        jnp.array([side * getattr(row, end) for side, row in zip(sides, space.values(), strict=True)], jnp.float32)[
            places
        ]
        for end in ("start", "stop")
    )
    amounts = start + shares * (stop - start)
    # In float32, a whole number may come out a little off.
    little = 1e-4
    rounded = {"nearest": jnp.round(amounts), "down": jnp.floor(amounts + little), "up": jnp.ceil(amounts - little)}
    for way, result in rounded.items():
        amounts = jnp.where(jnp.array([row.rounded == way for row in space.values()])[places], result, amounts)
    signed = jnp.array([row.signed for row in space.values()])[places]
    return jnp.where(signed & negated, -amounts, amounts)


def numbers_of(space: Space) -> jax.Array:
    """Returns the place in `OPERATIONS` of each operation of a space."""
    return jnp.array([_NUMBER[name] for name in space])


def _split(keys: jax.Array, count: int) -> jax.Array:
    """Several (batch,) keys of one."""
    return jax.vmap(lambda key: jax.random.split(key, count), out_axes=1)(keys)


def _evenly(keys: jax.Array, shape: tuple[int, ...], low: int, high: int) -> jax.Array:
    """Integers of [low, high), of ``shape`` for each image."""
    return jax.vmap(lambda key: jax.random.randint(key, shape, low, high))(keys)


def _chance(keys: jax.Array, probability: float | jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """True with this probability, of ``shape`` for each image."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape))(keys) < probability


def draw_auto_augment(
    keys: jax.Array, height: int, width: int, *, policy: Literal["imagenet", "cifar10", "svhn"]
) -> tuple[jax.Array, jax.Array]:
    """Draws a pair of a policy's 25 for each image, and does each of the two with its own probability.

    Args:
        keys: (batch,) typed PRNG keys.
        height: of the images, in pixels.
        width: likewise.
        policy: the data set for which it was found.

    Returns:
        Operations and amounts, each (batch, 2), as `apply_operations` takes them.
    """
    pairs = AUTO_AUGMENT_POLICIES[policy]
    names = list(AUTO_AUGMENT)
    places = jnp.array([[names.index(name) for name, _, _ in pair] for pair in pairs])
    chances = jnp.array([[chance for _, chance, _ in pair] for pair in pairs])
    shares = jnp.array([[magnitude / 9 for _, _, magnitude in pair] for pair in pairs])

    pair_keys, done_keys, sign_keys = _split(keys, 3)
    pair = _evenly(pair_keys, (), 0, len(pairs))
    done = _chance(done_keys, chances[pair], (2,))
    negated = _chance(sign_keys, 0.5, (2,))
    amounts = amounts_of(AUTO_AUGMENT, places[pair], shares[pair], negated, height, width)
    return jnp.where(done, numbers_of(AUTO_AUGMENT)[places[pair]], _NUMBER["identity"]), amounts


def draw_rand_augment(
    keys: jax.Array,
    height: int,
    width: int,
    *,
    num_ops: int,
    magnitude: float,
    num_magnitude_bins: int,
    magnitude_std: float,
    increasing: bool,
    probability: float,
) -> tuple[jax.Array, jax.Array]:
    """Draws operations evenly, all of one magnitude.

    Args:
        keys: (batch,) typed PRNG keys.
        height: of the images, in pixels.
        width: likewise.
        num_ops: operations an image.
        magnitude: from 0 to ``num_magnitude_bins - 1``.
        num_magnitude_bins: one more than the largest magnitude.
        magnitude_std: of a normal draw about the magnitude, one an operation, clipped to the same range.
        increasing: whether from timm's set of operations, instead of torchvision's.
        probability: of doing each operation that was drawn.

    Returns:
        Operations and amounts, each (batch, num_ops), as `apply_operations` takes them.
    """
    space = RAND_AUGMENT_INCREASING if increasing else RAND_AUGMENT
    shape, largest = (num_ops,), num_magnitude_bins - 1
    place_keys, share_keys, sign_keys, done_keys = _split(keys, 4)
    places = _evenly(place_keys, shape, 0, len(space))
    magnitudes = magnitude + magnitude_std * jax.vmap(lambda key: jax.random.normal(key, shape))(share_keys)
    shares = jnp.clip(magnitudes, 0, largest) / largest
    amounts = amounts_of(space, places, shares, _chance(sign_keys, 0.5, shape), height, width)
    done = _chance(done_keys, probability, shape)
    return jnp.where(done, numbers_of(space)[places], _NUMBER["identity"]), amounts


def draw_trivial_augment_wide(
    keys: jax.Array, height: int, width: int, *, num_magnitude_bins: int
) -> tuple[jax.Array, jax.Array]:
    """Draws one operation and its magnitude evenly.

    Args:
        keys: (batch,) typed PRNG keys.
        height: of the images, in pixels.
        width: likewise.
        num_magnitude_bins: magnitudes there are, from none to the largest.

    Returns:
        Operations and amounts, each (batch, 1), as `apply_operations` takes them.
    """
    space, shape = TRIVIAL_AUGMENT_WIDE, (1,)
    place_keys, share_keys, sign_keys = _split(keys, 3)
    places = _evenly(place_keys, shape, 0, len(space))
    shares = _evenly(share_keys, shape, 0, num_magnitude_bins) / (num_magnitude_bins - 1)
    return numbers_of(space)[places], amounts_of(space, places, shares, _chance(sign_keys, 0.5, shape), height, width)


def draw_aug_mix(
    keys: jax.Array,
    height: int,
    width: int,
    *,
    severity: int,
    mixture_width: int,
    chain_depth: int | None,
    all_ops: bool,
) -> tuple[jax.Array, jax.Array]:
    """Draws chains of operations, each evenly and of one of the ``severity`` lowest of ten magnitudes.

    Args:
        keys: (batch,) typed PRNG keys.
        height: of the images, in pixels.
        width: likewise.
        severity: magnitudes to draw from, 1 to 10.
        mixture_width: chains an image.
        chain_depth: operations a chain; None for 1 to 3, drawn evenly.
        all_ops: whether brightness, colour, contrast and sharpness are among them.

    Returns:
        Operations and amounts, each (batch, mixture_width, steps); a shorter chain ends in identities.
    """
    space = AUG_MIX_ALL if all_ops else AUG_MIX_PAPER
    steps = chain_depth or 3
    shape = (mixture_width, steps)
    place_keys, share_keys, sign_keys, depth_keys = _split(keys, 4)
    places, shares = _evenly(place_keys, shape, 0, len(space)), _evenly(share_keys, shape, 0, severity) / 9
    operations = numbers_of(space)[places]
    if chain_depth is None:
        depths = _evenly(depth_keys, (mixture_width, 1), 1, 4)
        operations = jnp.where(jnp.arange(steps)[None, None] < depths, operations, _NUMBER["identity"])
    return operations, amounts_of(space, places, shares, _chance(sign_keys, 0.5, shape), height, width)


def auto_augment(
    keys: jax.Array, images: jax.Array, *, policy: str, interpolation: str, fill: tuple[int, ...]
) -> jax.Array:
    """AutoAugment (arXiv:1805.09501): see `draw_auto_augment` and `apply_operations`."""
    drawn = draw_auto_augment(keys, *images.shape[1:3], policy=policy)
    return apply_operations(images, *drawn, interpolation=interpolation, fill=fill)


def rand_augment(
    keys: jax.Array, images: jax.Array, *, interpolation: str, fill: tuple[int, ...], **options
) -> jax.Array:
    """RandAugment (arXiv:1909.13719): see `draw_rand_augment` and `apply_operations`."""
    drawn = draw_rand_augment(keys, *images.shape[1:3], **options)
    return apply_operations(images, *drawn, interpolation=interpolation, fill=fill)


def trivial_augment_wide(
    keys: jax.Array, images: jax.Array, *, num_magnitude_bins: int, interpolation: str, fill: tuple[int, ...]
) -> jax.Array:
    """TrivialAugment (arXiv:2103.10158): see `draw_trivial_augment_wide` and `apply_operations`."""
    drawn = draw_trivial_augment_wide(keys, *images.shape[1:3], num_magnitude_bins=num_magnitude_bins)
    return apply_operations(images, *drawn, interpolation=interpolation, fill=fill)


def aug_mix(
    keys: jax.Array, images: jax.Array, *, alpha: float, interpolation: str, fill: tuple[int, ...], **options
) -> jax.Array:
    """AugMix (arXiv:1912.02781): chains from `draw_aug_mix`, averaged, and the average blended with the image.

    Args:
        keys: (batch,) typed PRNG keys.
        images: (batch, height, width, channels), uint8.
        alpha: the chains' weights are drawn from Dirichlet(alpha, ..., alpha), the average's from Beta(alpha, alpha).
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
    # All chains at once, as a larger batch.
    repeated = jnp.repeat(images, chains, axis=0)
    operations, amounts = (each.reshape(batch * chains, -1) for each in (operations, amounts))
    changed = apply_operations(repeated, operations, amounts, interpolation=interpolation, fill=fill)
    changed = changed.reshape(batch, chains, *images.shape[1:]).astype(jnp.float32)
    mixture = jnp.sum(changed * weights.reshape(batch, chains, 1, 1, 1), axis=1)
    own = images.astype(jnp.float32)
    return jnp.round(own + color.spread(share, own) * (mixture - own)).astype(jnp.uint8)
