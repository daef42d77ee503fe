"""Convolution, with a choice of lowering for the forward pass and for each of the two gradients.

A convolution is one bilinear map, which can be lowered to different operations (`jaxcnn.ops.lowerings`). Which lowering
is fastest depends on the backend and the shape, and it differs between the forward pass and the two gradients. So each
of the three is lowered on its own.
"""

import functools

import jax

from jaxcnn.ops.lowering_rules import Lowering, Lowerings, choose, rules_backend
from jaxcnn.ops.lowerings import (
    LOWERINGS,
    ConvShape,
    Images,
    Kernel,
    LoweringName,
    Outputs,
    depthwise_shift_input_gradient,
    xla,
)
from jaxcnn.ops.sharding import vary_like
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
    shape = ConvShape(sizes(images.shape), sizes(kernel.shape), strides, padding, dilation, groups, images.dtype.name)
    if not all(shape.size):
        # The empty output is computed from the operands, so that the derivatives are zeros of the right shapes.
        return xla(images, kernel, shape)
    return _conv2d(images, vary_like(kernel, images), shape, choose(lowering, rules_backend(), shape))


def _forward(images: jax.Array, kernel: jax.Array, shape: ConvShape, lowerings: Lowerings) -> jax.Array:
    return LOWERINGS[lowerings.forward](images, kernel, shape)


_conv2d = jax.custom_vjp(_forward, nondiff_argnums=(2, 3))


def _save(images: jax.Array, kernel: jax.Array, shape: ConvShape, lowerings: Lowerings):
    return _forward(images, kernel, shape, lowerings), (images, kernel)


def _pull_back(shape: ConvShape, lowerings: Lowerings, saved: tuple[jax.Array, jax.Array], cotangent: jax.Array):
    images, kernel = saved
    return (
        input_gradient(cotangent, images, kernel, shape, lowerings.input_gradient),
        weight_gradient(cotangent, images, kernel, shape, lowerings.weight_gradient),
    )


_conv2d.defvjp(_save, _pull_back)


def input_gradient(
    cotangent: Outputs,
    images: Images,
    kernel: Kernel,
    shape: ConvShape,
    lowering: LoweringName,
) -> Images:
    """Returns the transpose of one lowering with respect to the images, (batch, height, width, channels)."""
    if lowering == "shift" and shape.depthwise and shape.strides == (1, 1) and shape.kernel[3] == shape.groups:
        return depthwise_shift_input_gradient(cotangent, kernel, shape)
    forward = functools.partial(LOWERINGS[lowering], kernel=kernel, shape=shape)
    return jax.linear_transpose(forward, images)(cotangent)[0]


def weight_gradient(
    cotangent: Outputs,
    images: Images,
    kernel: Kernel,
    shape: ConvShape,
    lowering: LoweringName,
) -> Kernel:
    """Returns the transpose of one lowering with respect to the kernel, of the kernel's shape."""
    forward = functools.partial(LOWERINGS[lowering], images, shape=shape)
    return jax.linear_transpose(forward, kernel)(cotangent)[0]
