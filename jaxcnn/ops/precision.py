"""The precision in which sums are kept."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def wide(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns x in float32, or as it is where it is wider.

    Sums need it: in bfloat16 a sum of 49 values loses two of its eight bits.
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
