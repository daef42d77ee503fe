"""What the lowerings share that add up in loops."""

import jax
import jax.numpy as jnp

from jaxcnn.ops.sharding import vary_alike
from jaxcnn.ops.window import Sizes


def blocks(length: int, most: int) -> tuple[int, int]:
    """Returns a number of blocks, as small and as equal as can be, and the length of each, which is ``most`` at most.

    Together they may be longer than ``length``.
    """
    count = -(-length // most)
    return count, -(-length // count)


def zeros(shape: tuple[int, ...] | Sizes, like: jax.Array) -> jax.Array:
    """Returns zeros to sum up in, in float32 at least, which differ between devices as an array does (`vary_alike`)."""
    return vary_alike(jnp.zeros(shape, jnp.promote_types(like.dtype, jnp.float32)), like)[0]


def summed(terms: list[jax.Array]) -> jax.Array:
    """Returns the sum of terms, of neighbours first, so that the additions do not wait for one another."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) & ~1 :]
    return terms[0]
