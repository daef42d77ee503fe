"""The bytes that the instructions of a compiled program read and write, told apart by the memory they are in."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxcnn.laboratory.hlo import Array, Computation, Instruction, Module, bits_of

_SLICES = ("slice", "dynamic-slice", "gather")
"""The operations that read only a part of their first operand."""
_ELEMENTWISE = {"add", "subtract", "multiply", "divide", "maximum", "minimum", "negate", "convert", "compare", "select"}
"""The operations of which a slice needs no more than slices of their operands, as far as they stand before slices."""
_VIEWS = ("bitcast", "reshape", "get-tuple-element")
_HOST = 5
"""The memory space of the host, which a TPU reads through the network of its host, and which is counted as memory."""


class Traffic(NamedTuple):
    """The bytes of one run of an instruction."""

    read: int = 0
    """The bytes read from the device's memory."""
    written: int = 0
    """The bytes written to the device's memory."""
    on_chip: int = 0
    """The bytes read and written in the memory on a TPU's chip."""


def traffic_of(module: Module, computation: Computation, instruction: Instruction) -> Traffic:
    """Returns what an instruction reads and writes: each operand once, each result once.

    A fusion that takes only slices of an operand, or of what it computes from it element by element, reads these, and
    one that updates a slice of an operand in place reads and writes no more than the slice.
    """
    operands = [computation.by_name[name].arrays for name in dict.fromkeys(instruction.operands)]
    match instruction.opcode:
        case "copy-start":  # (target, source, context)
            target, source, *_ = instruction.arrays
            return _sum([(source, source.bytes)], [(target, target.bytes)])
        case "slice-start" | "dynamic-slice-start":  # ((source), target, context)
            source, target = instruction.arrays[:2]
            return _sum([(source, target.bytes)], [(target, target.bytes)])
        case "slice" | "dynamic-slice" | "gather":
            source, target = operands[0][0], instruction.array
            return _sum([(source, min(source.bytes, target.bytes))], [(target, target.bytes)])
        case "dynamic-update-slice":
            update = computation.by_name[instruction.operands[1]].array
            return _sum([(update, update.bytes)], [(instruction.array, update.bytes)])
        case "custom-call":
            return _sum(_whole(operands), _whole([_without_workspace(instruction.arrays)]))
        case "fusion":
            return _fusion_traffic(computation, instruction, module.computations[instruction.called[0]])
    if instruction.opcode.endswith("-start") and instruction.opcode != "all-reduce-start":
        # The operands are among the results of what starts an exchange, and so are words of a context.
        reads = list(_whole(operands))
        results = sum(array.bytes for array in instruction.arrays if array.dims)
        return _sum(reads, [(instruction.array, results - sum(size for _, size in reads))])
    return _sum(_whole(operands), _whole([instruction.arrays]))


def _without_workspace(results: Sequence[Array]) -> Sequence[Array]:
    """Returns the results of a library's function but the room that it works in, of which it may use a part."""
    *others, last = results
    return others if others and last.dtype in ("u8", "s8") and len(last.dims) == 1 else results


def _whole(arrays: Iterable[Sequence[Array]]) -> Iterable[tuple[Array, int]]:
    return ((array, array.bytes) for group in arrays for array in group)


def _sum(reads: Iterable[tuple[Array, int]], writes: Iterable[tuple[Array, int]]) -> Traffic:
    read = written = on_chip = 0
    for array, size in reads:
        if array.space in (0, _HOST):
            read += size
        else:
            on_chip += size
    for array, size in writes:
        if array.space in (0, _HOST):
            written += size
        else:
            on_chip += size
    return Traffic(read, written, on_chip)


def _fusion_traffic(computation: Computation, instruction: Instruction, fused: Computation) -> Traffic:
    # The memory that an operand is in stands where it is made, and not always in the fusion.
    reads = [
        (computation.by_name[name].array, _read_of(fused, parameter))
        for name, parameter in zip(instruction.operands, fused.parameters, strict=True)
    ]
    roots = [fused.by_name[name] for name in fused.root.operands] if fused.root.opcode == "tuple" else [fused.root]
    writes = []
    for array, root in zip(instruction.arrays, roots, strict=len(roots) > 1):
        updated = _behind_views(fused, root)
        if updated.opcode == "dynamic-update-slice":
            writes.append((array, fused.by_name[updated.operands[1]].array.bytes))
        else:
            writes.append((array, array.bytes))
    return _sum(reads, writes)


def _behind_views(fused: Computation, instruction: Instruction) -> Instruction:
    while instruction.opcode in _VIEWS and instruction.operands:
        instruction = fused.by_name[instruction.operands[0]]
    return instruction


def _read_of(fused: Computation, parameter: Instruction) -> int:
    """Returns how much of a parameter a fusion reads."""
    total = 0
    waiting = [parameter]
    while waiting:
        each = waiting.pop()
        for user in fused.users.get(each.name, ()):
            if user.opcode in _VIEWS or user.opcode in _ELEMENTWISE:
                waiting.append(user)
            elif user.opcode in _SLICES and user.operands[0] == each.name:
                total += user.array.bytes * bits_of(parameter.array.dtype) // bits_of(user.array.dtype)
            elif user.opcode == "dynamic-update-slice" and user.operands[0] == each.name:
                continue
            else:
                return parameter.array.bytes
        if each.is_root:
            return parameter.array.bytes
    return min(total, parameter.array.bytes)
