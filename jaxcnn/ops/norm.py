"""Normalization over a batch, and over the channels of a pixel."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from jaxcnn.ops.backend import rules_backend
from jaxcnn.ops.fusion import computed_once
from jaxcnn.ops.linear import linear_map
from jaxcnn.ops.precision import wide
from jaxcnn.ops.sharding import vary_alike
from jaxcnn.ops.tracing import traced_once


def batch_norm(
    x: Float[Array, "batch *axes channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float,
    shift: Float[Array, " channels"] | None = None,
    axis_name: str | None = None,
    groups: int = 1,
) -> tuple[Float[Array, "batch *axes channels"], Float[Array, " channels"], Float[Array, " channels"]]:
    """Normalizes by the batch's own statistics (Ioffe and Szegedy, arXiv:1502.03167, algorithm 1).

    The statistics are computed in float32 at least, and not as E[x^2] - E[x]^2, which loses all digits where the mean
    is much larger than the deviation: see `_statistics`. The derivative is the closed form of the paper's section 3. It
    reads x twice, where differentiating two passes would read it four times.

    Args:
        x: (batch, ..., channels).
        scale: (channels,), float32.
        bias: (channels,), float32.
        epsilon: what is added to the variance.
        shift: a guess of the mean, (channels,), such as the running one. The results do not depend on it. A good guess
            saves TPUs a pass over x.
        axis_name: the mapped axis that the batch is split over, if there is one.
        groups: the number of equal parts of the batch, one after another, that are normalized separately; with an
            ``axis_name`` a part is made of the images of whole devices.

    Returns:
        The normalized x, in its dtype; and the mean and the biased variance, averaged over the groups, (channels,)
        float32. The statistics carry no derivative.
    """
    if shift is not None:
        shift = lax.stop_gradient(shift)
        x, scale, bias, shift = vary_alike(x, scale, bias, shift)
    else:
        x, scale, bias = vary_alike(x, scale, bias)
    if axis_name is not None:
        normalized, mean, var = _batch_norm(x, scale, bias, shift, epsilon=epsilon, axis_name=axis_name, groups=groups)
        if groups > 1:
            mean, var = lax.pmean((mean, var), axis_name)
    elif groups > 1:
        parts = x.reshape(groups, x.shape[0] // groups, *x.shape[1:])
        of_group = functools.partial(_batch_norm, epsilon=epsilon, axis_name=None, groups=1)
        normalized, mean, var = jax.vmap(of_group, in_axes=(0, None, None, None))(parts, scale, bias, shift)
        normalized, mean, var = normalized.reshape(x.shape), mean.mean(0), var.mean(0)
    else:
        normalized, mean, var = _batch_norm(x, scale, bias, shift, epsilon=epsilon, axis_name=None, groups=1)
    return normalized, lax.stop_gradient(mean), lax.stop_gradient(var)


@traced_once
def _batch_norm(x, scale, bias, shift, *, epsilon, axis_name, groups):
    return _normalize(x, scale, bias, shift, epsilon, axis_name, groups)


def _forward(x, scale, bias, shift, epsilon, axis_name, groups):
    mean, var = _statistics(x, shift, epsilon, functools.partial(_average, axis_name=axis_name, groups=groups))
    return affine_norm(x, scale, bias, mean, var, epsilon=epsilon), mean, var


def _statistics(x, shift, epsilon, average):
    """Returns the mean and the biased variance of each channel, over all devices of a group.

    Accelerators are limited by what they read, and read x once where they can. XLA's CPU backend would read it once for
    each sum in any case, so there the second pass is about the mean itself, which is exact.
    """
    backend = rules_backend()
    if backend == "gpu" and math.prod(x.shape[1:-1]) >= 16:
        return _join(*_of_images(x), average)
    if backend == "tpu" and shift is not None:
        mean, var = _about(x, shift, epsilon)
        return _join(mean[None], var[None], average)
    axes = tuple(range(x.ndim - 1))
    mean = average(wide(x).mean(axes))
    return mean, average(jnp.square(wide(x) - _broadcast(mean, x)).mean(axes))


def _of_images(x):
    """Returns the mean and the variance of each image, (batch, channels) each, from sums about its middle pixel."""
    middle = x[:, *(slice(length // 2, length // 2 + 1) for length in x.shape[1:-1])]
    mean, var = _in_one_pass(x, wide(middle), tuple(range(1, x.ndim - 1)))
    return mean.reshape(x.shape[0], x.shape[-1]), var.reshape(x.shape[0], x.shape[-1])


def _in_one_pass(x, one, axes):
    """Returns the mean and the variance over some axes, whose length is 1 then, from sums about one of the values.

    Of n values none is further than sqrt(n) deviations from their mean. So what is subtracted is at most n times what
    is left. For an image of 56x56 pixels this costs at most 12 of float32's 24 bits, whatever its values are, and one
    or two bits for values like those of networks.
    """
    shifted = wide(x) - one
    # Without the barrier, XLA would take the sums over all images as sums of their own, and read x for each of them.
    sums = lax.optimization_barrier((shifted.sum(axes, keepdims=True), jnp.square(shifted).sum(axes, keepdims=True)))
    first, second = (each / math.prod(x.shape[axis] for axis in axes) for each in sums)
    return one + first, second - jnp.square(first)


def _about(x, shift, epsilon):
    """Returns mean and variance of all of x from sums about a guess of the mean, (channels,) each.

    XLA's TPU backend takes such sums while a convolution writes x, and the guess may not depend on x for that. Where
    it is so far off that more than 6 of float32's 24 bits would be lost, x is read a second time.
    """
    axes = tuple(range(x.ndim - 1))
    shifted = wide(x) - _broadcast(shift, x)
    first = shifted.mean(axes)
    var = jnp.square(shifted).mean(axes) - jnp.square(first)
    mean = shift + first
    close = jnp.all(jnp.square(first) <= 64 * (var + epsilon))
    return mean, lax.cond(close, lambda: var, lambda: jnp.square(wide(x) - _broadcast(mean, x)).mean(axes))


def _join(means, within, average):
    """Returns mean and variance over all devices of a group.

    Args:
        means: the means of equal parts of x, (parts, channels).
        within: the variances of the parts, (parts, channels).
        average: the mean over the devices of a group.
    """
    mean = average(means.mean(0))
    # One mean of a sum, and not two means: under jit each would be exchanged between the devices by itself.
    return mean, average((within + jnp.square(means - _broadcast(mean, means))).mean(0))


_normalize = jax.custom_jvp(_forward, nondiff_argnums=(4, 5, 6))


def _differentiate(epsilon, axis_name, groups, arrays, tangents):
    x, scale, *_ = arrays
    # Not by `_normalize`: for the next derivative the statistics are functions of x like any other.
    outputs = _, mean, var = _forward(*arrays, epsilon, axis_name, groups)
    tangents = tangents[:3]  # the guess of the mean moves nothing
    moving = tuple(not isinstance(tangent, SymbolicZero) for tangent in tangents)
    options = {"moving": moving, "epsilon": epsilon, "axis_name": axis_name, "groups": groups}
    (tangent,) = linear_map(
        functools.partial(_push_forward, **options),
        functools.partial(_pull_back, **options),
        (x, scale, mean, var),
        tuple(itertools.compress(tangents, moving)),
    )
    return outputs, (tangent, SymbolicZero(jax.typeof(mean)), SymbolicZero(jax.typeof(var)))


_normalize.defjvp(_differentiate, symbolic_zeros=True)


def _push_forward(constants, tangents, *, moving, epsilon, axis_name, groups):
    """Returns the tangent of the normalized x, from those of x, scale and bias that are moving."""
    x, scale, mean, var = constants
    given = iter(tangents)
    x_tangent, scale_tangent, bias_tangent = (wide(next(given)) if moves else None for moves in moving)
    axes = tuple(range(x.ndim - 1))
    inverse = lax.rsqrt(var + epsilon)
    centred = wide(x) - _broadcast(mean, x)
    terms = []
    if x_tangent is not None:
        offset = _average(x_tangent.mean(axes), axis_name, groups)
        slope = _average((x_tangent * centred).mean(axes), axis_name, groups) * jnp.square(inverse)
        change = x_tangent - _broadcast(offset, x) - centred * _broadcast(slope, x)
        terms.append(change * _broadcast(scale * inverse, x))
    if scale_tangent is not None:
        terms.append(centred * _broadcast(inverse * scale_tangent, x))
    if bias_tangent is not None:
        terms.append(jnp.broadcast_to(_broadcast(bias_tangent, x), x.shape))
    return (functools.reduce(jnp.add, terms).astype(x.dtype),)


def _pull_back(constants, cotangents, *, moving, epsilon, axis_name, groups):
    """Returns the gradients of those of x, scale and bias that are moving."""
    x, scale, mean, var = constants
    axes = tuple(range(x.ndim - 1))
    cotangent = wide(cotangents[0])
    inverse = lax.rsqrt(var + epsilon)
    centred = wide(x) - _broadcast(mean, x)
    bias_gradient = cotangent.sum(axes)
    scale_gradient = (cotangent * centred).sum(axes) * inverse
    count = math.prod(x.shape[:-1])
    offset = _average(bias_gradient / count, axis_name, groups)
    slope = _average(scale_gradient / count, axis_name, groups) * inverse
    x_gradient = cotangent - _broadcast(offset, x) - centred * _broadcast(slope, x)
    x_gradient = (x_gradient * _broadcast(scale * inverse, x)).astype(x.dtype)
    gradients = x_gradient, scale_gradient.astype(scale.dtype), bias_gradient.astype(scale.dtype)
    return tuple(itertools.compress(gradients, moving))


@traced_once
def affine_norm(
    x: Float[Array, "*axes channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    mean: Float[Array, " channels"],
    var: Float[Array, " channels"],
    *,
    epsilon: float,
) -> Float[Array, "*axes channels"]:
    """Returns ``(x - mean) / sqrt(var + epsilon) * scale + bias`` in x's dtype: evaluation's batch normalization."""
    values = wide(x)
    factor = lax.rsqrt(var.astype(values.dtype) + epsilon) * scale
    if x.dtype.itemsize < 4 and rules_backend() == "gpu":
        # Values of at most 11 bits cannot lie closer together than 1 / 2048 of their mean. So this form is as exact as
        # its result. It needs two vectors, not three, with which XLA's GPU backend would reckon that the gradient of an
        # activation is cheaper to write and read again than to compute where it is needed.
        return (values * _broadcast(factor, x) + _broadcast(bias - mean * factor, x)).astype(x.dtype)
    return ((values - _broadcast(mean, x)) * _broadcast(factor, x) + _broadcast(bias, x)).astype(x.dtype)


def _broadcast(vector: jax.Array, x: jax.Array) -> jax.Array:
    return vector.reshape((1,) * (x.ndim - 1) + vector.shape)


def _average(value: jax.Array, axis_name: str | None, groups: int) -> jax.Array:
    """Returns the mean over the devices of this device's group."""
    if axis_name is None:
        return value
    devices = lax.axis_size(axis_name)
    if groups == 1:
        return lax.pmean(value, axis_name)
    if groups == devices:
        return value
    # shard_map does not take ``axis_index_groups``, and a few channels cost little to send to all devices.
    every = lax.all_gather(value, axis_name).reshape(groups, devices // groups, *value.shape)
    return every[lax.axis_index(axis_name) // (devices // groups)].mean(0)


def layer_norm(
    x: Float[Array, "*axes channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float,
) -> Float[Array, "*axes channels"]:
    """Normalizes each pixel over its channels (Ba, Kiros and Hinton, arXiv:1607.06450).

    The variance is taken in two passes, as for batch normalization: E[x^2] - E[x]^2 loses digits where the mean is
    large. GPUs take it in one, about the first channel. The derivative is the closed form. Where there is one, CPUs
    compute x, its gradient and the sums of a pixel once: XLA would compute the convolution before it again for each
    pass over x, and a root for each channel.

    Args:
        x: (..., channels).
        scale: (channels,), float32.
        bias: (channels,), float32.
        epsilon: what is added to the variance.

    Returns:
        The normalized x, in its dtype; statistics are computed in float32 at least.
    """
    return _layer_norm(*vary_alike(x, scale, bias), epsilon=epsilon)


@traced_once
def _layer_norm(x, scale, bias, *, epsilon):
    return _normalized(x, scale, bias, epsilon)


def _of_channels(x, epsilon):
    """Returns the mean of each pixel and the inverse of its deviation, (..., 1) each."""
    if rules_backend() == "gpu":
        mean, var = _in_one_pass(x, wide(x[..., :1]), (-1,))
        return mean, lax.rsqrt(var + epsilon)
    mean = wide(x).mean(-1, keepdims=True)
    return mean, lax.rsqrt(jnp.square(wide(x) - mean).mean(-1, keepdims=True) + epsilon)


def _normalize_channels(x, scale, bias, epsilon):
    mean, inverse = _of_channels(x, epsilon)
    return ((wide(x) - mean) * (inverse * _broadcast(scale, x)) + _broadcast(bias, x)).astype(x.dtype)


_normalized = jax.custom_jvp(_normalize_channels, nondiff_argnums=(3,))


@_normalized.defjvp
def _differentiate_layer_norm(epsilon, arrays, tangents):
    x, scale, bias = arrays
    x = computed_once(x)
    # As functions of x, for the next derivative.
    mean, inverse = _of_channels(x, epsilon)
    constants = x, scale, mean, inverse
    return _layer_norm(x, scale, bias, epsilon=epsilon), *linear_map(
        _push_channels, _pull_channels, constants, tangents
    )


def _push_channels(constants, tangents):
    x, scale, mean, inverse = constants
    along, *others = map(wide, tangents)
    scale_tangent, bias_tangent = (_broadcast(each, x) for each in others)
    normalized = (wide(x) - mean) * inverse
    offset = along.mean(-1, keepdims=True)
    slope = (along * normalized).mean(-1, keepdims=True)
    change = (along - offset - normalized * slope) * (inverse * _broadcast(scale, x))
    return ((change + normalized * scale_tangent + bias_tangent).astype(x.dtype),)


def _pull_channels(constants, cotangents):
    x, scale, mean, inverse = constants
    cotangent = wide(cotangents[0])
    mean, inverse = computed_once(mean), computed_once(inverse)
    if rules_backend() == "gpu":
        # Without the barrier XLA would take them again from x in a kernel that it then cannot merge into the sums over
        # pixels, to which it would hand the normalized cotangent in float32.
        mean, inverse = lax.optimization_barrier((mean, inverse))
    normalized = (wide(x) - mean) * inverse
    scaled = cotangent * _broadcast(scale, x)
    offset = computed_once(scaled.mean(-1, keepdims=True))
    slope = computed_once((scaled * normalized).mean(-1, keepdims=True))
    x_gradient = computed_once(((scaled - offset - normalized * slope) * inverse).astype(x.dtype))
    others = tuple(range(x.ndim - 1))
    scale_gradient, bias_gradient = (cotangent * normalized).sum(others), cotangent.sum(others)
    return x_gradient, scale_gradient.astype(scale.dtype), bias_gradient.astype(scale.dtype)
