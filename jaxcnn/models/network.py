"""What every network has in common: its options, and its layers with those options bound."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.errors import UserError
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.models.variant import Layer
from jaxcnn.ops.lowering_rules import Lowering


class Network(nn.Module, kw_only=True):
    """The options of all networks. A family adds its own, and says how small an image it can take."""

    num_classes: int = 1000
    dtype: Any = jnp.float32
    """Of the computation; parameters, statistics and logits are float32."""
    lowering: Lowering = "auto"
    """Of the convolutions: see `jaxcnn.ops.conv`."""
    remat: tuple[int, ...] = ()
    """Stages, counted from 1, that compute their activations a second time in the backward pass instead of keeping
    them: block by block, or whole where a stage has no blocks."""

    smallest_size: ClassVar[int] = 1
    """Pixels a side that the strides need."""

    def check(self, images: jax.Array, stages: int) -> None:
        """Refuses what the network cannot compute.

        Args:
            images: (batch, height, width, channels).
            stages: how many the network has.

        Raises:
            UserError: the images are too small, or ``remat`` names a stage that is not there.
        """
        height, width = images.shape[1:3]
        if min(height, width) < self.smallest_size:
            raise UserError(
                f"images of {height}x{width} pixels are too small for the strides of {type(self).__name__}: "
                f"give at least {self.smallest_size}x{self.smallest_size}"
            )
        for stage in self.remat:
            if not 1 <= stage <= stages:
                raise UserError(f"remat names stage {stage}, and {type(self).__name__} has stages 1 to {stages}")

    def conv(self, **settings: Any) -> Layer:
        """A convolution of this network, settings bound."""
        return functools.partial(Conv, dtype=self.dtype, lowering=self.lowering, **settings)

    def block(self, module: type[nn.Module], stage: int) -> Layer:
        """The block's class for a stage: itself, or one that is computed again in the backward pass."""
        return nn.remat(module) if stage in self.remat else module

    def stage(self, number: int, run: Callable[[nn.Module, jax.Array], jax.Array], x: jax.Array) -> jax.Array:
        """Computes a stage without blocks, ``run(self, x)``, again in the backward pass if so asked."""
        return (nn.remat(run) if number in self.remat else run)(self, x)


class BatchNormNetwork(Network, kw_only=True):
    """A network with batch normalization."""

    batch_norm_axis: str | None = None
    """The mapped axis that the batch is split over, if it is."""
    batch_norm_groups: int = 1
    """Parts of the batch that batch normalization takes its statistics of: see `BatchNorm`."""

    def norm(self, train: bool, **settings: Any) -> Layer:
        """A batch normalization of this network, settings bound."""
        return functools.partial(
            BatchNorm,
            train=train,
            dtype=self.dtype,
            axis_name=self.batch_norm_axis,
            groups=self.batch_norm_groups,
            **settings,
        )
