"""The lowerings of a convolution: each computes the same bilinear map of images and kernel by other operations.

A lowering's gradients are its transposes, which JAX derives: that of patches and a matrix product, for example,
is a matrix product and a sum of shifted patches. Where it is quicker, they are written by hand.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxcnn.ops.conv_shape import ConvShape, Images, Kernel, Outputs, like, pad, taps_of
from jaxcnn.ops.direct import direct_outputs, direct_weight_gradient
from jaxcnn.ops.precision import wide
from jaxcnn.ops.product import product, row_product
from jaxcnn.ops.rows import has_rows, rows_outputs, rows_weight_gradient
from jaxcnn.ops.symbolic import Length, at_most
from jaxcnn.ops.window import sizes, tap
from jaxcnn.ops.winograd import has_tiles, winograd_input_gradient, winograd_outputs

Direction = Literal["forward", "input_gradient", "weight_gradient"]
LoweringName = Literal["xla", "gemm", "shift", "dense", "toeplitz", "rows", "direct", "winograd"]


class Lowered(Protocol):
    """One lowering: the convolution of images with a kernel, whose shapes are the ``shape``'s."""

    def __call__(self, images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
        """Returns (batch, out_height, out_width, features)."""
        ...


def xla(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Convolves by one ``lax.conv_general_dilated``, whose algorithm the backend chooses."""
    return lax.conv_general_dilated(
        images,
        kernel,
        shape.strides,
        shape.padding,
        rhs_dilation=shape.dilation,
        feature_group_count=shape.groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def patches(images: Images, shape: ConvShape) -> Float[Array, "positions values"]:
    """Returns the values under the kernel at each of its positions: (batch * out_height * out_width, taps * channels).

    They are in the order of the kernel's own, so that the product of a row with ``kernel.reshape(-1, features)`` is one
    output, where all channels are one group.
    """
    values = shape.taps * shape.images[3]
    if shape.covers:  # as AlexNet's first dense layer does
        return images.reshape(-1, values)
    pixels = [padded[:, rows, columns] for padded in [pad(images, shape)] for rows, columns in taps_of(shape)]
    gathered = jnp.concatenate(pixels, axis=-1) if len(pixels) > 1 else pixels[0]
    return gathered.reshape(-1, values)


def gemm(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Gathers patches and multiplies them by the kernel, in one matrix product a group.

    This is the lecture's convolution as a matrix multiplication. A 1x1 kernel needs no patches. Where there are fewer
    features than channels, the images are multiplied by all taps at once instead, and the products are shifted and
    summed (`narrows`).
    """
    return _sums_of_products(images, kernel, shape) if narrows(shape, "forward") else _by_patches(images, kernel, shape)


def _by_patches(
    images: Images, kernel: Kernel, shape: ConvShape, times: Callable[[jax.Array, jax.Array], jax.Array] = product
) -> Outputs:
    """Convolves as `gemm` does where it does not narrow; ``times`` multiplies where there is one group."""
    group_channels, features = shape.kernel[2:]
    if shape.groups == 1:
        return times(patches(images, shape), kernel.reshape(-1, features)).reshape(shape.outputs)
    pixels = [images[:, rows, columns] for images in [pad(images, shape)] for rows, columns in taps_of(shape)]
    grouped = [each.reshape(-1, shape.groups, group_channels) for each in pixels]
    gathered = jnp.concatenate(grouped, axis=-1)
    matrices = kernel.reshape(-1, shape.groups, features // shape.groups)
    return jnp.einsum("pgk,kgf->pgf", gathered, matrices).reshape(shape.outputs)


_LEAST_SAVED: dict[Direction, float] = {"forward": 0.5, "input_gradient": 8.0, "weight_gradient": 0.15}
"""The least values that narrower patches save of each tap, in multiples of the tap's weights, where they are faster: on
two x86 cores, with twelve shapes."""


def narrows(shape: ConvShape, direction: Direction) -> bool:
    """Returns whether `gemm` gathers what is on the side of the outputs: they are as many, and have fewer channels.

    At stride 1 a convolution reads and writes as many pixels, so that patches of the outputs take the place of patches
    of the images, in all three directions. For DenseNet's 3x3 convolution of 128 channels to 32 at 56x56, batch 16, the
    three take 39, 43 and 58 ms instead of 77, 56 and 129 (two x86 cores). But the kernel is turned for it, which takes
    longer than it saves where the kernel is large and the images are few or small: for AlexNet's of 384 channels to 256
    at 13x13, one image, the forward pass takes 4.4 ms instead of 3.7, and the input gradient 6.9 instead of 3.3.
    """
    channels, features = shape.kernel[2:]
    if shape.groups > 1 or shape.taps == 1 or shape.strides != (1, 1) or features >= channels:
        return False
    saved = math.prod(shape.outputs[:3]) * (channels - features)
    return not at_most(saved, int(_LEAST_SAVED[direction] * channels * features))


def _sums_of_products(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Convolves at stride 1 by one product of the pixels with all taps, which are then shifted and summed."""
    channels, features = shape.kernel[2:]
    # The sum over the taps is kept in float32, as in `shift`.
    sums = jnp.promote_types(images.dtype, jnp.float32)
    taps = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    products = jnp.matmul(images.reshape(-1, channels), taps, preferred_element_type=sums)
    products = pad(products.reshape(*images.shape[:3], -1), shape)
    total = jnp.zeros((), sums)
    for k, (rows, columns) in enumerate(taps_of(shape)):
        total = products[:, rows, columns, k * features : (k + 1) * features] + total
    return total.astype(images.dtype)


def shift(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Shifts the images by each tap, multiplies them by the tap's matrix (depthwise: by its numbers), and sums."""
    images, (_, _, group_channels, features) = pad(images, shape), shape.kernel
    matrices = kernel.reshape(shape.taps, group_channels, features)
    # The sum over the taps is kept in float32: in bfloat16 every addition would lose a bit or two.
    sums = jnp.promote_types(images.dtype, jnp.float32)
    total = jnp.zeros((), sums)
    for (rows, columns), matrix in zip(taps_of(shape), matrices, strict=True):
        pixels = images[:, rows, columns]
        if shape.depthwise:
            repeated = jnp.repeat(pixels, features // shape.groups, axis=-1) if features > shape.groups else pixels
            product = wide(repeated) * wide(matrix).reshape(1, 1, 1, -1)
        elif shape.groups == 1:
            product = jnp.matmul(pixels, matrix, preferred_element_type=sums)
        else:
            grouped = pixels.reshape(*pixels.shape[:3], shape.groups, group_channels)
            matrix = matrix.reshape(group_channels, shape.groups, -1)
            product = jnp.einsum("nhwgc,cgf->nhwgf", grouped, matrix, preferred_element_type=sums)
            product = product.reshape(shape.outputs)
        total = product + total
    return total.astype(images.dtype)


def dense(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Computes groups as one dense convolution, whose kernel is zero between them: more arithmetic, larger matrices."""
    return xla(images, _densified(kernel, shape.groups), dataclasses.replace(shape, groups=1))


def toeplitz(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Multiplies whole rows of the image by a banded (block Toeplitz) matrix: more arithmetic, but no thin matrices."""
    images, kernel = pad(images, shape), _densified(kernel, shape.groups)
    kernel_height, kernel_width, channels, features = kernel.shape
    batch, _, width, _ = images.shape
    height, out_width = shape.size
    columns = np.arange(out_width)[:, None]
    touched = columns * shape.strides[1] + np.arange(kernel_width)[None] * shape.dilation[1]
    taps = jnp.broadcast_to(
        kernel.transpose(1, 0, 2, 3)[None], (out_width, kernel_width, kernel_height, channels, features)
    )
    band = jnp.zeros((kernel_height, width, channels, out_width, features), kernel.dtype)
    band = band.at[:, touched, :, columns].set(taps, unique_indices=True)
    rows = [
        images[:, tap(i * shape.dilation[0], height, shape.strides[0])].reshape(batch, height, width * channels)
        for i in range(kernel_height)
    ]
    stacked = jnp.concatenate(rows, axis=-1).reshape(batch * height, -1)
    return (stacked @ band.reshape(stacked.shape[1], -1)).reshape(shape.outputs)


def rows(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Multiplies a few rows at a time in loops (`jaxcnn.ops.rows`); where it has no rows so, it is `direct`."""
    return rows_outputs(images, kernel, shape) if has_rows(shape) else direct_outputs(images, kernel, shape)


def winograd(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Multiplies sums of pixels by sums of taps (`jaxcnn.ops.winograd`); where it has no tiles so, it is `xla`."""
    return winograd_outputs(images, kernel, shape) if has_tiles(shape) else xla(images, kernel, shape)


def input_gradient(cotangent: Outputs, kernel: Kernel, shape: ConvShape, lowering: LoweringName) -> Images:
    """Returns the transpose of one lowering with respect to the images, (batch, height, width, channels).

    That of `shift` for a depthwise convolution, those of `rows`, `direct` and `winograd`, and that of `gemm` for a
    kernel that `narrows` are forward passes of the turned kernel, which read every tap from one padded array, where the
    transposes of the slices would make an array each. For ConvNeXt's 7x7 at 56x56, 96 channels, batch 16, `shift` takes
    8 ms instead of 54 (two x86 cores).
    """
    if lowering == "winograd" and has_tiles(shape):
        return winograd_input_gradient(cotangent, kernel, shape)
    turns = lowering in ("rows", "direct") or (lowering == "shift" and has_rows(shape))
    if turns or (lowering == "gemm" and narrows(shape, "input_gradient")):
        return _by_phases(cotangent, kernel, shape, lowering)
    forward = functools.partial(_TRANSPOSABLE[lowering], kernel=kernel, shape=shape)
    return jax.linear_transpose(forward, like(cotangent, shape.images))(cotangent)[0]


def weight_gradient(cotangent: Outputs, images: Images, shape: ConvShape, lowering: LoweringName) -> Kernel:
    """Returns the transpose of one lowering with respect to the kernel, of the kernel's shape.

    That of `gemm` gathers patches of the cotangent instead of patches of the images for a kernel that `narrows`.
    """
    if lowering == "rows" and has_rows(shape):
        return rows_weight_gradient(cotangent, images, shape)
    if lowering in ("rows", "direct"):
        return direct_weight_gradient(cotangent, images, shape)
    if lowering == "gemm" and narrows(shape, "weight_gradient"):
        return _by_patches_of_cotangent(cotangent, images, shape)
    forward = functools.partial(_TRANSPOSABLE[lowering], images, shape=shape)
    return jax.linear_transpose(forward, like(cotangent, shape.kernel))(cotangent)[0]


def _by_patches_of_cotangent(cotangent: Outputs, images: Images, shape: ConvShape) -> Kernel:
    """Returns the weight gradient at stride 1 as the product of the images with patches of the cotangent."""
    channels, features = shape.kernel[2:]
    seen = [_seen(shape, axis, 0, shape.images[1 + axis]) for axis in (0, 1)]
    padded = _padded_alike(cotangent, seen)
    turned = ConvShape(sizes(padded.shape), (*shape.kernel[:2], features, channels), dilation=shape.dilation)
    product = images.reshape(-1, channels).T @ patches(padded, turned)
    return product.reshape(channels, *shape.kernel[:2], features)[:, ::-1, ::-1].transpose(1, 2, 0, 3)


class _Seen(NamedTuple):
    """The outputs along one axis that every so many pixels count for, as a convolution at stride 1 sees them."""

    taps: list[int]
    """The taps through which they do, the last one first."""
    edges: tuple[Length, Length]
    """What to pad the outputs by before and after; where it is negative, that much is left out."""
    gap: int
    """The distance between the outputs of two taps."""


def _seen(shape: ConvShape, axis: int, phase: int, count: Length) -> _Seen:
    """Returns the outputs that pixels count for, which are ``count`` from ``phase`` on in steps of the stride."""
    stride, dilation, first = shape.strides[axis], shape.dilation[axis], phase + shape.padding[axis][0]
    taps = [i for i in reversed(range(shape.kernel[axis])) if (first - i * dilation) % stride == 0]
    if not taps:
        return _Seen([], (0, 0), 1)
    least, most = ((first - i * dilation) // stride for i in (taps[0], taps[-1]))
    return _Seen(taps, (-least, count + most - shape.size[axis]), dilation // math.gcd(dilation, stride))


def _padded_alike(cotangent: Outputs, seen: Sequence[_Seen]) -> Float[Array, "batch rows columns features"]:
    """Returns the cotangent with what a convolution at stride 1 sees around it."""
    edges = [(*each.edges, 0) for each in seen]
    return lax.pad(cotangent, jnp.zeros((), cotangent.dtype), ((0, 0, 0), *edges, (0, 0, 0)))


def _by_phases(cotangent: Outputs, kernel: Kernel, shape: ConvShape, lowering: LoweringName) -> Images:
    """Returns the input gradient as forward passes of the turned kernel at stride 1.

    At a stride of 2 the pixels of even and of odd rows and columns count for outputs through other taps. So there is a
    pass for each of these four phases, with a part of the kernel each.
    """
    batch, *lengths, channels = shape.images
    counts = [-(-length // stride) for length, stride in zip(lengths, shape.strides, strict=True)]
    by_group = kernel.reshape(*kernel.shape[:3], shape.groups, -1).transpose(0, 1, 4, 3, 2)
    turned = by_group.reshape(*kernel.shape[:2], -1, channels)

    def phase(*place: int) -> Images:
        down, right = seen = [_seen(shape, axis, place[axis], counts[axis]) for axis in (0, 1)]
        if not (down.taps and right.taps):
            return jnp.zeros_like(cotangent, shape=(batch, *counts, channels))
        padded, part = _padded_alike(cotangent, seen), turned[np.ix_(down.taps, right.taps)]
        gaps = (down.gap, right.gap)
        seen_by = ConvShape(sizes(padded.shape), sizes(part.shape), dilation=gaps, groups=shape.groups)
        return LOWERINGS[lowering](padded, part, seen_by)

    if shape.strides == (1, 1):
        return phase(0, 0)
    vertical, horizontal = map(range, shape.strides)
    phases = jnp.stack([jnp.stack([phase(i, j) for j in horizontal], axis=3) for i in vertical], axis=2)
    whole = phases.reshape(batch, counts[0] * shape.strides[0], counts[1] * shape.strides[1], channels)
    return whole[:, : lengths[0], : lengths[1]]


LOWERINGS: dict[LoweringName, Lowered] = {
    "xla": xla,
    "gemm": gemm,
    "shift": shift,
    "dense": dense,
    "toeplitz": toeplitz,
    "rows": rows,
    "direct": direct_outputs,
    "winograd": winograd,
}
_TRANSPOSABLE: dict[LoweringName, Lowered] = {**LOWERINGS, "gemm": functools.partial(_by_patches, times=row_product)}
"""The lowerings in the forms whose transposes are fast."""


def _densified(kernel: jax.Array, groups: int) -> jax.Array:
    """Returns a kernel (h, w, channels // groups, features) as (h, w, channels, features), zero between the groups.

    It takes four axes, because XLA's sums of products over seven ended the process on CPUs (jaxlib 0.10.2), and every
    `jax.vmap` adds one to a transpose's.
    """
    if groups == 1:
        return kernel
    height, width, group_channels, features = kernel.shape
    own = np.repeat(np.eye(groups, dtype=kernel.dtype), features // groups, axis=1)
    blocks = kernel.reshape(height * width, 1, group_channels, features) * own.reshape(1, groups, 1, features)
    return blocks.reshape(height, width, groups * group_channels, features)
