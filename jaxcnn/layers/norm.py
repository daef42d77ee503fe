"""Batch normalization and layer normalization."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxcnn.errors import UserError
from jaxcnn.ops.norm import affine_norm, batch_norm, layer_norm


class BatchNorm(nn.Module):
    """Batch normalization over all axes but the last (Ioffe and Szegedy, arXiv:1502.03167).

    Statistics are computed in float32 at least, and kept in float32. The running variance is the unbiased one,
    n / (n - 1) times the batch's, as in PyTorch, whose weights and running statistics this must reproduce; Flax's own
    layer keeps the biased one.

    Parameters ``scale`` and ``bias``; batch statistics ``mean`` and ``var``; all (channels,), float32. A layer that has
    ``bias`` alone is one whose other variables are part of the convolution before it: see `jaxcnn.models.folding`.
    """

    train: bool
    """Whether to normalize by the batch's own statistics and to update the running ones."""
    momentum: float = 0.9
    """The share of the running statistics that each step keeps: 1 minus PyTorch's momentum."""
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    """The mapped axis that the batch is split over, if it is (under ``jit`` there is only the global batch)."""
    groups: int = 1
    """The number of equal parts of the batch, each of which is normalized separately; with an ``axis_name`` a part is
    made of the images of whole devices. The running statistics follow the averages over the parts."""
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(
        self, x: Float[Array, "*axes channels"], *, train: bool | None = None
    ) -> Float[Array, "*axes channels"]:
        """Normalizes (..., channels); the output has ``dtype``.

        Args:
            x: (..., channels).
            train: the layer's own ``train``, if it is to be another for this call.

        Raises:
            UserError: it trains, and a channel's statistics would be those of one value, which would become 0; or it is
                part of the convolution before it.
        """
        features, trains = x.shape[-1:], self.train if train is None else train
        if self.has_variable("params", "bias") and not self.has_variable("params", "scale"):
            if trains:
                raise UserError(
                    f"batch normalization {'/'.join(self.path)} is folded into the convolution before it and has no "
                    "statistics: train with the variables that were folded"
                )
            bias = self.param("bias", nn.initializers.zeros, features, jnp.float32)
            return x.astype(self.dtype) + bias.astype(self.dtype).reshape((1,) * (x.ndim - 1) + features)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, features, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, features, jnp.float32)
        scale = self.param("scale", self.scale_init, features, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, features, jnp.float32)
        x = x.astype(self.dtype)
        if not trains:
            return affine_norm(x, scale, bias, running_mean.value, running_var.value, epsilon=self.epsilon)
        devices = 1 if self.axis_name is None else lax.axis_size(self.axis_name)
        count = math.prod(x.shape[:-1]) * devices // self.groups
        if count == 1 and not self.is_initializing():
            parts = f"each of the {self.groups} parts of a batch" if self.groups > 1 else "a batch"
            raise UserError(
                f"batch normalization in training takes statistics over several values, and {'/'.join(self.path)} has "
                f"one a channel, of one image: train on at least 2 images in {parts}, or on larger images"
            )
        normalized, mean, var = batch_norm(
            x,
            scale,
            bias,
            epsilon=self.epsilon,
            shift=running_mean.value,
            axis_name=self.axis_name,
            groups=self.groups,
        )
        if not self.is_initializing():
            unbiased = var * (count / (count - 1))
            for running, value in ((running_mean, mean), (running_var, unbiased)):
                running.value = (self.momentum * running.value + (1 - self.momentum) * value).astype(jnp.float32)
        return normalized


class LayerNorm(nn.Module):
    """Normalization of each pixel over its channels (Ba, Kiros and Hinton, arXiv:1607.06450).

    Statistics are computed in float32 at least, in two passes. Parameters ``scale`` and ``bias``, (channels,), float32.
    """

    epsilon: float = 1e-6
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*axes channels"]) -> Float[Array, "*axes channels"]:
        """Normalizes (..., channels); the output has ``dtype``."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        return layer_norm(x.astype(self.dtype), scale, bias, epsilon=self.epsilon)
