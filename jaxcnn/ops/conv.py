"""Convolution, with a choice of lowering for the forward pass and for each of the two gradients.

A convolution is one bilinear map, which can be lowered to different operations (`jaxcnn.ops.lowerings`). Which lowering
is fastest depends on the backend and the shape, and it differs between the forward pass and the two gradients. So each
of the three is lowered on its own.
"""

import functools
import itertools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxcnn.ops.backend import rules_backend
from jaxcnn.ops.conv_shape import ConvShape, Images, Kernel, Outputs
from jaxcnn.ops.linear import linear_map
from jaxcnn.ops.lowering_rules import Lowering, choose
from jaxcnn.ops.lowerings import LOWERINGS, LoweringName, input_gradient, weight_gradient, xla
from jaxcnn.ops.rules import Lowerings
from jaxcnn.ops.sharding import vary_alike
from jaxcnn.ops.symbolic import at_most, is_symbolic
from jaxcnn.ops.tracing import traced_once
from jaxcnn.ops.window import Padding, Pair, resolve_padding, sizes


def conv2d(
    images: Images,
    kernel: Kernel,
    *,
    strides: Pair = (1, 1),
    padding: Padding = "valid",
    dilation: Pair = (1, 1),
    groups: int = 1,
    lowering: Lowering = "auto",
) -> Outputs:
    """Convolves (cross-correlates) images with a kernel.

    All lowerings compute the same map up to rounding, and so do their derivatives of any order.

    Args:
        images: (batch, height, width, in_channels).
        kernel: (kernel_height, kernel_width, in_channels // groups, features), of the images' dtype.
        strides: (vertical, horizontal).
        padding: explicit pairs, ``"same"`` (TensorFlow's) or ``"valid"``.
        dilation: the distance between the kernel's taps, (vertical, horizontal), in pixels.
        groups: the number of groups that the channels are divided into; ``in_channels`` is depthwise.
        lowering: a name of `jaxcnn.ops.lowerings.LOWERINGS` for the forward pass and both gradients, three names
            (`Lowerings`), a `TunedLowerings` table, or ``"auto"``, which follows `lowering_rules`.

    Returns:
        (batch, out_height, out_width, features). A padded image smaller than the kernel gives an output without pixels.

    Raises:
        ValueError: the shapes do not fit together, or there is no such lowering.
    """
    if images.ndim != 4 or kernel.ndim != 4:
        raise ValueError(f"conv2d takes 4-D images and kernel, not {images.shape} and {kernel.shape}")
    channels, features = images.shape[3], kernel.shape[3]
    if channels != kernel.shape[2] * groups or features % groups:
        raise ValueError(f"kernel {kernel.shape} in {groups} groups does not fit images with {channels} channels")
    if images.dtype != kernel.dtype:
        raise ValueError(f"images are {images.dtype} and the kernel is {kernel.dtype}: cast one of them")
    padding = resolve_padding(padding, images.shape[1:3], kernel.shape[:2], strides, dilation)
    if is_symbolic(itertools.chain(*padding)):  # XLA's convolution takes numbers
        images = lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0)))
        padding = ((0, 0), (0, 0))
    shape = ConvShape(sizes(images.shape), sizes(kernel.shape), strides, padding, dilation, groups, images.dtype.name)
    if any(at_most(length, 0) for length in shape.size):
        # The empty output is computed from the operands, so that the derivatives are zeros of the right shapes.
        return xla(images, kernel, shape)
    images, kernel = vary_alike(images, kernel)
    return _product(images, kernel, of="outputs", shape=shape, lowerings=choose(lowering, rules_backend(), shape))


Role = Literal["outputs", "images", "kernel"]
ROLES: tuple[Role, ...] = get_args(Role)


def _others(role: Role) -> tuple[Role, Role]:
    first, second = (other for other in ROLES if other != role)
    return first, second


@traced_once
def _product(first: jax.Array, second: jax.Array, *, of: Role, shape: ConvShape, lowerings: Lowerings) -> jax.Array:
    """Returns one of the three products of a convolution, from the other two arrays, in the order of `ROLES`.

    A convolution and its gradients are the three ways to contract one trilinear form of outputs, images and kernel. So
    each is linear in both of its arguments, each is the transpose of the others, and the derivatives of any order are
    again these three.
    """
    return _lowered(first, second, of, shape, lowerings)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _lowered(first: jax.Array, second: jax.Array, of: Role, shape: ConvShape, lowerings: Lowerings) -> jax.Array:
    match of:
        case "outputs":
            return LOWERINGS[lowerings.forward](first, second, shape)
        case "images":
            return input_gradient(first, second, shape, lowerings.input_gradient)
        case "kernel":
            return _kernel_gradient(first, second, shape, lowerings.weight_gradient)


def _differentiate(of: Role, shape: ConvShape, lowerings: Lowerings, arrays, tangents):
    terms = []
    for role, tangent, fixed in zip(_others(of), tangents, reversed(arrays), strict=True):
        if not isinstance(tangent, SymbolicZero):
            along = functools.partial(_along, shape=shape, lowerings=lowerings)
            apply = functools.partial(along, moving=role, of=of)
            transpose = functools.partial(along, moving=of, of=role)
            terms += linear_map(apply, transpose, (fixed,), (tangent,))
    return _product(*arrays, of=of, shape=shape, lowerings=lowerings), functools.reduce(jnp.add, terms)


_lowered.defjvp(_differentiate, symbolic_zeros=True)


def _along(constants, operands, *, moving: Role, of: Role, shape: ConvShape, lowerings: Lowerings):
    """Returns the product of a moving array and a fixed one, whose roles are those that are not ``of``'s."""
    arrays = (*operands, *constants) if moving == _others(of)[0] else (*constants, *operands)
    return (_product(*arrays, of=of, shape=shape, lowerings=lowerings),)


def _kernel_gradient(cotangent: Outputs, images: Images, shape: ConvShape, lowering: LoweringName) -> Kernel:
    gradient = weight_gradient(cotangent, images, shape, lowering)
    if rules_backend() != "gpu":
        return gradient
    # cuDNN returns another order of axes. XLA's GPU backend would put them in order where the optimizer reads them. It
    # could not update the parameters in place then, and would copy them and the optimizer's state at the end. A vector
    # has only one order.
    return lax.optimization_barrier(gradient.ravel()).reshape(gradient.shape)
