"""A compiled program as the kernels that it runs: what each computes, reads, writes and sends, and for which layer."""

import dataclasses
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

import jax

from jaxcnn.laboratory.collectives import Collective, collective_of
from jaxcnn.laboratory.hlo import Computation, Instruction, Module, parse
from jaxcnn.laboratory.hlo_traffic import traffic_of
from jaxcnn.laboratory.hlo_work import PRODUCTS, target_of, work_of
from jaxcnn.laboratory.op_names import Phase, layer_of, phase_of

Kind = Literal[
    "convolution", "product", "reduction", "elementwise", "copy", "transfer", "collective", "random", "other"
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An instruction of a scheduled program that runs something: what it takes and does on one device, each time.

    Bytes are a bound from below on the traffic of an instruction, and one from above where caches serve several: each
    operand is read once, and each result is written once.
    """

    name: str
    """The name of the instruction."""
    opcode: str
    """XLA's operation, such as ``fusion``, or the function that a ``custom-call`` calls."""
    kind: Kind
    """What it mainly does. ``copy`` is what changes the layout or the place of arrays, and nothing else.
    ``transfer`` is what moves them between memories while other kernels run, as a TPU fetches them to its chip."""
    layer: str
    """The path of the Flax module that it belongs to; "" outside of modules."""
    phase: Phase
    """The part of the step that it belongs to."""
    flops: int
    """The operations as XLA counts them: see `jaxcnn.laboratory.hlo_work.Work`."""
    multiply_adds: int
    """The multiply-adds of its convolutions and matrix products, those on padding included, as papers count them."""
    bytes_read: int
    """The bytes that it reads from the device's memory."""
    bytes_written: int
    """The bytes that it writes to the device's memory."""
    dtype: str
    """The type in which products are computed, such as ``bfloat16`` or ``tensorfloat32``; of others, the result's."""
    collective: Collective | None = None
    """What it exchanges with other devices."""
    on_chip_bytes: int = 0
    """The bytes that it reads and writes in a TPU's memory on the chip, which are not among the others."""
    count: int = 1
    """How often it runs in a step: the trips of the loops around it. All other figures are those of one run."""
    beside: int = 0
    """How many of the kernels that follow it in the program are scheduled before a transfer must have ended."""

    @property
    def bytes(self) -> int:
        """The bytes that it reads and writes in the device's memory."""
        return self.bytes_read + self.bytes_written


@dataclasses.dataclass(frozen=True)
class Program:
    """What a compiled program runs on each of its devices."""

    kernels: tuple[Kernel, ...]
    """The kernels in the order in which they are scheduled; those of loops follow one another."""
    devices: int
    """The number of devices that run it together."""
    platform: str
    """``cpu``, ``gpu`` or ``tpu``."""
    loops_without_count: tuple[str, ...] = ()
    """The loops whose number of trips the compiler does not know: their kernels are counted once."""
    conditionals: tuple[str, ...] = ()
    """The instructions that choose among branches: of each, the branch that moves most bytes is counted."""
    bytes_of_choices: int = 0
    """The bytes that a step would move less if it always took the branch that moves least."""

    @classmethod
    def of(cls, compiled: jax.stages.Compiled) -> "Program":
        """Reads a program that JAX has compiled, for devices that need not be there."""
        devices = [each for leaf in jax.tree.leaves(compiled.input_shardings) for each in leaf.device_set]
        platform = devices[0].platform if devices else jax.default_backend()
        text = compiled.as_text()
        assert text is not None  # as it may be of programs that are no XLA's
        return cls.parse(text, platform)

    @classmethod
    def parse(cls, text: str, platform: str) -> "Program":
        """Reads the text of a compiled program.

        Args:
            text: what ``compiled.as_text()`` returned.
            platform: the devices that it was compiled for: ``cpu``, ``gpu`` or ``tpu``.

        Raises:
            ValueError: this is no text of a compiled program.
        """
        return cls.read(parse(text), platform)

    @classmethod
    def read(cls, module: Module, platform: str) -> "Program":
        """Reads a compiled program whose text is parsed already: see `parse`."""
        return _Reader(module, platform).program()

    @property
    def flops(self) -> int:
        """The operations of all kernels on one device, as XLA counts them."""
        return sum(each.count * each.flops for each in self.kernels)

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of all kernels on one device."""
        return sum(each.count * each.multiply_adds for each in self.kernels)

    @property
    def bytes(self) -> int:
        """The bytes that all kernels read and write in one device's memory."""
        return sum(each.count * each.bytes for each in self.kernels)


_NOT_RUN = re.compile(
    "parameter|constant|tuple|get-tuple-element|bitcast|after-all|partition-id|replica-id|opt-barrier|add-dependency|"
    "domain|.*-(done|update)"
)
_CALLS_NOT_RUN = ("AllocateBuffer", "ConcatBitcast", "GatherScatterIndicesBitpacked", "AssumeGatherIndicesInBound")
"""The custom calls of a TPU's compiler that only name memory or promise something."""
_MOVES = re.compile("copy|transpose|slice|dynamic-slice|dynamic-update-slice|concatenate|reverse|pad|gather|reshape")
_TRANSFERS = ("copy-start", "slice-start", "dynamic-slice-start")
_FREE_IN_MOVES = re.compile("parameter|constant|bitcast|tuple|get-tuple-element|convert|broadcast|iota")
_REDUCTIONS = ("reduce", "reduce-window", "select-and-scatter", "scatter", "sort")
_RANDOM = re.compile(r"threefry|random_bits|rng_bit_generator")


class _Reader:
    """Reads the kernels of a module, from its entry computation on."""

    def __init__(self, module: Module, platform: str):
        self.module, self.platform = module, platform
        self.without_count: list[str] = []
        self.conditionals: list[str] = []
        self.bytes_of_choices = 0

    def program(self) -> Program:
        kernels = tuple(self.kernels(self.module.entry, 1, ""))
        return Program(
            kernels,
            self.module.devices,
            self.platform,
            loops_without_count=tuple(self.without_count),
            conditionals=tuple(self.conditionals),
            bytes_of_choices=self.bytes_of_choices,
        )

    def kernels(self, computation: Computation, count: int, around: str) -> list[Kernel]:
        """Returns the kernels of a computation that runs ``count`` times; ``around`` is the path of what runs it."""
        found: list[Kernel] = []
        transfers: dict[str, int] = {}
        for each in computation.instructions:
            if each.opcode in _TRANSFERS:
                transfers[each.name] = len(found)
            elif each.opcode.endswith("-done") and (place := transfers.get(each.operands[0])) is not None:
                found[place] = dataclasses.replace(found[place], beside=len(found) - place - 1)
            found += self._of(computation, each, count, around)
        return found

    def _of(self, computation: Computation, each: Instruction, count: int, around: str) -> Iterator[Kernel]:
        match each.opcode:
            case "while":
                trips = _trips(each)
                if trips is None:
                    self.without_count.append(each.name)
                yield from self.kernels(self._called(each, "body"), count * (trips or 1), each.op_name or around)
            case "conditional":
                self.conditionals.append(each.name)
                yield from self._dearest(each, count, around)
            case "call" | "async-start":
                yield from self.kernels(self.module.computations[each.called[0]], count, each.op_name or around)
            case _ if self._runs(each):
                yield self._kernel(computation, each, count, around)

    def _dearest(self, choice: Instruction, count: int, around: str) -> list[Kernel]:
        """Returns the kernels of the branch that moves most, and counts what the one that moves least would save."""
        saved, branches, least = self.bytes_of_choices, [], []
        for name in choice.called:
            self.bytes_of_choices = 0
            found = self.kernels(self.module.computations[name], count, choice.op_name or around)
            branches.append(found)
            least.append(_total_bytes(found) - self.bytes_of_choices)
        dearest = max(branches, key=_total_bytes)
        self.bytes_of_choices = saved + _total_bytes(dearest) - min(least)
        return dearest

    def _called(self, instruction: Instruction, attribute: str) -> Computation:
        return self.module.computations[instruction.attributes[attribute].removeprefix("%")]

    def _runs(self, instruction: Instruction) -> bool:
        return not _NOT_RUN.fullmatch(instruction.opcode) and target_of(instruction) not in _CALLS_NOT_RUN

    def _kernel(self, computation: Computation, instruction: Instruction, count: int, around: str) -> Kernel:
        inside = list(self._inside(computation, instruction))
        products = [(where, each) for where, each in inside if self._is_product(each)]
        work = work_of(self.module, computation, instruction)
        traffic = traffic_of(self.module, computation, instruction)
        op_name = next(filter(None, (_path_of(each) for _, each in products)), _path_of(instruction))
        op_name = op_name or next(filter(None, (_path_of(each) for _, each in reversed(inside))), "")
        op_name = op_name or _neighbour(computation, instruction) or around
        collectives = [
            found
            for where, each in inside
            if (found := collective_of(each, _operand_bytes(where, each), self.module.devices))
        ]
        return Kernel(
            name=instruction.name,
            opcode=target_of(instruction) or instruction.opcode,
            kind=_kind([each for _, each in inside], [each for _, each in products], bool(collectives), op_name),
            # XLA puts the exchanges of several layers together.
            layer="" if len(instruction.operands) > 1 and collectives else layer_of(op_name),
            phase=phase_of(op_name),
            flops=work.flops,
            multiply_adds=work.multiply_adds,
            bytes_read=traffic.read,
            bytes_written=traffic.written,
            dtype=self._dtype(*products[0]) if products else instruction.array.dtype_name,
            collective=collectives[0] if collectives else None,
            on_chip_bytes=traffic.on_chip,
            count=count,
        )

    def _inside(self, computation: Computation, instruction: Instruction) -> Iterator[tuple[Computation, Instruction]]:
        """Yields an instruction, or those that a fusion is made of, each with its computation."""
        if instruction.opcode == "fusion":
            fused = self.module.computations[instruction.called[0]]
            for each in fused.instructions:
                yield from self._inside(fused, each)
        else:
            yield computation, instruction

    def _is_product(self, instruction: Instruction) -> bool:
        target = target_of(instruction)
        return instruction.opcode in PRODUCTS or target.startswith(
            ("__cudnn$conv", "__cublas$", "__onednn$convolution", "__onednn$matmul")
        )

    def _dtype(self, computation: Computation, product: Instruction) -> str:
        """Returns the type in which a product is computed: that of its first operand, as the device multiplies it."""
        dtype = computation.by_name[product.operands[0]].array.dtype_name
        exact = "highest" in product.attributes.get("operand_precision", "") or "HIGHEST" in product.attributes.get(
            "backend_config", ""
        )
        if dtype == "float32" and not exact and self.platform != "cpu":
            return "tensorfloat32" if self.platform == "gpu" else "bfloat16"
        return dtype


def _total_bytes(kernels: list[Kernel]) -> int:
    return sum(each.count * each.bytes for each in kernels)


def _trips(loop: Instruction) -> int | None:
    config = loop.attributes.get("backend_config", "")
    found = re.search(r'"known_trip_count":\s*\{"n":\s*"(\d+)"', config)
    return int(found[1]) if found else None


def _operand_bytes(computation: Computation, instruction: Instruction) -> int:
    names = dict.fromkeys(instruction.operands)
    return sum(array.content_bytes for name in names for array in computation.by_name[name].arrays)


def _path_of(instruction: Instruction) -> str:
    """Returns the path of an operation; "" for the name of an argument of the step, which copies of it have."""
    return instruction.op_name if re.match(r"\w+\(", instruction.op_name) else ""


def _neighbour(computation: Computation, instruction: Instruction) -> str:
    """Returns the path of what an instruction without one, such as a copy that XLA added, is made of or serves.

    The nearest that is in a phase of the step is taken, and the nearest of all where none is.
    """
    made_of = list(_paths(computation, instruction, lambda each: each.operands))
    serves = list(
        _paths(computation, instruction, lambda each: [user.name for user in computation.users.get(each.name, ())])
    )
    return next((path for path in made_of + serves if phase_of(path) != "other"), next(iter(made_of + serves), ""))


def _paths(
    computation: Computation, instruction: Instruction, following: Callable[[Instruction], Sequence[str]]
) -> Iterator[str]:
    """Yields the paths that lie nearest in one direction, from near to far; behind each, none is looked for."""
    waiting, seen = deque([instruction]), {instruction.name}
    while waiting:
        for name in following(waiting.popleft()):
            if name in seen:
                continue
            seen.add(name)
            each = computation.by_name[name]
            if path := _path_of(each):
                yield path
            else:
                waiting.append(each)


def _kind(inside: list[Instruction], products: list[Instruction], exchanges: bool, op_name: str) -> Kind:
    if exchanges:
        return "collective"
    if products:
        first = products[0]
        convolves = first.opcode == "convolution" or "conv" in target_of(first)
        return "convolution" if convolves else "product"
    opcodes = {each.opcode for each in inside}
    if opcodes.intersection(_TRANSFERS):
        return "transfer"
    working = [each for each in opcodes if not _FREE_IN_MOVES.fullmatch(each)]
    if working and all(map(_MOVES.fullmatch, working)):
        return "copy"
    if _RANDOM.search(op_name) or any(each.startswith("rng") for each in opcodes):
        return "random"
    if opcodes.intersection(_REDUCTIONS):
        return "reduction"
    if "custom-call" in opcodes:
        return "other"
    return "elementwise"
