"""What fills a device's memory when a compiled step needs most of it, found by following its buffers through its text.

XLA says how much memory a program's temporaries take, and not what is in it. The text of a compiled program is
scheduled: its instructions stand in the order in which they run. So which buffers are live at each of them can be read
off it, and so can what made each buffer and what takes it last. The sum can differ from XLA's own figure: XLA packs
buffers with gaps, what a library needs inside a kernel is not in the text, and XLA may put a buffer where a donated
argument has lain, which it then does not count.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

from jaxcnn.laboratory.hlo import Computation, Instruction, Module

_PASSING = {"bitcast", "get-tuple-element", "tuple", "optimization-barrier", "domain"}
_ON_CHIP = 1
"""The memory space of a TPU's memory on the chip, of which nothing is in the device's large one."""


@dataclasses.dataclass(frozen=True)
class Buffer:
    """A piece of the device's memory that holds one result of an instruction."""

    maker: str
    """The name of the instruction that makes it."""
    bytes: int
    first: int
    """The place of its maker in the schedule."""
    last: int
    """The place of the last instruction that takes it."""
    last_user: str
    """The name of that instruction."""


@dataclasses.dataclass(frozen=True)
class PeakMemory:
    """The temporary buffers of a program that are live at the instruction where they are largest together."""

    at: str
    """The name of that instruction."""
    buffers: tuple[Buffer, ...]
    """The buffers, the largest first."""

    @property
    def bytes(self) -> int:
        """The size of all of them."""
        return sum(buffer.bytes for buffer in self.buffers)


def peak_memory(module: Module) -> PeakMemory:
    """Returns the temporary buffers at the peak of a scheduled program.

    Arguments, results and constants are not among them: they lie elsewhere, whether the program runs or not.
    """
    return _peak(module, module.entry)


def _peak(module: Module, computation: Computation) -> PeakMemory:
    buffers = list(_buffers(module, computation))
    inner = {}
    for place, each in enumerate(computation.instructions):
        if each.opcode in ("while", "conditional", "call"):
            peaks = [_peak(module, module.computations[name]) for name in each.called]
            inner[place] = max(peaks, key=lambda peak: peak.bytes, default=PeakMemory(each.name, ()))
    begin, end = collections.defaultdict(int), collections.defaultdict(int)
    for buffer in buffers:
        begin[buffer.first] += buffer.bytes
        end[buffer.last] += buffer.bytes
    live, most, where = 0, -1, 0
    for place in range(len(computation.instructions)):
        live += begin[place]
        needed = live + (inner[place].bytes if place in inner else 0)
        if needed > most:
            most, where = needed, place
        live -= end[place]
    found = [buffer for buffer in buffers if buffer.first <= where <= buffer.last and buffer.bytes]
    at = computation.instructions[where].name
    if where in inner:
        at = inner[where].at
        found += inner[where].buffers
    return PeakMemory(at, tuple(sorted(found, key=lambda buffer: -buffer.bytes)))


@dataclasses.dataclass
class _Open:
    """A buffer while the schedule is followed."""

    maker: Instruction
    bytes: int
    first: int
    last: int
    last_user: str


def _buffers(module: Module, computation: Computation) -> Iterator[Buffer]:
    """Yields the temporary buffers of a computation."""
    held: dict[str, list[_Open | None]] = {}
    made: list[_Open] = []
    last = _last_uses(computation)
    for place, each in enumerate(computation.instructions):
        operands = [buffer for name in each.operands for buffer in held.get(name, [])]
        for buffer in operands:
            if buffer is not None and each.opcode not in _PASSING:
                buffer.last, buffer.last_user = place, each.name
        held[each.name] = _results(each, place, held, last, made, module)
    kept = {id(buffer) for buffer in held[computation.root.name]}
    for buffer in made:
        if id(buffer) not in kept:
            yield Buffer(buffer.maker.name, buffer.bytes, buffer.first, buffer.last, buffer.last_user)


