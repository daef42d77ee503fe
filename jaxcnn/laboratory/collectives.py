"""What the instructions of a compiled program exchange between devices."""

import dataclasses
import math
import re

from jaxcnn.laboratory.hlo import Instruction

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
    reduced, what is gathered, what is scattered."""
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


def collective_of(instruction: Instruction, operand_bytes: int, devices: int) -> Collective | None:
    """Returns what an instruction exchanges.

    Args:
        instruction: an instruction, in its synchronous or started form.
        operand_bytes: the size of its operands.
        devices: the number of devices of the program, all of which are a group where no groups are named.
    """
    operation = operation_of(instruction.opcode)
    if operation is None:
        return None
    # What starts an exchange has the operands among its results, and words of a context.
    results = sum(array.bytes for array in instruction.arrays)
    if instruction.opcode.endswith("-start") and operation != "all-reduce":
        results = sum(array.bytes for array in instruction.arrays if array.dims) - operand_bytes
    groups = _groups(instruction, devices)
    return Collective(operation, max(operand_bytes, results), groups, instruction.array.dtype_name)


def _groups(instruction: Instruction, devices: int) -> tuple[tuple[int, ...], ...]:
    pairs = instruction.attributes.get("source_target_pairs")
    text = pairs or instruction.attributes.get("replica_groups", "{}")
    if listed := re.findall(r"\{([\d,]+)\}", text):
        return tuple(tuple(map(int, group.split(","))) for group in listed)
    if tiled := re.fullmatch(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        return _tiled(*(tuple(map(int, part.split(","))) if part else () for part in tiled.groups()))
    return (tuple(range(devices)),)


def _tiled(shape: tuple[int, ...], source: tuple[int, ...], order: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Returns the groups that XLA writes as ``[groups,size]<=[shape]T(order)``: an iota, transposed and reshaped."""
    order = order or tuple(range(len(source)))
    strides = [math.prod(source[axis + 1 :]) for axis in range(len(source))]
    numbers = [0]
    for axis in order:
        numbers = [number + index * strides[axis] for number in numbers for index in range(source[axis])]
    size = math.prod(shape[1:])
    return tuple(tuple(numbers[start : start + size]) for start in range(0, len(numbers), size))
