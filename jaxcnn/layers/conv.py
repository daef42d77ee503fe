"""The convolution layer that every network uses, alone and with what usually follows it."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Real

from jaxcnn.layers.layer import Layer
from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.lowering_rules import Lowering
from jaxcnn.ops.symbolic import at_most
from jaxcnn.ops.window import Padding, Pair

# He et al. 2015 (arXiv:1502.01852): variance 2 / fan_out, as the ResNets were trained and torchvision sets it.
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def symmetric_uniform(bound: float) -> Initializer:
    """Returns the initializer that draws uniformly from -``bound`` to ``bound``."""

    def init(key, shape, dtype=jnp.float32, out_sharding=None):
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Conv(nn.Module):
    """Two-dimensional convolution: images (batch, height, width, channels) to (batch, out_h, out_w, features).

    Parameters: ``kernel`` (kernel_height, kernel_width, channels // groups, features) and, if asked for, ``bias``
    (features,), float32; the product is computed in ``dtype``.
    """

    features: int
    kernel_size: Pair
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    groups: int = 1
    use_bias: bool = False
    dtype: DTypeLike = jnp.float32
    lowering: Lowering = "auto"
    kernel_init: Initializer = he_normal
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(
        self, images: Real[Array, "batch height width channels"]
    ) -> Float[Array, "batch out_height out_width {self.features}"]:
        """Applies the layer.

        Raises:
            ValueError: the kernel does not fit in the padded image.
        """
        shape = (*self.kernel_size, images.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        outputs = conv2d(
            images.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            lowering=self.lowering,
        )
        if any(at_most(length, 0) for length in outputs.shape[1:3]):
            size = images.shape[1:3]
            raise ValueError(f"kernel {self.kernel_size} is larger than the image {size} with padding {self.padding}")
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
            outputs += bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return outputs


class ConvNormAct(nn.Module):
    """A convolution, its normalization where there is one, and an activation.

    Submodules ``conv`` and ``norm``. A network binds the last three fields once and hands the rest of the class down.
    """

    features: int
    kernel_size: Pair
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    _: dataclasses.KW_ONLY
    conv: Layer
    norm: Layer | None
    """The normalization; None where the convolution has a bias instead."""
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(
        self, images: Real[Array, "batch height width channels"]
    ) -> Float[Array, "batch out_height out_width {self.features}"]:
        """Returns (batch, out_height, out_width, features)."""
        x = self.conv(self.features, self.kernel_size, strides=self.strides, padding=self.padding, name="conv")(images)
        return self.activation(x if self.norm is None else self.norm(name="norm")(x))
