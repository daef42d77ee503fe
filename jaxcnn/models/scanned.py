"""Equal blocks of a stage as one loop over stacked parameters, which compiles as fast as one block.

Where a network's option ``scan`` is set, blocks 1 to 5 of the first stage are one module, ``stage1_block1-5``. Each of
its variables is those of the five blocks, stacked along a new first axis. The name says all that is needed to go from
one layout of variables to the other: see `members_of`, and `jaxcnn.weights.layouts`.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.layers.blocks import StochasticDepth
from jaxcnn.layers.layer import Layer
from jaxcnn.models.network import Network
from jaxcnn.types import Option, PyTree

Carry = TypeVar("Carry", bound=PyTree)
_STACKED = re.compile(r"(.*?)(\d+)-(\d+)")


def stacked_members(module: str) -> list[str]:
    """Returns the names of the modules whose variables a module stacks; none where it is one module.

    Examples:
        >>> stacked_members("stage1_block1-3")
        ['stage1_block1', 'stage1_block2', 'stage1_block3']
        >>> stacked_members("stage1_block1")
        []
    """
    found = _STACKED.fullmatch(module)
    if found is None:
        return []
    return [f"{found[1]}{number}" for number in range(int(found[2]), int(found[3]) + 1)]


def is_stacked(module: str) -> bool:
    """Returns whether the variables of a module, by its name, are those of several blocks."""
    return bool(stacked_members(module))


def with_separate_blocks(model: Network) -> Network:
    """Returns the network that has no loops, and so no stacked variables."""
    return model.clone(scan=False) if isinstance(model, Repeating) else model


class _Repeated(nn.Module):
    """One turn of the loop: a block in whose place this module stands, so that it adds no level to the paths."""

    block: Layer
    """The class of the block, with its arguments bound but for ``drop_path``."""
    run: Callable[..., PyTree]
    """The function from the block and the carry to the next carry."""
    train: bool

    @nn.compact
    def __call__(self, carry: PyTree, rate: jax.Array | None) -> tuple[PyTree, None]:
        """Returns the next carry."""
        block = self.block(drop_path=functools.partial(StochasticDepth, 0.0 if rate is None else rate, self.train))
        assert isinstance(block, nn.Module)
        nn.share_scope(self, block)
        return self.run(block, carry), None


class Repeating(Network, kw_only=True):
    """The option of networks whose stages repeat equal blocks."""

    scan: bool = False
    """Whether the equal blocks of a stage, where there are two or more, are one loop over stacked parameters. It
    compiles faster and computes the same, but for the masks of stochastic depth, which are drawn otherwise. On a CPU
    XLA's convolutions are slower in a loop. Variables of either layout can be loaded."""

    def blocks(
        self,
        name: str,
        block: Layer,
        x: jax.Array,
        rates: Sequence[float],
        train: bool,
        of_last: Mapping[str, Option] = MappingProxyType({}),
        **of_first: Option,
    ) -> jax.Array:
        """Applies the blocks of a stage one after another; all but the first compute the same.

        Args:
            name: what their names begin with, ``stage1_block``; their numbers follow, from 0.
            block: the class of the blocks, with their arguments bound but for ``drop_path``.
            x: what the first takes, (batch, height, width, channels).
            rates: the rate of stochastic depth of each block.
            train: whether anything is dropped.
            of_last: the arguments that the last has where it is no part of a loop; they change no result.
            **of_first: the arguments that the first has and the others have not, such as its strides.
        """
        for index, rate in enumerate(rates):
            if index and self.scans(len(rates) - index):
                return self.loop(name, index, block, lambda block, x: block(x), x, rates[index:], train)
            drop_path = functools.partial(StochasticDepth, rate, train)
            own = {**({} if index else of_first), **(of_last if index == len(rates) - 1 else {})}
            x = block(drop_path=drop_path, name=f"{name}{index}", **own)(x)
        return x

    @nn.nowrap
    def scans(self, count: int) -> bool:
        """Returns whether this number of equal blocks become a loop."""
        return self.scan and count > 1

    def loop(
        self,
        name: str,
        first: int,
        block: Layer,
        run: Callable[..., Carry],
        carry: Carry,
        rates: Sequence[float],
        train: bool,
    ) -> Carry:
        """Applies equal blocks as one loop, whose variables are stacked.

        Args:
            name: what the names of the blocks begin with.
            first: the number of the first of them.
            block: as for `blocks`.
            run: ``run(block, carry)`` returns what the next block takes, in the shapes of ``carry``.
            carry: what the first block takes.
            rates: as for `blocks`.
            train: as for `blocks`.
        """
        loop = nn.scan(
            _Repeated,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            length=len(rates),
        )
        repeated = loop(block, run, train, name=f"{name}{first}-{first + len(rates) - 1}")
        carry, _ = repeated(carry, jnp.asarray(rates, jnp.float32) if any(rates) else None)
        return carry
