"""XLA's compiled programs as text, read into instructions: what `jax.stages.Compiled.as_text` returns."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

_BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16, "c64": 64, "c128": 128}
"""The bits of the types whose name does not say them; ``f32``, ``s8``, ``u4`` and ``f8e4m3fn`` do."""
_NAMES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64", "pred": "bool"}


@dataclasses.dataclass(frozen=True)
class Array:
    """The type of an array in a program, and how it lies in memory."""

    dtype: str
    """XLA's name of the type of the elements: ``f32``, ``bf16``, ``pred``."""
    dims: tuple[int, ...]
    minor_to_major: tuple[int, ...] = ()
    """The axes from the one whose neighbours lie beside one another to the outermost."""
    tiles: tuple[tuple[int, ...], ...] = ()
    """The tiles in which a TPU keeps an array; the first one pads the innermost axes."""
    space: int = 0
    """The memory that the array is in: 0 is the device's large one, 1 a TPU's memory on the chip, 5 the host's."""

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.dims)

    @functools.cached_property
    def bytes(self) -> int:
        """The size in memory, with what tiles pad."""
        return math.prod(self._padded()) * bits_of(self.dtype) // 8

    @property
    def content_bytes(self) -> int:
        """The size of the elements alone."""
        return self.elements * bits_of(self.dtype) // 8

    @property
    def dtype_name(self) -> str:
        """NumPy's name of the type of the elements, such as ``bfloat16``."""
        return _NAMES.get(self.dtype, re.sub("^u", "uint", re.sub("^s", "int", self.dtype)))

    def _padded(self) -> list[int]:
        dims = [self.dims[axis] for axis in reversed(self.minor_to_major)] or list(self.dims)
        if self.tiles:
            tile = self.tiles[0]
            dims = [1] * (len(tile) - len(dims)) + dims
            for back, length in enumerate(reversed(tile), 1):
                dims[-back] = math.ceil(dims[-back] / length) * length
        return dims


def bits_of(dtype: str) -> int:
    """Returns the bits of an element of XLA's type of this name."""
    if dtype in _BITS:
        return _BITS[dtype]
    digits = re.match(r"[a-z]+(\d+)", dtype)
    return int(digits[1]) if digits else 0


@dataclasses.dataclass(frozen=True)
class Instruction:
    """An instruction of a computation."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    """The types of the results: one, or those of a tuple from left to right, however deep."""
    operands: tuple[str, ...]
    """The names of the instructions whose results it takes."""
    attributes: Mapping[str, str]
    """What stands behind the operands, by name, as text."""
    argument: str = ""
    """What stands between the parentheses where it is no list of names: a parameter's number, a constant's value."""
    is_root: bool = False

    @functools.cached_property
    def op_name(self) -> str:
        """The path of the operation that it was made of, which JAX gave it; "" if it has none."""
        found = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.attributes.get("metadata", ""))
        return found[1].replace("\\'", "'") if found else ""

    @property
    def array(self) -> Array:
        """The first result."""
        return self.arrays[0]

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the computations that it calls."""
        names = []
        for key in ("calls", "to_apply", "body", "branch_computations", "true_computation", "false_computation"):
            names += re.findall(r"%?([\w.\-]+)", self.attributes.get(key, ""))
        return tuple(names)


@dataclasses.dataclass(frozen=True)
class Computation:
    """A computation: its instructions, in the order in which they are scheduled where it is."""

    name: str
    instructions: tuple[Instruction, ...]

    @functools.cached_property
    def by_name(self) -> Mapping[str, Instruction]:
        """The instructions by name."""
        return {each.name: each for each in self.instructions}

    @functools.cached_property
    def users(self) -> Mapping[str, tuple[Instruction, ...]]:
        """The instructions that take the result of each, by its name."""
        found: dict[str, list[Instruction]] = {}
        for each in self.instructions:
            for name in dict.fromkeys(each.operands):
                found.setdefault(name, []).append(each)
        return {name: tuple(users) for name, users in found.items()}

    @property
    def root(self) -> Instruction:
        """The instruction whose result is the computation's."""
        return next((each for each in self.instructions if each.is_root), self.instructions[-1])

    @functools.cached_property
    def parameters(self) -> tuple[Instruction, ...]:
        """The parameters, in their order."""
        found = [each for each in self.instructions if each.opcode == "parameter"]
        return tuple(sorted(found, key=lambda each: int(each.argument)))


