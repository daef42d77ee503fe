"""Pieces that several families share."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Classifier(nn.Module):
    """Global average pooling, dropout, and one dense layer: (batch, h, w, channels) to float32 logits."""

    num_classes: int
    train: bool
    dropout_rate: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits, (batch, num_classes)."""
        # The mean is taken in float32: bfloat16 sums of 49 values lose two of their eight bits.
        x = x.mean((1, 2), dtype=jnp.float32)
        x = nn.Dropout(self.dropout_rate, deterministic=not self.train)(x)
        return nn.Dense(self.num_classes, dtype=self.dtype, name="dense")(x).astype(jnp.float32)
