"""The operations of the policies, each with an amount: a different one is applied to each image.

There are two ways to do it, which give the same levels. An accelerator takes one step after the other, for all images
at once. Whatever the operations are, a step is one affine warp, one table and one blend, which do nothing to the images
that do not need them; so a batch of any mixture costs one of each, and not one of every operation. A CPU takes one
image after the other, and computes only the operations that were drawn.

Images are uint8 (batch, height, width, channels) with 1 or 3 channels, in and out.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from jaxcnn.augment import color
from jaxcnn.augment.arrays import Levels, PerImage, Pixels
from jaxcnn.augment.policy_tables import OPERATIONS, Space
from jaxcnn.augment.warp import Fill, SampledAt, inverse_affine, warp

_NUMBER = {operation: number for number, operation in enumerate(OPERATIONS)}


_GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
_OF_VALUES: Mapping[str, Callable[[Levels, Pixels, PerImage], Levels]] = {
    "brightness": lambda values, images, amounts: color.adjust_brightness(values, 1 + amounts),
    "contrast": lambda values, images, amounts: color.blend(
        values, color.spread(color.mean_grey(images), values), 1 + amounts
    ),
    "posterize": lambda values, images, amounts: color.posterize(values, amounts.astype(jnp.int32)),
    "solarize": lambda values, images, amounts: color.solarize(values, amounts),
    "solarize_add": lambda values, images, amounts: color.solarize_add(values, amounts),
    "autocontrast": lambda values, images, amounts: color.stretch(values, *color.extremes(images)),
    "invert": lambda values, images, amounts: color.invert(values),
}
"""What maps each value by itself: from values, the images that they belong to, and amounts."""


def _matrices(operations: jax.Array, amounts: jax.Array, height: int, width: int) -> jax.Array:
    """Returns `warp`'s matrices, (batch, 2, 3), which change nothing where the operation is not geometric."""

    def amount(name):
        return jnp.where(operations == _NUMBER[name], amounts, 0.0)

    # The top left corner stays where it is in shears.
    sheared = (operations == _NUMBER["shear_x"]) | (operations == _NUMBER["shear_y"])
    return inverse_affine(
        angle=-amount("rotate"),
        translate_x=amount("translate_x"),
        translate_y=amount("translate_y"),
        shear_x=jnp.rad2deg(jnp.arctan(amount("shear_x"))),
        shear_y=jnp.rad2deg(jnp.arctan(amount("shear_y"))),
        center_x=jnp.where(sheared, -width / 2, 0.0),
        center_y=jnp.where(sheared, -height / 2, 0.0),
    )


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
    matrices = _matrices(operations, amounts, *images.shape[1:3])
    # An image gets one of the three, so each can measure the original image.
    changed = color.apply_tables(
        warp(images, matrices, interpolation=interpolation, fill=fill), _tables(images, operations, amounts)
    )
    coloured = operations == _NUMBER["color"]
    other = jnp.where(color.spread(coloured, images), color.grey(images), color.smooth(images))
    blended = coloured | (operations == _NUMBER["sharpness"])
    return color.blend(changed, other, jnp.where(blended, 1 + amounts, 1.0))


def _tables(images, operations, amounts):
    """Returns the table of each image's operation, uint8 (batch, 256, channels); without one it changes nothing."""
    levels = color.levels(images)
    tables = {name: function(levels, images, amounts) for name, function in _OF_VALUES.items()}
    tables["equalize"] = color.equalizing_tables(images)
    choice = jnp.stack([operations == _NUMBER[name] for name in tables], axis=1)
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
    """Applies a row of operations to each image, one after the other, in the way that is faster on the device.

    Args:
        images: (batch, height, width, channels), uint8.
        operations: (batch, steps), indices into `OPERATIONS`.
        amounts: (batch, steps), as `apply_operation`'s.
        interpolation: as `apply_operation`'s.
        fill: as `apply_operation`'s.

    Returns:
        Images of the same shape.
    """
    together, alone = (
        functools.partial(way, interpolation=interpolation, fill=fill) for way in (step_by_step, image_by_image)
    )
    # Where a batch is split over several devices, a loop over its images would first gather all of them on each.
    if jax.device_count() > 1:
        return together(images, operations, amounts)
    return jax.lax.platform_dependent(images, operations, amounts, cpu=alone, default=together)


def step_by_step(
    images: jax.Array,
    operations: Int[Array, "batch steps"],
    amounts: Float32[Array, "batch steps"],
    *,
    interpolation: SampledAt,
    fill: Fill,
) -> Pixels:
    """Does what `apply_operations` does, one step for all images after the other, by `apply_operation`."""

    def step(images, drawn):
        return apply_operation(images, *drawn, interpolation=interpolation, fill=fill), None

    return jax.lax.scan(step, images, (operations.T, amounts.T))[0]


def image_by_image(
    images: jax.Array,
    operations: Int[Array, "batch steps"],
    amounts: Float32[Array, "batch steps"],
    *,
    interpolation: SampledAt,
    fill: Fill,
) -> Pixels:
    """Does what `apply_operations` does, one image after the other, of which the operations alone that are due.

    A CPU does the work of a batch one piece after the other anyway. So nothing is lost by a loop, in which a choice is
    a branch, and an image stays in the cache from one step to the next.
    """

    def geometric(image, operation, amount):
        matrices = _matrices(operation, amount, *image.shape[1:3])
        return warp(image, matrices, interpolation=interpolation, fill=fill)

    def of_values(function):
        return lambda image, operation, amount: function(image, image, amount)

    changes = dict.fromkeys(_GEOMETRIC, geometric) | {name: of_values(each) for name, each in _OF_VALUES.items()}
    changes |= {
        "identity": lambda image, operation, amount: image,
        "color": lambda image, operation, amount: color.adjust_saturation(image, 1 + amount),
        "sharpness": lambda image, operation, amount: color.adjust_sharpness(image, 1 + amount),
        "equalize": lambda image, operation, amount: color.equalize(image),
    }
    branches = list(dict.fromkeys(changes.values()))  # the geometric ones share one
    branch_of = jnp.array([branches.index(changes[name]) for name in OPERATIONS])

    def step(image, drawn):
        operation, amount = (each[None] for each in drawn)
        return jax.lax.switch(branch_of[drawn[0]], branches, image, operation, amount), None

    return jax.lax.map(lambda drawn: jax.lax.scan(step, drawn[0][None], drawn[1:])[0][0], (images, operations, amounts))


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