def _results(
    each: Instruction,
    place: int,
    held: Mapping[str, Sequence[_Open | None]],
    last: Mapping[str, int],
    made: list[_Open],
    module: Module,
) -> list[_Open | None]:
    """Returns the buffer of each array of an instruction's result; None for what is no temporary."""
    operands = [held.get(name, []) for name in each.operands]
    flat = [buffer for buffers in operands for buffer in buffers]
    match each.opcode:
        case "parameter" | "constant":
            return [None] * len(each.arrays)
        case "get-tuple-element":
            index = int(each.attributes["index"])
            return flat[index : index + 1] if len(each.arrays) == 1 else flat
        case "tuple" | "bitcast" | "optimization-barrier" | "domain" | "while":
            return flat
        case "copy-start":  # the copy, the original, and a token
            return [_new(each, 0, place, made), *flat, None]
    if each.opcode.endswith("-done"):
        return flat[: len(each.arrays)]
    if each.opcode.endswith("-start") and len(each.arrays) > len(flat):  # operands, results, and what else it needs
        results = [_new(each, index, place, made) for index in range(len(flat), len(each.arrays))]
        return [*results, *flat]
    shared = _shared(each, operands, last, place, module)
    found: list[_Open | None] = []
    for index in range(len(each.arrays)):
        if index in shared:
            found.append(shared[index])
        else:
            found.append(_new(each, index, place, made))
    return found


def _new(each: Instruction, index: int, place: int, made: list[_Open]) -> _Open:
    array = each.arrays[index]
    buffer = _Open(each, 0 if array.space == _ON_CHIP else array.bytes, place, place, each.name)
    made.append(buffer)
    return buffer


_ALIAS = re.compile(r"\{([\d, ]*)\}: \((\d+), \{([\d, ]*)\}")


def _shared(
    each: Instruction,
    operands: Sequence[Sequence[_Open | None]],
    last: Mapping[str, int],
    place: int,
    module: Module,
) -> dict[int, _Open | None]:
    """Returns the results that lie where an operand does, by index.

    XLA says so of some instructions. It also gives the place of an operand that nothing takes any more to a result of
    the same size, where each element follows from those at its own place.
    """
    found: dict[int, _Open | None] = {}
    for output, operand, part in _ALIAS.findall(each.attributes.get("output_to_operand_aliasing", "")):
        buffers = operands[int(operand)]
        index = int(part) if part.strip().isdecimal() else 0
        found[int(output) if output.strip().isdecimal() else 0] = buffers[index] if index < len(buffers) else None
    if found:
        return found
    free = [
        buffers[0]
        for index, (name, buffers) in enumerate(zip(each.operands, operands, strict=True))
        if len(buffers) == 1 and buffers[0] is not None and last[name] == place and _in_place(each, index, module)
    ]
    for index, array in enumerate(each.arrays):
        for buffer in free:
            if buffer is not None and buffer.bytes == array.bytes and array.space != _ON_CHIP:
                found[index] = buffer
                free.remove(buffer)
                break
    return found


_MOVING = {"convolution", "dot", "gather", "reverse", "scatter", "transpose"}
"""The operations whose results may have an operand's shape although their elements follow from those elsewhere."""


def _in_place(each: Instruction, operand: int, module: Module) -> bool:
    """Returns whether each element of a result follows from that of an operand at the same place."""
    if each.opcode in ("dynamic-update-slice", "all-reduce", "all-reduce-start"):
        return operand == 0 or each.opcode != "dynamic-update-slice"
    if each.opcode != "fusion":
        return each.opcode not in _MOVING and each.opcode not in ("copy", "custom-call")
    fused = module.computations[each.called[0]]
    taken = [fused.parameters[operand]]
    while taken:
        one = taken.pop()
        for user in fused.users.get(one.name, ()):
            if user.opcode in _MOVING or user.array.dims != one.array.dims:
                return False
            taken.append(user)
    return True


def _last_uses(computation: Computation) -> dict[str, int]:
    """Returns the place of the last instruction that takes each result, also where it does so under another name."""
    last = {each.name: len(computation.instructions) for each in (computation.root,)}
    for place in reversed(range(len(computation.instructions))):
        each = computation.instructions[place]
        # What only hands a result on keeps it for as long as its own is taken.
        until = last.get(each.name, place) if each.opcode in _PASSING | {"while"} else place
        for name in each.operands:
            last[name] = max(last.get(name, 0), until)
    return last
