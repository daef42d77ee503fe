"""What the instructions of a compiled program exchange between devices."""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from jaxcnn.laboratory.hlo import Array, Instruction, bits_of

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
"""XLA's names of the operations that exchange arrays between devices."""


@dataclasses.dataclass(frozen=True)
class Collective:
    """An exchange of arrays between devices."""

    operation: str
    """One of `COLLECTIVES`."""
    bytes: int
    """The size of the whole arrays that a device of a group has before or after it, whichever is larger: what is
    reduced, what is gathered, what is scattered. What a TPU's tiles pad is in it, because it is sent too."""
    payload: int
    """The size of the same arrays without what tiles pad."""
    groups: tuple[tuple[int, ...], ...]
    """The numbers of the devices that exchange among themselves; pairs of source and target for a permutation."""
    dtype: str
    """NumPy's name of the type of the elements, of the first array if there are several."""

    @property
    def group_size(self) -> int:
        """The number of devices in the largest group."""
        return max(map(len, self.groups), default=1)


def operation_of(opcode: str) -> str | None:
    """Returns the collective that an operation is or starts; None if it is none."""
    name = opcode.removesuffix("-start")
    return name if name in COLLECTIVES else None


def collective_of(instruction: Instruction, operands: Sequence[Array], devices: int) -> Collective | None:
    """Returns what an instruction exchanges.

    Args:
        instruction: an instruction, in its synchronous or started form.
        operands: the arrays that it takes.
        devices: the number of devices of the program, all of which are a group where no groups are named.
    """
    operation = operation_of(instruction.opcode)
    if operation is None:
        return None
    results = list(instruction.arrays)
    started = instruction.opcode.endswith("-start") and operation != "all-reduce"
    if started:  # it has the operands among its results, and words of a context
        results = [array for array in results if array.dims]

    def larger(size: Callable[[Array], int]) -> int:
        given, taken = sum(map(size, operands)), sum(map(size, results))
        return max(given, taken - given if started else taken)

    return Collective(
        operation,
        larger(lambda array: array.bytes),
        larger(lambda array: array.elements * bits_of(array.dtype) // 8),
        _groups(instruction, devices),
        instruction.array.dtype_name,
    )


def _groups(instruction: Instruction, devices: int) -> tuple[tuple[int, ...], ...]:
    pairs = instruction.attributes.get("source_target_pairs")
    text = pairs or instruction.attributes.get("replica_groups", "{}")
    if listed := re.findall(r"\{([\d,]+)\}", text):
        return tuple(tuple(map(int, group.split(","))) for group in listed)
    if tiled := re.fullmatch(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        return _tiled(*(tuple(map(int, part.split(","))) if part else () for part in tiled.groups()))
    if meshed := re.match(r"mesh\[([^\]]*)\] \{([^}]*)\}", text):
        return _meshed(*meshed.groups())
    return (tuple(range(devices)),)


def _meshed(mesh: str, axes: str) -> tuple[tuple[int, ...], ...]:
    """Returns the groups that XLA writes as ``mesh['a'=4,'b'=2] {'b'}``: neighbours along the named axes of a mesh."""
    lengths = {name: int(length) for name, length in re.findall(r"'(\w+)'=(\d+)", mesh)}
    named = set(re.findall(r"'(\w+)'", axes))
    numbers = np.arange(math.prod(lengths.values())).reshape(list(lengths.values()))
    last = sorted(range(len(lengths)), key=lambda axis: list(lengths)[axis] in named)
    size = math.prod(length for name, length in lengths.items() if name in named)
    return tuple(map(tuple, numbers.transpose(last).reshape(-1, size).tolist()))


def _tiled(shape: tuple[int, ...], source: tuple[int, ...], order: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Returns the groups that XLA writes as ``[groups,size]<=[shape]T(order)``: an iota, transposed and reshaped."""
    order = order or tuple(range(len(source)))
    strides = [math.prod(source[axis + 1 :]) for axis in range(len(source))]
    numbers = [0]
    for axis in order:
        numbers = [number + index * strides[axis] for number in numbers for index in range(source[axis])]
    size = math.prod(shape[1:])
    return tuple(tuple(numbers[start : start + size]) for start in range(0, len(numbers), size))
