"""What operations with derivatives of their own must do inside ``shard_map``."""

import jax
from jax import lax
from jaxtyping import Array, Float


def vary_like(parameter: Float[Array, "*shape"], x: Float[Array, "..."]) -> Float[Array, "*shape"]:
    """Returns a parameter that counts as different on each device wherever ``x`` is.

    Under ``shard_map`` a replicated parameter meets split images. Cast here, where JAX sees it and outside a custom
    derivative, the sum of the parameter's gradient over devices is part of ordinary differentiation.
    """
    missing = jax.typeof(x).manual_axis_type.varying - jax.typeof(parameter).manual_axis_type.varying
    return lax.pcast(parameter, tuple(missing), to="varying") if missing else parameter
