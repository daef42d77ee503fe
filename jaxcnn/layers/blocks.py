"""Pieces that several families share."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxcnn.errors import UserError
from jaxcnn.layers.activation import Activation, activation
from jaxcnn.layers.conv import Conv
from jaxcnn.ops.lowering_rules import Lowering
from jaxcnn.ops.pool import adaptive_average_pool
from jaxcnn.ops.precision import wide


class Classifier(nn.Module):
    """Global average pooling, dropout, and one dense layer: (batch, h, w, channels) to float32 logits."""

    num_classes: int
    train: bool
    dropout_rate: float = 0.0
    dtype: Any = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits, (batch, num_classes)."""
        x = wide(x).mean((1, 2))
        x = nn.Dropout(self.dropout_rate, deterministic=not self.train)(x)
        dense = nn.Dense(self.num_classes, kernel_init=self.kernel_init, dtype=self.dtype, name="dense")
        return dense(x).astype(jnp.float32)


class FullyConnectedClassifier(nn.Module):
    """The three dense layers that end AlexNet and VGG: (batch, h, w, channels) to float32 logits.

    They are said as convolutions: ``fc6`` has a kernel that covers ``size`` places, ``fc7`` and ``fc8`` see one place.
    So they apply to maps of other sizes in two ways: the map is pooled to ``size`` first, as torchvision does, or the
    layers are laid over it at every place and the logits averaged (Simonyan and Zisserman, arXiv:1409.1556, section
    3.2). A map of ``size`` is neither pooled nor averaged.
    """

    num_classes: int
    hidden_features: int
    size: tuple[int, int]
    """(height, width) of the map that the first layer is made for."""
    train: bool
    fully_convolutional: bool
    """Whether a larger map is seen at every place, rather than pooled."""
    dropout_rate: float
    dropped: Literal["inputs", "outputs"]
    """What dropout drops: the inputs of the two hidden layers, or their outputs."""
    initializers: Callable[[str, int], Mapping[str, Initializer]]
    """``kernel_init`` and ``bias_init`` of a layer, from its name and how many inputs each output has."""
    activation: Activation = "relu"
    dtype: Any = jnp.float32
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits, (batch, num_classes).

        Raises:
            UserError: ``fully_convolutional`` is asked for and the map is smaller than ``size``.
        """
        if not self.fully_convolutional:
            x = adaptive_average_pool(x, self.size)
        elif x.shape[1] < self.size[0] or x.shape[2] < self.size[1]:
            raise UserError(
                f"the images leave a map of {x.shape[1]}x{x.shape[2]}, and the classifier covers "
                f"{self.size[0]}x{self.size[1]}: give larger images, or fully_convolutional=False"
            )
        channels = x.shape[-1]
        x = self._hidden(
            Conv(
                self.hidden_features,
                self.size,
                use_bias=True,
                dtype=self.dtype,
                lowering=self.lowering,
                name="fc6",
                **self.initializers("fc6", math.prod(self.size) * channels),
            ),
            x,
        )
        x = self._hidden(self._dense(self.hidden_features, "fc7"), x)
        # In float32, as every mean.
        return self._dense(self.num_classes, "fc8")(x).astype(jnp.float32).mean((1, 2))

    def _dense(self, features: int, name: str) -> nn.Module:
        """At each place of the map: a 1x1 convolution."""
        initializers = self.initializers(name, self.hidden_features)
        return nn.Dense(features, dtype=self.dtype, name=name, **initializers)

    def _hidden(self, layer: nn.Module, x: jax.Array) -> jax.Array:
        dropout = nn.Dropout(self.dropout_rate, deterministic=not self.train)
        if self.dropped == "inputs":
            return activation(self.activation)(layer(dropout(x)))
        return dropout(activation(self.activation)(layer(x)))


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
    def __call__(self, branch: jax.Array, progress: jax.Array | float = 1.0) -> jax.Array:
        """Zeroes or scales each image of (batch, ...); ``progress``, which may be traced, multiplies the rate."""
        if not self.train or not self.rate:
            return branch
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        share = 1 - self.rate * progress
        kept = jax.random.bernoulli(self.make_rng("dropout"), share, shape)
        return jnp.where(kept, branch / jnp.asarray(share, branch.dtype), jnp.zeros((), branch.dtype))


class LayerScale(nn.Module):
    """One trainable factor a channel, starting small (Touvron et al., arXiv:2103.17239). Parameter ``scale``."""

    initial: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scales (..., channels)."""
        scale = self.param("scale", nn.initializers.constant(self.initial), x.shape[-1:], jnp.float32)
        return x * scale.astype(x.dtype).reshape((1,) * (x.ndim - 1) + x.shape[-1:])
