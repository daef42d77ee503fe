"""Convolution, and the ways to say it.

A convolution is one linear map with several spellings. Which is fastest depends on shape and backend: XLA's CPU
backend runs a 5x5 convolution of one channel at a small part of what a matrix product of the same size reaches.
`conv2d` takes the spelling as an argument; ``"auto"`` follows `choose_lowering`.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.ops.window import Padding, Pair, output_length, resolve_padding, tap

Lowering = Literal["auto", "xla", "gemm", "toeplitz"]


def conv2d(
    images: jax.Array,
    kernel: jax.Array,
    *,
    strides: Pair = (1, 1),
    padding: Padding = "valid",
    dilation: Pair = (1, 1),
    groups: int = 1,
    lowering: Lowering = "auto",
) -> jax.Array:
    """Convolves (cross-correlates) images with a kernel.

    Args:
        images: (batch, height, width, in_channels).
        kernel: (kernel_height, kernel_width, in_channels // groups, features), of the images' dtype.
        strides: (vertical, horizontal).
        padding: explicit pairs, ``"same"`` (TensorFlow's) or ``"valid"``.
        dilation: distance between the kernel's taps.
        groups: how many groups the channels fall into; ``in_channels`` is depthwise.
        lowering: ``xla``, one ``lax.conv_general_dilated``; ``gemm``, patches and one matrix product, the lecture's
            picture; ``toeplitz``, whole rows times a banded (block Toeplitz) matrix: more arithmetic, no patches;
            ``auto``, the one measured to be fastest on this backend. The last three agree to rounding.

    Returns:
        (batch, out_height, out_width, features).

    Raises:
        ValueError: shapes do not fit, the kernel does not fit in the padded image, or the lowering cannot do groups.
    """
    if images.ndim != 4 or kernel.ndim != 4:
        raise ValueError(f"conv2d takes 4-D images and kernel, not {images.shape} and {kernel.shape}")
    channels, features = images.shape[3], kernel.shape[3]
    if channels != kernel.shape[2] * groups or features % groups:
        raise ValueError(f"kernel {kernel.shape} in {groups} groups does not fit images with {channels} channels")
    padding = resolve_padding(padding, images.shape[1:3], kernel.shape[:2], strides, dilation)
    height, width = (
        output_length(images.shape[1 + i] + sum(padding[i]), kernel.shape[i], strides[i], dilation[i]) for i in (0, 1)
    )
    if not height or not width:
        raise ValueError(f"kernel {kernel.shape[:2]} is larger than the padded image {images.shape[1:3]} + {padding}")
    if lowering == "auto":
        lowering = choose_lowering(jax.default_backend(), images.shape, kernel.shape, strides, groups)
    match lowering:
        case "xla":
            return lax.conv_general_dilated(
                images,
                kernel,
                strides,
                padding,
                rhs_dilation=dilation,
                feature_group_count=groups,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        case "gemm" | "toeplitz" if groups > 1:
            raise ValueError(f"lowering {lowering!r} has no groups: use 'xla' or 'auto'")
        case "gemm":
            return _gemm(_pad(images, padding), kernel, (height, width), strides, dilation)
        case "toeplitz":
            return _toeplitz(_pad(images, padding), kernel, (height, width), strides, dilation)
    raise ValueError(f"lowering {lowering!r} is none of {get_args(Lowering)}")


def choose_lowering(
    backend: str, images_shape: tuple[int, ...], kernel_shape: tuple[int, ...], strides: Pair, groups: int
) -> Lowering:
    """Returns the lowering that ``auto`` stands for.

    Measured on two x86 cores with jax 0.10.2: LeNet's two convolutions, batch 128, forward and gradients together, take
    2 to 3 times as long under ``xla`` as under ``toeplitz``.
    """
    _, _, width, channels = images_shape
    if backend == "cpu" and groups == 1 and strides == (1, 1) and kernel_shape[1] > 1 and channels <= 8 and width <= 32:
        return "toeplitz"
    return "xla"


def _pad(images: jax.Array, padding: tuple[Pair, Pair]) -> jax.Array:
    return jnp.pad(images, ((0, 0), *padding, (0, 0))) if any(map(any, padding)) else images


def _gemm(images: jax.Array, kernel: jax.Array, size: Pair, strides: Pair, dilation: Pair) -> jax.Array:
    """(batch * out_height * out_width, taps * channels) patches times the kernel as a matrix."""
    kernel_height, kernel_width, _, features = kernel.shape
    taps = [
        images[:, tap(i * dilation[0], size[0], strides[0]), tap(j * dilation[1], size[1], strides[1])]
        for i in range(kernel_height)
        for j in range(kernel_width)
    ]
    patches = jnp.concatenate(taps, axis=-1) if len(taps) > 1 else taps[0]
    product = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, features)
    return product.reshape(images.shape[0], *size, features)


def _toeplitz(images: jax.Array, kernel: jax.Array, size: Pair, strides: Pair, dilation: Pair) -> jax.Array:
    """Rows of the image, as vectors, times the banded matrix that the kernel's rows make."""
    kernel_height, kernel_width, channels, features = kernel.shape
    batch, _, width, _ = images.shape
    columns = np.arange(size[1])[:, None]
    band = jnp.zeros((kernel_height, width, channels, size[1], features), kernel.dtype)
    taps = jnp.broadcast_to(kernel.transpose(1, 0, 2, 3), (size[1], kernel_width, kernel_height, channels, features))
    band = band.at[:, columns * strides[1] + np.arange(kernel_width) * dilation[1], :, columns].set(
        taps, unique_indices=True
    )
    rows = [
        images[:, tap(i * dilation[0], size[0], strides[0])].reshape(batch, size[0], width * channels)
        for i in range(kernel_height)
    ]
    stacked = jnp.concatenate(rows, axis=-1).reshape(batch * size[0], -1)
    return (stacked @ band.reshape(stacked.shape[1], -1)).reshape(batch, *size, features)
