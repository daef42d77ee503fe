"""What an operation with a custom derivative must do inside ``shard_map``."""

import jax
from jax import lax
from jaxtyping import Array, Float


def vary_alike(*arrays: Float[Array, "..."]) -> tuple[Float[Array, "..."], ...]:
    """Returns arrays that count as different on each device along every axis along which one of them does.

    Under ``shard_map`` a replicated parameter meets images that are split. The cast comes before the custom derivative,
    where JAX sees it, so that ordinary differentiation sums the parameter's gradient over the devices.
    """
    varying = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    every = frozenset().union(*varying)
    return tuple(
        lax.pcast(array, tuple(every - own), to="varying") if every - own else array
        for array, own in zip(arrays, varying, strict=True)
    )
