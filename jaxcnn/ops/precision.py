"""The precision in which sums are kept."""

import jax
import jax.numpy as jnp


def wide(x: jax.Array) -> jax.Array:
    """Returns x in float32, or as it is where it is wider.

    Sums need it: in bfloat16 a sum of 49 values loses two of its eight bits.
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
