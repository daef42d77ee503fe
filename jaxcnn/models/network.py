"""What every network has in common: its options, and layers that have these options bound."""

import functools
import re
from collections.abc import Callable
from typing import Annotated, NamedTuple, Self, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from pydantic import Field

from jaxcnn.errors import UserError
from jaxcnn.layers.conv import Conv
from jaxcnn.layers.layer import Layer
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.ops.lowering_rules import Lowering
from jaxcnn.ops.symbolic import at_least, at_most, is_symbolic
from jaxcnn.types import Option

Settings = TypeVar("Settings", bound=NamedTuple)

# The ranges of a network's options, which `jaxcnn.models.registry.create_model` checks.
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
"""The share of values that are dropped: 1 would leave none, and what is left is divided by 1 minus the rate."""
Momentum = Annotated[float, Field(ge=0, lt=1)]
"""The share of the running statistics that a step keeps: 1 would keep the initial ones for ever."""
Epsilon = Annotated[float, Field(gt=0, lt=1)]
"""What is added to a variance before it divides."""


class Network(nn.Module, kw_only=True):
    """The options of all networks. A family adds its own options and its `smallest_size`.

    The type of an option says which values `create_model` takes for it; that of a number says its range.
    """

    num_classes: Count = 1000
    """The number of classes, each of which has a logit."""
    dtype: DTypeLike = jnp.float32
    """The data type of the computation; parameters, statistics and logits are float32."""
    lowering: Lowering = "auto"
    """The way the convolutions are lowered: see `jaxcnn.ops.conv`."""
    remat: tuple[Count, ...] = ()
    """The stages, counted from 1, whose activations are not kept for the backward pass but computed a second time:
    block by block, or whole where a stage has no blocks."""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels, that the strides allow."""
        return 1

    def check(self, images: jax.Array, stages: int) -> jax.Array:
        """Refuses what the network cannot compute.

        Where height or width is a symbol, an image is padded to `smallest_size` by values that are not numbers, and so
        are its logits if it is smaller. From then on JAX knows that all windows fit.

        Args:
            images: (batch, height, width, channels).
            stages: the number of stages that the network has.

        Returns:
            The images.

        Raises:
            UserError: the images are too small, or ``remat`` names a stage that the network does not have.
        """
        height, width = images.shape[1:3]
        if any(at_most(length, self.smallest_size - 1) for length in (height, width)):
            raise UserError(
                f"images of {height}x{width} pixels are too small for the strides of {type(self).__name__}: "
                f"give at least {self.smallest_size}x{self.smallest_size}"
            )
        for stage in self.remat:
            if not 1 <= stage <= stages:
                raise UserError(
                    f"remat names stage {stage}, and {type(self).__name__} has stages 1 to {stages}: name one of these"
                )
        if not is_symbolic((height, width)):
            return images
        missing = [
            (0, at_least(length, self.smallest_size) - length, 0) if is_symbolic([length]) else (0, 0, 0)
            for length in (height, width)
        ]
        return lax.pad(images.astype(self.dtype), jnp.array(jnp.nan, self.dtype), ((0, 0, 0), *missing, (0, 0, 0)))

    def last_map(self, x: jax.Array) -> jax.Array:
        """Returns the last map of an image, (batch, height, width, channels), unchanged.

        Each network gives its last map to this method, just before the layers that make logits of it. So whoever looks
        at a network from outside finds the map by intercepting the call, as `jaxcnn.detection.sliding` does.
        """
        return x

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage that one of the network's own modules belongs to, or one of its own parameters.

        Here the name says it: ``stage3_block0`` or ``stem_conv``. A family with other names overrides this.

        Args:
            module: the name, which the paths of the parameters in it begin with.

        Returns:
            The number of the stage, as ``remat`` counts them; 0 before the first stage, and None after the last.
        """
        if found := re.match(r"stage(\d+)_", module):
            return int(found[1])
        return 0 if module.startswith("stem") else None

    def resolve(self, defaults: Settings) -> Settings:
        """Returns a variant's defaults, replaced by the options of the same names where these are not None."""
        given = {name: getattr(self, name) for name in defaults._fields}
        return defaults._replace(**{name: value for name, value in given.items() if value is not None})

    def conv(self, **settings: Option) -> Layer:
        """Returns the convolution of this network, with these settings bound."""
        return functools.partial(Conv, dtype=self.dtype, lowering=self.lowering, **settings)

    def block(self, module: Layer, stage: int) -> Layer:
        """Returns the block's class for a stage: itself, or one that is computed again in the backward pass."""
        return nn.remat(module) if stage in self.remat else module

    def stage(self, number: int, run: Callable[[Self, jax.Array], jax.Array], x: jax.Array) -> jax.Array:
        """Computes a stage that has no blocks as ``run(self, x)``, again in the backward pass if ``remat`` names it."""
        return (nn.remat(run) if number in self.remat else run)(self, x)


class BatchNormNetwork(Network, kw_only=True):
    """The options of all networks with batch normalization."""

    batch_norm_axis: str | None = None
    """The mapped axis that the batch is split over, if there is one."""
    batch_norm_groups: Count = 1
    """The number of parts of the batch that are normalized separately: see `BatchNorm`."""

    def norm(self, train: bool, **settings: Option) -> Layer:
        """Returns the batch normalization of this network, with these settings bound."""
        return functools.partial(
            BatchNorm,
            train=train,
            dtype=self.dtype,
            axis_name=self.batch_norm_axis,
            groups=self.batch_norm_groups,
            **settings,
        )