@dataclasses.dataclass(frozen=True)
class Module:
    """A compiled program."""

    header: str
    """The line of its name and its properties."""
    computations: Mapping[str, Computation]
    entry: Computation

    @functools.cached_property
    def devices(self) -> int:
        """The number of devices that run it together."""
        counts = re.findall(r"\b(?:replica_count|num_partitions)=(\d+)", self.header)
        return math.prod(map(int, counts))


_OPENED = re.compile(r"(ENTRY )?%?(?!HloModule)([\w.\-]+)[ (].*\{\s*$")


def parse(text: str) -> Module:
    """Reads a compiled program.

    Raises:
        ValueError: the text is no program of XLA, or a line of it cannot be read.
    """
    header = text[: text.find("\n")]
    if not header.startswith("HloModule"):
        raise ValueError("the text does not begin with HloModule, as the text of a compiled program does")
    computations, entry = {}, None
    name, is_entry, instructions = None, False, []
    for line in text.split("\n"):
        if name is None:
            if opened := _OPENED.match(line):
                is_entry, name, instructions = bool(opened[1]), opened[2], []
        elif line.startswith("}"):
            computations[name] = Computation(name, tuple(instructions))
            entry, name = (computations[name] if is_entry else entry), None
        elif line.strip():
            instructions.append(_instruction(line.strip()))
    if entry is None:
        raise ValueError("the program has no ENTRY computation")
    return Module(header, computations, entry)


_START = re.compile(r"(ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r" ?([a-z][\w\-]*)\(")


def _instruction(line: str) -> Instruction:
    start = _START.match(line)
    if not start:
        raise ValueError(f"the line is no instruction: {line[:200]}")
    at = start.end()
    end = _closing(line, at) if line[at] == "(" else line.find(" ", at)
    arrays = tuple(_arrays(line[at:end]))
    opcode = _OPCODE.match(line, end)
    if not opcode:
        raise ValueError(f"the line has no operation: {line[:200]}")
    close = _closing(line, opcode.end() - 1)
    inside = line[opcode.end() : close - 1]
    attributes = dict(_attributes(line[close:]))
    operands = tuple(re.findall(r"%([\w.\-]+)", inside)) if opcode[1] not in ("parameter", "constant") else ()
    return Instruction(start[2], opcode[1], arrays, operands, attributes, "" if operands else inside, bool(start[1]))


_TELLING = re.compile(r"""[(){}\[\]]|"(?:[^"\\]|\\.)*\"""")
"""Brackets, and what stands in quotes, inside of which they are none."""


def _closing(text: str, at: int) -> int:
    """Returns the index behind the bracket that closes the one at ``at``."""
    depth = 0
    for found in _TELLING.finditer(text, at):
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
    raise ValueError(f"a bracket is not closed in {text[:200]}")


_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<= ]*)\](?:\{([^{}]*)\})?")


def _arrays(text: str) -> Iterator[Array]:
    for dtype, dims, layout in _ARRAY.findall(text):
        axes, _, rest = layout.partition(":")
        tiled = re.search(r"T((?:\([\d,*]+\))+)", rest)
        tiles = re.findall(r"\(([\d,]+)\)", tiled[1]) if tiled else ()
        space = re.search(r"S\((\d+)\)", rest)
        yield Array(
            dtype,
            _numbers(dims.replace("<=", "")),
            _numbers(axes),
            tuple(_numbers(tile) for tile in tiles),
            int(space[1]) if space else 0,
        )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(",") if each.strip())


_KEY = re.compile(r",? ?([\w\-]+)=")
_VALUE_END = re.compile(r"""[,({\[]|"(?:[^"\\]|\\.)*\"""")


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while key := _KEY.match(text, at):
        start = at = key.end()
        while found := _VALUE_END.search(text, at):
            if found[0] == ",":
                at = found.start()
                break
            at = _closing(text, found.start()) if found[0] in "({[" else found.end()
        else:
            at = len(text)
        yield key[1], text[start:at]
