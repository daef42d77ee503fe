"""The types of a tree's leaves, by which a checkpoint knows of which model it is."""

from collections.abc import Mapping

import jax

from jaxcnn.types import PyTree


def leaves(tree: PyTree) -> dict[str, str]:
    """Returns each leaf's type by its path, in the tree's order: ``{"params/conv1/kernel": "float32[5,5,1,6]"}``."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def difference(saved: Mapping[str, str], wanted: Mapping[str, str]) -> str | None:
    """Returns a clause that says in which leaf a checkpoint and a model first differ; None where they do not."""
    for path in [*saved, *wanted]:
        if path not in wanted:
            return f"{path} is {saved[path]} in the checkpoint and missing in the model"
        if path not in saved:
            return f"{path} is missing in the checkpoint and {wanted[path]} in the model"
        if saved[path] != wanted[path]:
            return f"{path} is {saved[path]} in the checkpoint and {wanted[path]} in the model"
    return None
