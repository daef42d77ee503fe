"""Pieces that several families share."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.layers.activation import Activation, activation
from jaxcnn.layers.conv import Conv
from jaxcnn.ops.lowering_rules import Lowering
from jaxcnn.ops.precision import wide


class Classifier(nn.Module):
    """Global average pooling, dropout, and one dense layer: (batch, h, w, channels) to float32 logits."""

    num_classes: int
    train: bool
    dropout_rate: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits, (batch, num_classes)."""
        x = wide(x).mean((1, 2))
        x = nn.Dropout(self.dropout_rate, deterministic=not self.train)(x)
        return nn.Dense(self.num_classes, dtype=self.dtype, name="dense")(x).astype(jnp.float32)


class SqueezeExcite(nn.Module):
    """Channel gates from the global average: two 1x1 convolutions (Hu et al., arXiv:1709.01507).

    Parameters: ``reduce`` and ``expand``, each a `Conv` with a bias.
    """

    features: int
    """Between the two convolutions."""
    activation: Activation = "relu"
    dtype: Any = jnp.float32
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scales each channel of (batch, h, w, channels)."""
        gates = wide(x).mean((1, 2), keepdims=True)
        gates = Conv(self.features, (1, 1), use_bias=True, dtype=self.dtype, lowering=self.lowering, name="reduce")(
            gates
        )
        gates = activation(self.activation)(gates)
        conv = Conv(x.shape[-1], (1, 1), use_bias=True, dtype=self.dtype, lowering=self.lowering, name="expand")
        return x * jax.nn.sigmoid(conv(gates))


class StochasticDepth(nn.Module):
    """Drops a residual branch of whole images in training (Huang et al., arXiv:1603.09382); drop-path.

    What is kept is scaled by 1 / (1 - rate), so that nothing changes in evaluation. Draws from the ``dropout`` stream.
    """

    rate: float
    train: bool

    @nn.compact
    def __call__(self, branch: jax.Array) -> jax.Array:
        """Zeroes or scales each image of (batch, ...)."""
        if not self.train or not self.rate:
            return branch
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        return jnp.where(kept, branch / (1 - self.rate), jnp.zeros((), branch.dtype))


class LayerScale(nn.Module):
    """One trainable factor a channel, starting small (Touvron et al., arXiv:2103.17239). Parameter ``scale``."""

    initial: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scales (..., channels)."""
        scale = self.param("scale", nn.initializers.constant(self.initial), x.shape[-1:], jnp.float32)
        return x * scale.astype(x.dtype).reshape((1,) * (x.ndim - 1) + x.shape[-1:])
