"""The operations of the policies, each with an amount: one kernel that applies a different one to each image.

Whatever the operations are, each step is the same for all images: one affine warp, one table and one blend, which do
nothing to the images that do not need them. So a batch of any mixture costs one of each, and not one of every
operation.

Images are uint8 (batch, height, width, channels) with 1 or 3 channels, in and out.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from jaxcnn.augment import color
from jaxcnn.augment.arrays import Pixels
from jaxcnn.augment.policy_tables import OPERATIONS, Space
from jaxcnn.augment.warp import Fill, SampledAt, inverse_affine, warp

_NUMBER = {operation: number for number, operation in enumerate(OPERATIONS)}


def apply_operation(
    images: Pixels,
    operations: Int[Array, " batch"],
    amounts: Float32[Array, " batch"],
    *,
    interpolation: SampledAt,
    fill: Fill,
) -> Pixels:
    """Applies one operation to each image, like torchvision's ``_apply_image_or_video_transform``.

    Args:
        images: (batch, height, width, channels), uint8.
        operations: (batch,), indices into `OPERATIONS`.
        amounts: (batch,), float32: slopes, pixels, degrees, what is added to a factor of 1, bits, or levels.
        interpolation: the interpolation of shears, translations and rotations, as `warp`'s.
        fill: the grey level where there was no image, as `warp`'s.

    Returns:
        Images of the same shape.
    """
    _, height, width, _ = images.shape

    def due(*names):
        return jnp.isin(operations, jnp.array([_NUMBER[name] for name in names]))

    def amount(name, otherwise=0.0):
        return jnp.where(due(name), amounts, otherwise)

    # The top left corner stays where it is in shears.
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
    # An image gets one of the three, so each can measure the original image.
    changed = color.apply_tables(
        warp(images, matrices, interpolation=interpolation, fill=fill), _tables(images, due, amount)
    )
    other = jnp.where(color.spread(due("color"), images), color.grey(images), color.smooth(images))
    return color.blend(changed, other, jnp.where(due("color", "sharpness"), 1 + amounts, 1.0))


def _tables(images, due, amount):
    """Returns the table of each image's operation, uint8 (batch, 256, channels); without one it changes nothing."""
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
    # The table is chosen by a product, which is exact because one factor is 1 and the others are 0. XLA on a CPU would
    # fuse a selection with the look-up and compute each entry anew for each pixel: a step took three times as long.
    chosen = jnp.einsum("bt,btvc->bvc", choice.astype(jnp.float32), candidates.astype(jnp.float32), precision="highest")
    return chosen.astype(jnp.uint8)


def apply_operations(
    images: jax.Array,
    operations: Int[Array, "batch steps"],
    amounts: Float32[Array, "batch steps"],
    *,
    interpolation: SampledAt,
    fill: Fill,
) -> Pixels:
    """Applies a row of operations to each image, one after the other.

    Args:
        images: (batch, height, width, channels), uint8.
        operations: (batch, steps), indices into `OPERATIONS`.
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
    space: Space,
    choices: Int[Array, "*shape"],
    shares: Float[Array, "*shape"],
    negated: Bool[Array, "*shape"],
    height: int,
    width: int,
) -> Float32[Array, "*shape"]:
    """Turns magnitudes into the amounts that `apply_operation` takes.

    Args:
        space: the operations and their ranges.
        choices: the indices of the operations in the space, int32 of any shape.
        shares: the shares of their ranges, 0 to 1, of that shape.
        negated: whether an operation that has a sign gets a minus, of that shape.
        height: the height of the images, in pixels.
        width: the width of the images, in pixels.

    Returns:
        float32 of that shape.
    """
    sides = [(height if name.endswith("_y") else width) if row.of_side else 1 for name, row in space.items()]
    start, stop = (
        jnp.array([side * getattr(row, end) for side, row in zip(sides, space.values(), strict=True)], jnp.float32)[
            choices
        ]
        for end in ("start", "stop")
    )
    amounts = start + shares * (stop - start)
    # Rounding in float32 may leave a whole number a little off.
    little = 1e-4
    rounded = {"nearest": jnp.round(amounts), "down": jnp.floor(amounts + little), "up": jnp.ceil(amounts - little)}
    for way, result in rounded.items():
        amounts = jnp.where(jnp.array([row.rounded == way for row in space.values()])[choices], result, amounts)
    signed = jnp.array([row.signed for row in space.values()])[choices]
    return jnp.where(signed & negated, -amounts, amounts)


def numbers_of(space: Space) -> Int32[Array, " operations"]:
    """Returns the index in `OPERATIONS` of each operation of a space."""
    return jnp.array([_NUMBER[name] for name in space])
