"""What XLA must not merge."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.ops.backend import rules_backend, several_devices


@jax.custom_jvp
def computed_once(x: jax.Array) -> jax.Array:
    """Returns an array whose values XLA's CPU backend computes once, though several of each are read.

    It merges operations into those that read them, and computes them again for each time that a value is read. It drops
    ``lax.optimization_barrier`` before it does so, but it merges nothing into a loop. The one here turns no round,
    which XLA cannot know, and costs nothing. For other backends, and for several devices, over which the loop would
    gather, this returns the array as it is. Its derivative is that of the array, without a loop.

    Args:
        x: any shape, floating point.
    """
    if rules_backend() != "cpu" or several_devices() or x.size == 0:
        return x
    rounds = (lax.index_in_dim(x.ravel(), 0, keepdims=False) > np.inf).astype(jnp.int32)
    return lax.fori_loop(0, rounds, lambda _, values: -values, x)


@computed_once.defjvp
def _differentiate(arrays, tangents):
    return computed_once(*arrays), *tangents
