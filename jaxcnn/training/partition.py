"""The parameters that are trained, and those that stay as they are."""

import dataclasses
from collections.abc import Callable, Mapping

import flax.traverse_util
import jax
import optax

from jaxcnn.types import PyTree, Variables


@dataclasses.dataclass(frozen=True)
class Partition:
    """A network's parameters, in two: those that are trained, and those that are frozen.

    Gradients and the optimizer's state are trees of the trained parameters alone; nothing stands there for the others.
    A path is that of a parameter, such as ``stage1_block0/conv1/kernel``, or of a batch statistic.
    """

    params: PyTree
    """The shapes of all parameters."""
    frozen: frozenset[str] = frozenset()
    """The paths of the parameters that are frozen."""
    frozen_statistics: frozenset[str] = frozenset()
    """The paths of the batch statistics that do not move."""
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The factor of the learning rate of each trained parameter, by its path; 1 for those that are absent."""

    def trained(self, tree: PyTree) -> PyTree:
        """Returns the part for the trained parameters of a tree that has a leaf for each parameter."""
        return _unflattened({path: leaf for path, leaf in _flattened(tree).items() if path not in self.frozen})

    def whole(self, trained: PyTree, params: PyTree) -> PyTree:
        """Returns all parameters, of which the trained ones are replaced."""
        return _unflattened(_flattened(params) | _flattened(trained))

    def moved(self, old: Variables, new: Variables) -> Variables:
        """Returns the new variables, with the old ones where they are frozen, bit for bit."""

        def chosen(collection: str, frozen: frozenset[str]) -> PyTree:
            kept = {path: leaf for path, leaf in _flattened(old[collection]).items() if path in frozen}
            return _unflattened(_flattened(new[collection]) | kept)

        return {
            "params": chosen("params", self.frozen),
            "batch_stats": chosen("batch_stats", self.frozen_statistics),
        }

    def mask(self, of_all: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
        """Returns a mask of the trained parameters, from one that judges a parameter by the others of its module."""
        return lambda _: self.trained(of_all(self.params))

    def scale_by_rates(self) -> optax.GradientTransformation:
        """Returns the transformation that multiplies what is added to each parameter by the factor of its rate."""

        def scale(updates: PyTree, params: PyTree) -> PyTree:
            del params
            found = _flattened(updates)
            return _unflattened(
                {path: leaf * self.rates[path] if path in self.rates else leaf for path, leaf in found.items()}
            )

        return optax.stateless(scale)


def _flattened(tree: PyTree) -> dict[str, jax.Array]:
    return flax.traverse_util.flatten_dict(tree, sep="/")


def _unflattened(leaves: Mapping[str, PyTree]) -> PyTree:
    return flax.traverse_util.unflatten_dict(leaves, sep="/")
