"""What the instructions of a compiled program exchange between devices."""

import dataclasses
import itertools
import math
import re

import numpy as np

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
    reduced, what is gathered, what is scattered. What a TPU's tiles pad is not in it."""
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
        operand_bytes: the size of its operands, without what tiles pad.
        devices: the number of devices of the program, all of which are a group where no groups are named.
    """
    operation = operation_of(instruction.opcode)
    if operation is None:
        return None
    # What starts an exchange has the operands among its results, and words of a context.
    results = sum(array.content_bytes for array in instruction.arrays)
    if instruction.opcode.endswith("-start") and operation != "all-reduce":
        results = sum(array.content_bytes for array in instruction.arrays if array.dims) - operand_bytes
    groups = _groups(instruction, devices)
    return Collective(operation, max(operand_bytes, results), groups, instruction.array.dtype_name)


def _groups(instruction: Instruction, devices: int) -> tuple[tuple[int, ...], ...]:
    pairs = instruction.attributes.get("source_target_pairs")
    text = pairs or instruction.attributes.get("replica_groups", "{}")
    if text.startswith("mesh["):
        order = instruction.attributes.get("device_ids")
        return _of_mesh(text, devices) if order is None else _of_mesh(f"{text}, device_ids={order}", devices)
    if listed := re.findall(r"\{([\d,]+)\}", text):
        return tuple(_numbers(group) for group in listed)
    if tiled := re.fullmatch(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        shape, source, order = map(_numbers, tiled.groups(""))
        return _rows(np.arange(math.prod(source)).reshape(source).transpose(order or None).reshape(shape[0], -1))
    return (tuple(range(devices)),)


def _of_mesh(text: str, devices: int) -> tuple[tuple[int, ...], ...]:
    """Returns the groups that XLA writes as the axes of a mesh of all devices, over which they extend.

    It writes ``mesh['a'=2,'b'=4], device_ids=(0,4,...) {'a','b':(2)2}``, without the numbers of the devices where these
    ascend. A part of an axis, such as the last, is the axis of length 2 inside of a block of length 2.
    """
    mesh, _, within = text.rpartition(" {")
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh)}
    parts = [(name, int(before or 1), int(size or sizes[name])) for name, before, size in _AXIS.findall(within)]
    if transposed := re.search(r"device_ids=\(\[([\d,]+)\]T\(([\d,]+)\)", mesh):
        shape, order = map(_numbers, transposed.groups())
        numbers = np.arange(devices).reshape(shape).transpose(order)
    elif listed := re.search(r"device_ids=\(([\d,]+)\)", mesh):
        numbers = np.array(_numbers(listed[1]))
    else:
        numbers = np.arange(devices)
    # Every axis is cut where a part of it begins or ends.
    dims, where = [], {}
    for name, length in sizes.items():
        cuts = {1, length, *(cut for each, before, size in parts if each == name for cut in (before, before * size))}
        ordered = sorted(cuts)
        for start, end in itertools.pairwise(ordered):
            where[name, start] = len(dims)
            dims.append(end // start)
    grouped = [
        axis
        for name, before, size in parts
        for (each, start), axis in where.items()
        if each == name and before <= start < before * size
    ]
    others = [axis for axis in range(len(dims)) if axis not in grouped]
    size = math.prod(dims[axis] for axis in grouped)
    return _rows(numbers.reshape(dims).transpose(*others, *grouped).reshape(-1, size))


_AXIS = re.compile(r"'([^']+)'(?::\((\d+)\)(\d+))?")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()


def _rows(groups: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in groups)
