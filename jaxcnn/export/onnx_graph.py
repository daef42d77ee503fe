"""A graph of ONNX while it is written.

ONNX's convolutions and pools take (batch, channels, height, width), and our arrays are (batch, height, width,
channels). So every array is kept with the order in which its axes are stored: an operation leaves its results in the
order that it works in, and elementwise operations take whatever order they find. A ``Transpose`` is written only where
two orders meet, and none for constants, which are stored as they are needed.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.export.traced import Array, Program
from jaxcnn.ops.symbolic import Length, is_symbolic

if TYPE_CHECKING:
    import onnx

WAY_OUT = "use --format stablehlo, or the weights alone"
"""The clause of messages that leads out."""
Order = tuple[int, ...]
"""For each stored axis, which axis of the array it is."""


class Unsupported(UserError):
    """What is not written as ONNX."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array as a tensor of the graph."""

    name: str
    """The name of the tensor."""
    order: Order


class Graph:
    """Nodes and initializers, and the tensor of each array of a program.

    Args:
        program: the program.
        images: the name of the tensor of the images.
    """

    def __init__(self, program: Program, images: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._constants: Mapping[Array, np.ndarray] = program.constants
        self._images = program.images
        self._stored = {program.images: Stored(images, natural(program.images))}
        self._orders: dict[tuple[Array, Order], str] = {}
        self._names = 0

    def value(self, array: Array) -> np.ndarray | None:
        """Returns the value of a constant; None for what depends on the images."""
        return self._constants.get(array)

    def order(self, arrays: Iterable[Array]) -> Order:
        """Returns the order in which the first of these arrays is stored that has the most axes and is no constant."""
        arrays = list(arrays)
        rank = max(len(array.shape) for array in arrays)
        found = (self._stored[array].order for array in arrays if array in self._stored and len(array.shape) == rank)
        return next(found, tuple(range(rank)))

    def name(self, array: Array, order: Order | None = None) -> str:
        """Returns the name of the tensor of an array whose axes are in this order, or else in their natural one."""
        order = natural(array) if order is None else order
        key = (array, order)
        if key not in self._orders:
            if array in self._constants:
                self._orders[key] = self.constant(self._constants[array].transpose(order))
            elif (stored := self._stored[array]).order == order:
                self._orders[key] = stored.name
            else:
                axes = [stored.order.index(axis) for axis in order]
                self._orders[key] = self.node("Transpose", [stored.name], perm=axes)
        return self._orders[key]

    def set(self, array: Array, name: str, order: Order | None = None) -> None:
        """Says which tensor an array is, and in which order its axes are; by default in their natural one."""
        self._stored[array] = Stored(name, natural(array) if order is None else order)

    def constant(self, value: np.ndarray | Sequence[int]) -> str:
        """Adds an initializer, whole numbers as int64, and returns its name."""
        import onnx.numpy_helper

        array = np.ascontiguousarray(value if isinstance(value, np.ndarray) else np.array(value, np.int64))
        name = self._new("constant")
        self.initializers.append(onnx.numpy_helper.from_array(array.reshape(np.shape(value)), name))
        return name

    def lengths(self, shape: Sequence[Length]) -> str:
        """Returns the name of a shape as a vector, in which a symbol is the number of images.

        Raises:
            Unsupported: it is another symbol.
        """
        if not is_symbolic(shape):
            return self.constant(shape)
        batch = self.node("Shape", [self._stored[self._images].name], end=1)
        if any(length != self._images.shape[0] for length in shape if is_symbolic([length])):
            raise Unsupported(f"the network makes arrays of the shape {shape}, which is not written as ONNX: {WAY_OUT}")
        return self.node("Concat", [batch if is_symbolic([each]) else self.constant([each]) for each in shape], axis=0)

    def node(self, kind: str, operands: Sequence[str], **attributes: int | Sequence[int]) -> str:
        """Adds a node, and returns the name of its one output."""
        import onnx.helper

        name = self._new(kind.lower())
        node = onnx.helper.make_node(kind, operands, [name], name)
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.nodes.append(node)
        return name

    def _new(self, kind: str) -> str:
        self._names += 1
        return f"{kind}_{self._names}"


def natural(array: Array) -> Order:
    """Returns the order in which each stored axis is the axis of the same number."""
    return tuple(range(len(array.shape)))
