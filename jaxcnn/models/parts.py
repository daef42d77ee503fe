"""The parts of a network by name: its stem, its stages, its neck and its head, and the parameters in each."""

import dataclasses
import fnmatch
import functools
from collections.abc import Mapping

import flax.traverse_util
import jax
import jax.numpy as jnp

from jaxcnn.errors import UserError, nearest
from jaxcnn.models.network import Network
from jaxcnn.types import PyTree

Shapes = Mapping[str, jax.ShapeDtypeStruct]
"""The shapes of a network's variables, by their paths: ``params/conv1/kernel``."""
ImageShape = tuple[int, int, int]
"""The height, width and channels of the images that a network is made for."""

STEM, NECK, HEAD, TRUNK = "stem", "neck", "head", "trunk"


def initial(model: Network, image_shape: ImageShape, key: jax.Array) -> dict[str, jax.Array]:
    """Returns a network's initial variables, by their paths."""
    variables = model.init(key, jnp.zeros((1, *image_shape)), train=False)
    return flax.traverse_util.flatten_dict(variables, sep="/")


def shapes_of(model: Network, image_shape: ImageShape) -> Shapes:
    """Returns the shapes of a network's variables, without computing anything."""
    return jax.eval_shape(functools.partial(initial, model, image_shape), jax.random.key(0))


def head_axes(model: Network, image_shape: ImageShape, shapes: Shapes) -> dict[str, int]:
    """Returns the paths of the variables whose shape depends on the number of classes, each with the axis that does.

    Args:
        model: the network.
        image_shape: the shape of its images.
        shapes: what `shapes_of` returns for them.
    """
    try:
        others = shapes_of(model.clone(num_classes=model.num_classes + 1), image_shape)
    except UserError:  # a network that is limited to some number of classes
        return {}
    pairs = {path: zip(shapes[path].shape, others[path].shape, strict=True) for path in shapes}
    axes = {path: [axis for axis, (size, other) in enumerate(pair) if size != other] for path, pair in pairs.items()}
    return {path: found[0] for path, found in axes.items() if found}


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parameters of a network, and the part that each is in.

    The stem is what comes before the first stage, and the neck what follows the last. The head is what depends on the
    number of classes, and the auxiliary heads. The other parts, from the stem to the neck, are the trunk.
    """

    network: str
    """The name of the network's class, for messages."""
    shapes: Shapes
    """The shapes of all its variables."""
    of: Mapping[str, str]
    """The name of the part of each parameter, by the path of the parameter: ``{"stage1_block0/conv1/kernel": "1"}``."""

    @property
    def params(self) -> PyTree:
        """The shapes of the parameters, as the tree that ``init`` makes."""
        return flax.traverse_util.unflatten_dict(_collection(self.shapes, "params"), sep="/")

    @property
    def statistics(self) -> list[str]:
        """The paths of the batch statistics: ``stage1_block0/norm1/mean``."""
        return sorted(_collection(self.shapes, "batch_stats"))

    @property
    def stages(self) -> list[int]:
        """The numbers of the stages that have parameters, in order."""
        return sorted({int(part) for part in self.of.values() if part.isdecimal()})

    def named(self, name: str, option: str) -> frozenset[str]:
        """Returns the paths of the parameters that a name stands for.

        Args:
            name: the number of a stage; ``stem``, ``neck``, ``head`` or ``trunk``; or a pattern, as a shell matches, of
                the path of a parameter or of a module above it.
            option: the option that holds the name, for the message.

        Raises:
            UserError: there are no such parameters.
        """
        if name == TRUNK:
            return frozenset(path for path, part in self.of.items() if part != HEAD)
        if found := frozenset(path for path, part in self.of.items() if part == name):
            return found
        parts = [STEM, *map(str, self.stages), NECK, HEAD]
        there = [part for part in parts if part in self.of.values()]
        if name in parts or name.isdecimal():
            called = f"stage {name}" if name.isdecimal() else f"the {name}"
            raise UserError(
                f"{option} names {called}, which {self.network} does not have: choose from {', '.join(there)}, "
                f"{TRUNK}, or give a pattern of paths"
            )
        matches = functools.partial(fnmatch.fnmatchcase, pat=name)
        if found := frozenset(path for path in self.of if any(map(matches, _with_modules(path)))):
            return found
        known = {above for path in self.of for above in _with_modules(path)}
        raise UserError(
            f"{option} {name!r} matches no parameter of {self.network} and names no part of it: "
            f"{nearest(name, [*there, TRUNK, *known])}"
        )

    def distance_from_head(self, path: str) -> int:
        """Returns how many parts a parameter is away from the head: 1 for the last stage, and also for the neck."""
        last = max(self.stages, default=0)
        match self.of[path]:
            case "head":
                return 0
            case "neck":
                return 1
            case "stem":
                return last + 1
            case stage:
                return last + 1 - int(stage)


def parts_of(model: Network, image_shape: ImageShape) -> Parts:
    """Returns the parts of a network that is made for images of this shape; computes nothing."""
    shapes = shapes_of(model, image_shape)
    head = head_axes(model, image_shape, shapes)

    def part(path: str) -> str:
        module = path.partition("/")[0]
        if f"params/{path}" in head or module.startswith("auxiliary"):
            return HEAD
        stage = model.stage_of(module)
        return NECK if stage is None else str(stage or STEM)

    of = {path: part(path) for path in _collection(shapes, "params")}
    return Parts(type(model).__name__, shapes, of)


def _collection(shapes: Shapes, name: str) -> Shapes:
    """Returns the variables of one collection, by their paths in it."""
    start = f"{name}/"
    return {path.removeprefix(start): shape for path, shape in shapes.items() if path.startswith(start)}


def _with_modules(path: str) -> list[str]:
    """Returns a path, and those of the modules above it: ``["a", "a/b", "a/b/kernel"]``."""
    names = path.split("/")
    return ["/".join(names[: count + 1]) for count in range(len(names))]
