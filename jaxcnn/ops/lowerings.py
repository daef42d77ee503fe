"""The lowerings of a convolution: each computes the same bilinear map of images and kernel by other operations.

Only the forward pass is written here. A lowering's gradients are its transposes, which JAX derives: the transpose of
patches and a matrix product, for example, is a matrix product and a sum of shifted patches.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxcnn.ops.precision import wide
from jaxcnn.ops.symbolic import Length, known_at_most
from jaxcnn.ops.window import Pair, Size, Sizes, output_length, sizes, tap

LoweringName = Literal["xla", "gemm", "shift", "dense", "toeplitz"]


@dataclasses.dataclass(frozen=True)
class ConvShape:
    """The shape of one convolution: all that its speed depends on."""

    images: Sizes
    """(batch, height, width, channels)."""
    kernel: Sizes
    """(kernel_height, kernel_width, channels // groups, features)."""
    strides: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    dtype: str = "float32"

    @functools.cached_property
    def size(self) -> Size:
        """The height and width of the output; 0 where the kernel does not fit."""
        lengths = (self.images[1 + i] + sum(self.padding[i]) for i in (0, 1))
        height, width = map(output_length, lengths, self.kernel[:2], self.strides, self.dilation)
        return height, width

    @property
    def outputs(self) -> Sizes:
        """(batch, out_height, out_width, features)."""
        return self.images[0], *self.size, self.kernel[3]

    @property
    def taps(self) -> int:
        """The number of pixels under the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def depthwise(self) -> bool:
        """Whether each channel is a group of its own."""
        return self.kernel[2] == 1 and self.groups > 1

    @property
    def sliceable(self) -> bool:
        """Whether it is known that each tap sees pixels of the image and its padding, which symbols may leave open."""
        lengths = (self.images[1 + i] + sum(self.padding[i]) for i in (0, 1))
        return all(
            known_at_most(1, count) and known_at_most((taps - 1) * gap + (count - 1) * stride + 1, length)
            for count, taps, gap, stride, length in zip(
                self.size, self.kernel[:2], self.dilation, self.strides, lengths, strict=True
            )
        )

    @property
    def multiply_adds(self) -> Length:
        """The number of multiply-adds of the forward pass, which is also that of each of the two gradients."""
        return math.prod(self.outputs) * math.prod(self.kernel[:3])


Images = Float[Array, "batch height width channels"]
Kernel = Float[Array, "kernel_height kernel_width group_channels features"]
Outputs = Float[Array, "batch out_height out_width features"]


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
    pixels = [padded[:, rows, columns] for padded in [_pad(images, shape)] for rows, columns in _taps(shape)]
    gathered = jnp.concatenate(pixels, axis=-1) if len(pixels) > 1 else pixels[0]
    return gathered.reshape(-1, shape.taps * shape.images[3])


def gemm(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Gathers patches and multiplies them by the kernel, in one matrix product a group.

    This is the lecture's convolution as a matrix multiplication. A 1x1 kernel needs no patches.
    """
    group_channels, features = shape.kernel[2:]
    if shape.groups == 1:
        return (patches(images, shape) @ kernel.reshape(-1, features)).reshape(shape.outputs)
    pixels = [images[:, rows, columns] for images in [_pad(images, shape)] for rows, columns in _taps(shape)]
    grouped = [each.reshape(-1, shape.groups, group_channels) for each in pixels]
    gathered = jnp.concatenate(grouped, axis=-1)
    matrices = kernel.reshape(-1, shape.groups, features // shape.groups)
    return jnp.einsum("pgk,kgf->pgf", gathered, matrices).reshape(shape.outputs)


def shift(images: Images, kernel: Kernel, shape: ConvShape) -> Outputs:
    """Shifts the images by each tap, multiplies them by the tap's matrix (depthwise: by its numbers), and sums."""
    images, (_, _, group_channels, features) = _pad(images, shape), shape.kernel
    matrices = kernel.reshape(shape.taps, group_channels, features)
    # The sum over the taps is kept in float32: in bfloat16 every addition would lose a bit or two.
    sums = jnp.promote_types(images.dtype, jnp.float32)
    total = jnp.zeros((), sums)
    for (rows, columns), matrix in zip(_taps(shape), matrices, strict=True):
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
    images, kernel = _pad(images, shape), _densified(kernel, shape.groups)
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


def depthwise_shift_input_gradient(cotangent: Outputs, kernel: Kernel, shape: ConvShape) -> Images:
    """Returns the transpose of `shift` for a depthwise convolution at stride 1, as a forward pass of the turned kernel.

    It reads every tap from one padded array, where the transposes of the slices would make an array each. For
    ConvNeXt's 7x7 at 56x56, 96 channels, batch 16, it takes 8 ms instead of 54 (two x86 cores).
    """
    edges = []
    for axis in (0, 1):
        reach = (shape.kernel[axis] - 1) * shape.dilation[axis]
        before = reach - shape.padding[axis][0]
        edges.append((before, shape.images[1 + axis] + reach - shape.size[axis] - before, 0))
    padded = lax.pad(cotangent, jnp.zeros((), cotangent.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    turned = kernel[::-1, ::-1]
    return shift(
        padded,
        turned,
        ConvShape(sizes(padded.shape), sizes(turned.shape), dilation=shape.dilation, groups=shape.groups),
    )


LOWERINGS: dict[LoweringName, Lowered] = {
    "xla": xla,
    "gemm": gemm,
    "shift": shift,
    "dense": dense,
    "toeplitz": toeplitz,
}


def _pad(images: jax.Array, shape: ConvShape) -> jax.Array:
    return jnp.pad(images, ((0, 0), *shape.padding, (0, 0))) if any(map(any, shape.padding)) else images


def _taps(shape: ConvShape) -> Iterator[tuple[slice, slice]]:
    """Yields the rows and columns of the padded image that each tap of the kernel sees."""
    for i, j in itertools.product(range(shape.kernel[0]), range(shape.kernel[1])):
        yield (
            tap(i * shape.dilation[0], shape.size[0], shape.strides[0]),
            tap(j * shape.dilation[1], shape.size[1], shape.strides[1]),
        )


def _densified(kernel: jax.Array, groups: int) -> jax.Array:
    """Returns a kernel (h, w, channels // groups, features) as (h, w, channels, features), zero between the groups."""
    if groups == 1:
        return kernel
    height, width, group_channels, features = kernel.shape
    blocks = kernel.reshape(height, width, 1, group_channels, groups, features // groups)
    diagonal = jnp.eye(groups, dtype=kernel.dtype).reshape(1, 1, groups, 1, groups, 1)
    return (blocks * diagonal).reshape(height, width, groups * group_channels, features)
