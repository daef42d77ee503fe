"""The shape of a convolution, and the pixels that its taps see."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jaxtyping import Array, Float

from jaxcnn.ops.symbolic import Length, is_symbolic, known_at_most
from jaxcnn.ops.window import Pair, Size, Sizes, output_length, tap


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
    def covers(self) -> bool:
        """Whether the kernel covers the images, without padding or gaps: each output sees all pixels in order."""
        lengths = self.images[1:3]
        if is_symbolic(lengths) or lengths != self.kernel[:2]:
            return False
        return self.dilation == (1, 1) and not any(itertools.chain(*self.padding))

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


def like(array: jax.Array, shape: Sizes) -> ShapedArray:
    """Returns the type of an array of another shape that varies over the same mapped axes."""
    return jax.typeof(array).update(shape=shape)


def pad(images: jax.Array, shape: ConvShape) -> jax.Array:
    """Returns images with the padding of a convolution around them."""
    return jnp.pad(images, ((0, 0), *shape.padding, (0, 0))) if any(map(any, shape.padding)) else images


def pad_for(images: jax.Array, shape: ConvShape, size: Size) -> jax.Array:
    """Returns images with what outputs of another height and width see around them, and without what they do not."""
    edges = [
        (before, (count - 1) * stride + (taps - 1) * gap + 1 - before - length, 0)
        for (before, _), count, stride, taps, gap, length in zip(
            shape.padding, size, shape.strides, shape.kernel[:2], shape.dilation, shape.images[1:3], strict=True
        )
    ]
    return lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), *edges, (0, 0, 0)))


def taps_of(shape: ConvShape) -> Iterator[tuple[slice, slice]]:
    """Yields the rows and columns of the padded image that each tap of the kernel sees."""
    for i, j in itertools.product(range(shape.kernel[0]), range(shape.kernel[1])):
        yield (
            tap(i * shape.dilation[0], shape.size[0], shape.strides[0]),
            tap(j * shape.dilation[1], shape.size[1], shape.strides[1]),
        )
