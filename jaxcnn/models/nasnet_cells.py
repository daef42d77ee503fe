"""The two cells of NASNet-A, which a search found on CIFAR-10: Zoph, Vasudevan, Shlens and Le (arXiv:1707.07012).

They are apart from `jaxcnn.models.nasnet`, which stacks them, because one file of both would be too long.
"""

import functools
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.layers.layer import Layer
from jaxcnn.ops.pool import average_pool, max_pool
from jaxcnn.ops.window import subsample

Operation = Literal["identity", "separable3", "separable5", "separable7", "average3", "max3"]

CURRENT, PREVIOUS, FIRST, SECOND = range(4)
"""The inputs that a combination can take: the outputs of the last cell and of the one before it, and earlier
combinations of the cell."""


class Genotype(NamedTuple):
    """What the search found for one kind of cell: five sums of two operations each, and the output."""

    combinations: tuple[tuple[tuple[Operation, int], tuple[Operation, int]], ...]
    """The operation and the input of both sides of each sum."""
    outputs: tuple[int, ...]
    """The numbers of what is concatenated, counted as the inputs are."""


NORMAL = Genotype(
    (
        (("separable5", CURRENT), ("separable3", PREVIOUS)),
        (("separable5", PREVIOUS), ("separable3", PREVIOUS)),
        (("average3", CURRENT), ("identity", PREVIOUS)),
        (("average3", PREVIOUS), ("average3", PREVIOUS)),
        (("separable3", CURRENT), ("identity", CURRENT)),
    ),
    outputs=(1, 2, 3, 4, 5, 6),
)
"""The normal cell of figure 4."""

REDUCTION = Genotype(
    (
        (("separable5", CURRENT), ("separable7", PREVIOUS)),
        (("max3", CURRENT), ("separable7", PREVIOUS)),
        (("average3", CURRENT), ("separable5", PREVIOUS)),
        (("identity", SECOND), ("average3", FIRST)),
        (("separable3", FIRST), ("max3", CURRENT)),
    ),
    outputs=(3, 4, 5, 6),
)
"""The reduction cell of figure 4."""


class Separable(nn.Module):
    """ReLU, depthwise and 1x1 convolution and normalization, twice; the first depthwise convolution has the strides."""

    features: int
    kernel: int
    strides: int
    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns (batch, height / strides, width / strides, features), rounded up."""
        for number, strides in ((1, self.strides), (2, 1)):
            channels, kernel = x.shape[-1], (self.kernel, self.kernel)
            depthwise = functools.partial(self.conv, channels, kernel, strides=(strides, strides), groups=channels)
            x = depthwise(padding="same", name=f"depthwise_conv{number}")(nn.relu(x))
            x = self.conv(self.features, (1, 1), name=f"pointwise_conv{number}")(x)
            x = self.norm(name=f"norm{number}")(x)
        return x


class Cell(nn.Module):
    """A cell of either kind: two projections, the combinations of its genotype, and their concatenation."""

    genotype: Genotype
    features: int
    """The features of each combination; the output has these times the number of ``genotype.outputs``."""
    strides: int
    """The strides of the operations on the inputs; those on other combinations have none."""
    reduce_previous: bool
    """Whether the previous cell's output has twice the resolution of the last one's."""
    count_padding: bool
    """Whether average pools at stride 2 divide by the padding too."""
    conv: Layer
    norm: Layer
    drop_path: Layer

    @nn.compact
    def __call__(self, current: jax.Array, previous: jax.Array | None, drop_path_progress: jax.Array) -> jax.Array:
        """Returns (batch, height / strides, width / strides, channels), rounded up.

        Args:
            current: the last cell's output, (batch, height, width, channels).
            previous: the output of the cell before it, of this resolution or twice it; None in the network's first
                cell, which takes ``current`` in its place, unprojected.
            drop_path_progress: the part of training that is done, () float32, which multiplies the drop-path rate.
        """
        states = [self._project("current", nn.relu(current))]
        if previous is None:
            states.append(current)
        elif self.reduce_previous:
            states.append(self._reduce(nn.relu(previous)))
        else:
            states.append(self._project("previous", nn.relu(previous)))
        for number, sides in enumerate(self.genotype.combinations):
            left, right = (
                self._operation(f"combination{number}_{side}", operation, states[taken], taken, drop_path_progress)
                for side, (operation, taken) in zip(("left", "right"), sides, strict=True)
            )
            states.append(left + right)
        outputs = [self._fit(f"output{index}", states[index]) for index in self.genotype.outputs]
        return jnp.concatenate(outputs, axis=-1)

    def _operation(
        self, name: str, operation: Operation, x: jax.Array, taken: int, drop_path_progress: jax.Array
    ) -> jax.Array:
        strides = self.strides if taken in (CURRENT, PREVIOUS) else 1
        match operation:
            case "identity":
                # A path without an operation is never dropped.
                return x if x.shape[-1] == self.features else self._project(name, nn.relu(x))
            case "max3":
                y = self._fit(name, max_pool(x, (3, 3), strides=(strides, strides), padding="same"))
            case "average3":
                counted = self.count_padding and strides > 1
                y = average_pool(x, (3, 3), strides=(strides, strides), padding="same", count_padding=counted)
                y = self._fit(name, y)
            case _:
                y = Separable(self.features, int(operation[-1]), strides, self.conv, self.norm, name=name)(x)
        return self.drop_path()(y, drop_path_progress)

    def _project(self, name: str, x: jax.Array) -> jax.Array:
        return self.norm(name=f"{name}_norm")(self.conv(self.features, (1, 1), name=f"{name}_conv")(x))

    def _fit(self, name: str, x: jax.Array) -> jax.Array:
        """Projects x where its channels are not the cell's own but those of a stem without cells."""
        return x if x.shape[-1] == self.features else self._project(name, x)

    def _reduce(self, x: jax.Array) -> jax.Array:
        """Halves the resolution: half the features are of pixels at even rows and columns, half of those at odd ones.

        Beyond the last pixel of an odd size there are zeros. TF-Slim calls this a factorized reduction.
        """
        even = subsample(x, (2, 2))
        moved = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (-1, 1, 0), (-1, 1, 0), (0, 0, 0)))
        odd = subsample(moved, (2, 2))
        halves = (
            self.conv(self.features // 2, (1, 1), name=f"previous_{name}_conv")(half)
            for name, half in (("even", even), ("odd", odd))
        )
        return self.norm(name="previous_norm")(jnp.concatenate(list(halves), axis=-1))
