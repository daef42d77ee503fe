"""The convolution layer that every network uses."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.lowering_rules import Lowering
from jaxcnn.ops.window import Padding, Pair

# He et al. 2015 (arXiv:1502.01852): variance 2 / fan_out, as the ResNets were trained and torchvision sets it.
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


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
    dtype: Any = jnp.float32
    lowering: Lowering = "auto"
    kernel_init: Initializer = he_normal
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Applies the layer; raises ValueError where the kernel does not fit in the padded image."""
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
        if not all(outputs.shape[1:3]):
            size = images.shape[1:3]
            raise ValueError(f"kernel {self.kernel_size} is larger than the image {size} with padding {self.padding}")
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
            outputs += bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return outputs
