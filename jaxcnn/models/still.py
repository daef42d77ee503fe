"""What of a network stays still in training: batch normalization on its running statistics, dropout that is off.

A network is told by ``train`` whether it trains, as a whole. Here single modules of it are held as in evaluation,
wherever they are, without the modules around them knowing.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp

from jaxcnn.errors import UserError
from jaxcnn.layers.blocks import StochasticDepth
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.models.network import Network
from jaxcnn.models.parts import ImageShape
from jaxcnn.types import Option, PyTree

_DROPPING = (nn.Dropout, StochasticDepth)


@dataclasses.dataclass(frozen=True)
class Still:
    """The modules that stay still, by their paths: ``stage1_block0/norm1``."""

    normalizations: frozenset[str]
    """The batch normalizations, which run on their running statistics and leave them."""
    drops: frozenset[str]
    """The dropouts and stochastic depths, which drop nothing."""

    def apply(self, model: nn.Module) -> Callable[..., PyTree]:
        """Returns ``model.apply``, under which these modules are as in evaluation, whatever ``train`` is."""

        def apply(*arguments: Option, **options: Option) -> PyTree:
            with nn.intercept_methods(self._hold):
                return model.apply(*arguments, **options)

        return apply

    def _hold(
        self, call: Callable[..., PyTree], arguments: tuple, options: dict, context: nn.module.InterceptorContext
    ):
        module = context.module
        if context.method_name == "__call__":
            path = "/".join(module.path)
            if isinstance(module, BatchNorm) and path in self.normalizations:
                return call(*arguments, **options, train=False)
            if isinstance(module, _DROPPING) and path in self.drops:
                return arguments[0]
        return call(*arguments, **options)


class _Call(NamedTuple):
    path: str
    module: nn.Module


def still_where_frozen(
    model: Network, image_shape: ImageShape, frozen: Collection[str], *, all_statistics: bool
) -> Still:
    """Returns what stays still in a network some of whose parameters are frozen; computes nothing.

    Batch normalization stays still where all of its own parameters are frozen. Nothing is dropped out inside a module
    all of whose parameters are frozen, nor between two frozen layers with nothing but frozen layers before them.

    Args:
        model: the network.
        image_shape: (height, width, channels).
        frozen: the paths of the frozen parameters.
        all_statistics: whether all batch normalization stays still.

    Raises:
        UserError: a layer that should stay still keeps statistics in a way of its own.
    """
    calls, variables = _traced(model, image_shape)
    within: dict[str, set[str]] = {}  # the parameters below each module
    owners = set()  # the modules that have parameters themselves
    for path in variables.get("params", {}):
        names = path.split("/")[:-1]
        owners.add("/".join(names))
        for count in range(1, len(names) + 1):
            within.setdefault("/".join(names[:count]), set()).add(path)
    whole = {module for module, paths in within.items() if paths <= set(frozen)}

    keeping = {path.rpartition("/")[0] for path in variables.get("batch_stats", {})}
    normalizations = {module for module in keeping if all_statistics or module in whole}
    for call in calls:
        if call.path in normalizations and not isinstance(call.module, BatchNorm):
            raise UserError(
                f"{call.path} is a {type(call.module).__name__}, which cannot be held to its running statistics: let "
                "the network normalize by its own norm(...), or do not freeze this layer"
            )

    drops = set()
    for index, call in enumerate(calls):
        if not isinstance(call.module, _DROPPING):
            continue
        names = call.path.split("/")[:-1]
        inside = any("/".join(names[:count]) in whole for count in range(1, len(names) + 1))
        before = [each.path in whole for each in calls[:index] if each.path in owners]
        after = next((each.path in whole for each in calls[index:] if each.path in owners), False)
        if inside or (after and all(before)):
            drops.add(call.path)
    return Still(frozenset(normalizations), frozenset(drops))


def _traced(model: Network, image_shape: ImageShape) -> tuple[list[_Call], Mapping[str, Mapping[str, PyTree]]]:
    """Returns the calls of all modules in training, in order, and the variables' shapes by collection and path."""
    calls = []

    def note(call, arguments, options, context):
        if context.method_name == "__call__":
            calls.append(_Call("/".join(context.module.path), context.module))
        return call(*arguments, **options)

    def initialize(key: jax.Array) -> PyTree:
        return model.init({"params": key, "dropout": key}, jnp.zeros((1, *image_shape)), train=True)

    with nn.intercept_methods(note):
        variables = jax.eval_shape(initialize, jax.random.key(0))
    return calls, {name: flax.traverse_util.flatten_dict(tree, sep="/") for name, tree in variables.items()}
