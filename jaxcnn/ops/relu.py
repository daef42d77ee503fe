"""The rectifier where its result is kept, and before a pooling."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxcnn.ops.backend import rules_backend
from jaxcnn.ops.pool import max_pool
from jaxcnn.ops.window import Padding, Pair


def kept_relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns ``max(x, 0)``, for a sum x that nothing else needs and a result that is kept anyway.

    JAX's own derivative asks where x is positive. At the end of a residual block x is a sum, and XLA's GPU backend
    computes it a second time for that: it reads the branch, the shortcut and what normalizes them. There the derivative
    asks instead where the result is positive, which is the same and which the next convolution has read too.

    Args:
        x: an array of any shape.

    Returns:
        An array of the same shape and dtype. The derivative at 0 is 0.
    """
    return _kept_relu(x) if rules_backend() == "gpu" else jax.nn.relu(x)


@jax.custom_jvp
def _kept_relu(x: jax.Array) -> jax.Array:
    # Without the barrier, XLA would see through to x again.
    return lax.optimization_barrier(jnp.maximum(x, jnp.zeros((), x.dtype)))


@_kept_relu.defjvp
def _differentiate(arrays, tangents):
    result = _kept_relu(*arrays)
    return result, jnp.where(result > 0, *tangents, jnp.zeros((), result.dtype))


def relu_and_max_pool(
    images: Float[Array, "batch height width channels"],
    window: Pair,
    *,
    strides: Pair | None = None,
    padding: Padding = "valid",
) -> Float[Array, "batch out_height out_width channels"]:
    """Returns the maximum of each window of the rectified images, with all derivatives in the same bits.

    The two commute, and there are fewer values to rectify after the pooling. A window's gradient goes to the pixel that
    holds its maximum. Before the pooling that is another one only where no pixel is positive, and none gets any then.

    Args:
        images: (batch, height, width, channels), floating point.
        window: as for `max_pool`.
        strides: as for `max_pool`.
        padding: as for `max_pool`.
    """
    return kept_relu(max_pool(images, window, strides=strides, padding=padding))
