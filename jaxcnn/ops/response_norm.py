"""AlexNet's normalization of a value by its neighbours across channels."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxcnn.ops.linear import linear_map
from jaxcnn.ops.precision import wide
from jaxcnn.ops.tracing import traced_once


def local_response_norm(
    x: Float[Array, "*axes channels"], *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> Float[Array, "*axes channels"]:
    """Divides each value by a power of the sum of the squares of its neighbours across channels.

    The result is ``x / (k + alpha * sum(x^2 over size channels)) ** beta`` (Krizhevsky et al. 2012, section 3.3); the
    defaults are the paper's constants. Caffe and PyTorch divide alpha by the size: for their results, pass their alpha
    divided by the size.

    Args:
        x: (..., channels).
        size: the number of channels that are summed, centred on each channel; beyond the first and the last channel
            there are zeros.
        alpha: the factor of the sum.
        beta: the exponent.
        k: the bias.

    Returns:
        The normalized x, of the same shape and dtype; sums are computed in float32 at least.
    """
    return _local_response_norm(x, size=size, alpha=alpha, beta=beta, k=k)


@traced_once
def _local_response_norm(x, *, size, alpha, beta, k):
    return _divided(x, size, alpha, beta, k)


def _respond(x, size, alpha, beta, k):
    x = wide(x)
    base = k + alpha * _window_sum(jnp.square(x), (size - 1) // 2, size // 2)
    return x, base, _negative_power(base, beta)


def _divide(x, size, alpha, beta, k):
    values, _, factor = _respond(x, size, alpha, beta, k)
    return (values * factor).astype(x.dtype)


_divided = jax.custom_jvp(_divide, nondiff_argnums=(1, 2, 3, 4))


@_divided.defjvp
def _differentiate_division(size, alpha, beta, k, arrays, tangents):
    options = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    forward, backward = (functools.partial(_along, turned=turned, **options) for turned in (False, True))
    return _local_response_norm(*arrays, **options), *linear_map(forward, backward, arrays, tangents)


def _along(constants, operands, *, turned, size, alpha, beta, k):
    """Returns the tangent of the normalized x, or the gradient of x where the windows are turned round."""
    x, along = constants[0], wide(operands[0])
    values, base, factor = _respond(x, size, alpha, beta, k)
    before, after = (size - 1) // 2, size // 2
    if turned:
        # A value lies in the windows of its neighbours, which are those in the window turned round.
        outer, shared = values, _window_sum(along * values * factor / base, after, before)
    else:
        outer, shared = values * factor / base, _window_sum(along * values, before, after)
    return ((along * factor - 2 * alpha * beta * outer * shared).astype(x.dtype),)


def _window_sum(x: jax.Array, before: int, after: int) -> jax.Array:
    """Returns, for each channel, the sum of itself and of this many channels before and after it."""
    padded = jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((before, after),))
    # Differences of a running sum would be cheaper for large windows, but lose digits; the window here is five.
    total = sum(lax.slice_in_dim(padded, i, i + x.shape[-1], axis=-1) for i in range(before + after + 1))
    assert isinstance(total, jax.Array)  # the window has one channel at least
    return total


def _negative_power(base: jax.Array, exponent: float) -> jax.Array:
    """Returns ``base ** -exponent``; for the paper's 0.75 by square roots, several times faster than by a logarithm."""
    if exponent == 0.75:
        root = lax.rsqrt(base)
        return root * jnp.sqrt(root)
    return base**-exponent
