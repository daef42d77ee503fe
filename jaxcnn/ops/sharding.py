"""What an operation with a custom derivative must do inside ``shard_map``."""

import jax
from jax import lax
from jaxtyping import Array, Float


def vary_like(parameter: Float[Array, "*shape"], x: Float[Array, "..."]) -> Float[Array, "*shape"]:
    """Returns a parameter that counts as different on each device along every axis along which ``x`` does.

    Under ``shard_map`` a replicated parameter meets images that are split. The cast comes before the custom derivative,
    where JAX sees it, so that ordinary differentiation sums the parameter's gradient over the devices.
    """
    missing = jax.typeof(x).manual_axis_type.varying - jax.typeof(parameter).manual_axis_type.varying
    return lax.pcast(parameter, tuple(missing), to="varying") if missing else parameter
