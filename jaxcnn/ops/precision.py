"""How wide sums are kept."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def wide(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns x in float32, or as it is where it is wider: bfloat16 sums of 49 values lose two of their eight bits."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
