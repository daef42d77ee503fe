"""Modules that several families share."""

import math
from collections.abc import Callable
from typing import Literal, TypedDict

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from jaxcnn.errors import UserError
from jaxcnn.layers.activation import Activation, activation
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.dense import Dense
from jaxcnn.ops.lowering_rules import Lowering
from jaxcnn.ops.pool import adaptive_average_pool
from jaxcnn.ops.precision import wide
from jaxcnn.ops.symbolic import at_most


class Classifier(nn.Module):
    """Global average pooling, dropout, and one dense layer: (batch, h, w, channels) to float32 logits."""

    num_classes: int
    train: bool
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float32[Array, "batch {self.num_classes}"]:
        """Returns logits, (batch, num_classes)."""
        x = wide(x).mean((1, 2))
        x = nn.Dropout(self.dropout_rate, deterministic=not self.train)(x)
        dense = Dense(self.num_classes, kernel_init=self.kernel_init, dtype=self.dtype, name="dense")
        return dense(x).astype(jnp.float32)


class Initializers(TypedDict):
    """The initializers of a layer with a bias, as keyword arguments of its class."""

    kernel_init: Initializer
    bias_init: Initializer


class FullyConnectedClassifier(nn.Module):
    """The three dense layers that end AlexNet and VGG: (batch, h, w, channels) to float32 logits.

    They are written as convolutions: the kernel of ``fc6`` covers a map of ``size``, those of ``fc7`` and ``fc8`` one
    position. So they apply to maps of other sizes in two ways: the map is pooled to ``size`` first, as torchvision
    does, or the layers are applied at every position where they fit and the logits averaged (Simonyan and Zisserman,
    arXiv:1409.1556, section 3.2). A map of ``size`` is neither pooled nor averaged.
    """

    num_classes: int
    hidden_features: int
    size: tuple[int, int]
    """The height and width of the map that the first layer is made for."""
    train: bool
    fully_convolutional: bool
    """Whether the layers are applied at every position of a larger map, which is otherwise pooled."""
    dropout_rate: float
    dropped: Literal["inputs", "outputs"]
    """What dropout drops: the inputs of the two hidden layers, or their outputs."""
    initializers: Callable[[str, int], Initializers]
    """The function that gives a layer's initializers, from its name and the number of inputs of each output."""
    activation: Activation = "relu"
    dtype: DTypeLike = jnp.float32
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float32[Array, "batch {self.num_classes}"]:
        """Returns logits, (batch, num_classes).

        Raises:
            UserError: ``fully_convolutional`` is asked for and the map is smaller than ``size``.
        """
        if not self.fully_convolutional:
            x = adaptive_average_pool(x, self.size)
        elif any(at_most(length, least - 1) for length, least in zip(x.shape[1:3], self.size, strict=True)):
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
        # The mean is taken in float32, as every mean is.
        return self._dense(self.num_classes, "fc8")(x).astype(jnp.float32).mean((1, 2))

    def _dense(self, features: int, name: str) -> nn.Module:
        """Returns a dense layer for each position of the map, which is a 1x1 convolution."""
        initializers = self.initializers(name, self.hidden_features)
        return Dense(features, dtype=self.dtype, name=name, **initializers)

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
    """The number of features between the two convolutions."""
    activation: Activation = "relu"
    dtype: DTypeLike = jnp.float32
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch height width channels"]:
        """Scales each channel of (batch, h, w, channels)."""
        gates = wide(x).mean((1, 2), keepdims=True)
        gates = Conv(self.features, (1, 1), use_bias=True, dtype=self.dtype, lowering=self.lowering, name="reduce")(
            gates
        )
        gates = activation(self.activation)(gates)
        conv = Conv(x.shape[-1], (1, 1), use_bias=True, dtype=self.dtype, lowering=self.lowering, name="expand")
        return x * jax.nn.sigmoid(conv(gates))


class StochasticDepth(nn.Module):
    """Drops the residual branches of whole images in training: drop-path (Huang et al., arXiv:1603.09382).

    What is kept is scaled by 1 / (1 - rate), so that nothing changes in evaluation. The draws are from the ``dropout``
    stream.
    """

    rate: float | jax.Array
    """The share of images whose branch is dropped; an array, () float32, where blocks share one program."""
    train: bool

    @nn.compact
    def __call__(
        self, branch: Float[Array, " batch *rest"], progress: Float[Array, ""] | float = 1.0
    ) -> Float[Array, " batch *rest"]:
        """Zeroes or scales each image of ``branch``, (batch, ...).

        Args:
            branch: the output of the branch.
            progress: a number, which may be traced, that multiplies the rate.
        """
        if not self.train or (not isinstance(self.rate, jax.Array) and not self.rate):
            return branch
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        share = 1 - self.rate * progress
        kept = jax.random.bernoulli(self.make_rng("dropout"), share, shape)
        return jnp.where(kept, branch / jnp.asarray(share, branch.dtype), jnp.zeros((), branch.dtype))


class LayerScale(nn.Module):
    """A trainable factor for each channel, small at first (Touvron et al., arXiv:2103.17239). Parameter ``scale``."""

    initial: float = 1e-6
    """The value that the factors start from."""

    @nn.compact
    def __call__(self, x: Float[Array, "*axes channels"]) -> Float[Array, "*axes channels"]:
        """Scales (..., channels)."""
        scale = self.param("scale", nn.initializers.constant(self.initial), x.shape[-1:], jnp.float32)
        return x * scale.astype(x.dtype).reshape((1,) * (x.ndim - 1) + x.shape[-1:])
