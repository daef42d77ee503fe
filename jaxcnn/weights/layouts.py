"""The two layouts of a network's variables: those of each block by themselves, and those of equal blocks stacked.

Files of weights always have the first. A network whose option ``scan`` is set has the second: see
`jaxcnn.models.scanned`. Paths are those of variables, ``params/stage1_block1/conv1/kernel``.
"""

from collections.abc import Iterable, Mapping

import flax.traverse_util
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.models.scanned import stacked_members
from jaxcnn.types import Variables


def members_of(path: str) -> list[str]:
    """Returns the paths of the variables that one variable stacks; itself alone where it is of one block.

    Examples:
        >>> members_of("params/stage1_block1-2/conv1/kernel")
        ['params/stage1_block1/conv1/kernel', 'params/stage1_block2/conv1/kernel']
    """
    collection, _, rest = path.partition("/")
    module, _, inner = rest.partition("/")
    members = stacked_members(module)
    return [f"{collection}/{member}/{inner}" for member in members] if members else [path]


def separated(arrays: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """Returns variables of either layout, by their paths, each of one block."""
    found: dict[str, ArrayLike] = {}
    for path, array in arrays.items():
        members = members_of(path)
        found |= {path: array} if members == [path] else dict(zip(members, jnp.asarray(array), strict=True))
    return found


def stacked(arrays: Mapping[str, ArrayLike], wanted: Iterable[str]) -> dict[str, ArrayLike]:
    """Returns variables of one block each in another layout.

    Args:
        arrays: the variables by their paths.
        wanted: the paths of the other layout.
    """
    found: dict[str, ArrayLike] = {}
    for path in wanted:
        members = members_of(path)
        found[path] = arrays[path] if members == [path] else jnp.stack([jnp.asarray(arrays[each]) for each in members])
    return found


def separated_variables(variables: Variables) -> Variables:
    """Returns variables of either layout, as ``init`` makes them, in the layout of a network that does not scan."""
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    return flax.traverse_util.unflatten_dict(separated(flat), sep="/")


def stacked_variables(variables: Variables, like: Variables) -> Variables:
    """Returns variables of one block each in the layout of others, such as ``jax.eval_shape`` of a network's init."""
    flat, other = (flax.traverse_util.flatten_dict(tree, sep="/") for tree in (variables, like))
    return flax.traverse_util.unflatten_dict(stacked(flat, other), sep="/")
