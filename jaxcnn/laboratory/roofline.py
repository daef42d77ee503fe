"""The roofline of a compiled program on a machine: a bound on the time of each kernel, by its bytes and its products.

Nothing here is a measurement, and no machine is needed: bytes and products are the program's, and the ceilings are the
machine's published ones. The model is Williams, Waterman and Patterson's (Communications of the ACM 52(4), 2009).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import jax

from jaxcnn.devices.machines import Machine, machine_of
from jaxcnn.laboratory.program import Kernel, Program

MEMORY_SHARE = 0.9
"""The share of the memory's bandwidth that a good kernel is taken to reach."""
COMPUTE_SHARE = 0.7
"""The share of the dense FLOP/s that a good convolution or matrix product is taken to reach."""

Side = Literal["memory", "compute"]


def bounds(
    kernels: Sequence[Kernel],
    machine: Machine,
    *,
    memory_share: float = MEMORY_SHARE,
    compute_share: float = COMPUTE_SHARE,
) -> tuple[float, ...]:
    """Returns bounds on the seconds of one run of each kernel: the greater one of its memory's and its products' time.

    A transfer takes what is left of its time when it has used the memory while the kernels beside it are busy with
    products. What a kernel exchanges with other devices is not in it, nor are the launch of the kernel and arithmetic
    other than products, whose operands bind it first.

    Args:
        kernels: the kernels of a program, as they are scheduled.
        machine: the chip that they run on, of which a device of JAX may be a part.
        memory_share: the share of the memory's bandwidth that is reached.
        compute_share: the share of the FLOP/s that is reached.
    """
    sides = [_sides(each, machine, memory_share, compute_share) for each in kernels]
    return tuple(_longest(kernels, sides))


def _longest(kernels: Sequence[Kernel], sides: Sequence[Mapping[Side, float]]) -> Iterator[float]:
    idle = [
        each.count * max(0.0, times["compute"] - times["memory"]) for each, times in zip(kernels, sides, strict=True)
    ]
    for place, (kernel, times) in enumerate(zip(kernels, sides, strict=True)):
        left = kernel.count * max(times.values())
        for beside in range(place + 1, place + 1 + kernel.beside):
            used = min(left, idle[beside])
            idle[beside] -= used
            left -= used
        yield left / kernel.count


def _sides(kernel: Kernel, machine: Machine, memory_share: float, compute_share: float) -> dict[Side, float]:
    parts = machine.devices_per_chip
    compute = 2 * kernel.multiply_adds * parts / machine.flops_of(kernel.dtype) if kernel.multiply_adds else 0.0
    return {
        "memory": kernel.bytes * parts / machine.memory_bytes_per_s / memory_share,
        "compute": compute / compute_share,
    }


@dataclasses.dataclass(frozen=True)
class Bound:
    """What a group of kernels takes at least."""

    seconds: float = 0.0
    """The sum of the kernels' bounds."""
    share: float = 0.0
    """The part that these are of the whole program's."""
    kernels: int = 0
    """The number of runs of kernels in a step."""
    bytes: int = 0
    multiply_adds: int = 0
    memory_bound: float = 0.0
    """The part of these seconds that is of kernels that the memory binds; the products bind the rest."""


@dataclasses.dataclass(frozen=True)
class Roofline:
    """A bound on the time of a program's step on a machine, and what it is made of; it is no measurement."""

    seconds: float
    """The bound on the seconds of a step of one device, without what it exchanges with others."""
    by_kind: Mapping[str, Bound]
    by_phase: Mapping[str, Bound]
    by_layer: Mapping[str, Bound]
    """The bounds by group, each sorted from the greatest to the smallest."""

    @property
    def whole(self) -> Bound:
        """The bound of all kernels together."""
        kinds = self.by_kind.values()
        memory = sum(each.seconds * each.memory_bound for each in kinds)
        return Bound(
            seconds=self.seconds,
            share=1.0 if self.seconds else 0.0,
            kernels=sum(each.kernels for each in kinds),
            bytes=sum(each.bytes for each in kinds),
            multiply_adds=sum(each.multiply_adds for each in kinds),
            memory_bound=memory / self.seconds if self.seconds else 0.0,
        )

    @classmethod
    def of(
        cls,
        program: Program,
        machine: Machine,
        *,
        memory_share: float = MEMORY_SHARE,
        compute_share: float = COMPUTE_SHARE,
    ) -> "Roofline":
        """Returns the roofline of a program on a machine, with the shares of its ceilings that `bounds` takes."""
        sides = [_sides(each, machine, memory_share, compute_share) for each in program.kernels]
        bounded = [
            _Bounded(kernel, longest, times["memory"] >= times["compute"])
            for kernel, longest, times in zip(program.kernels, _longest(program.kernels, sides), sides, strict=True)
        ]
        seconds = sum((each.kernel.count * each.seconds for each in bounded), 0.0)

        def grouped(key: Callable[[Kernel], str]) -> dict[str, Bound]:
            groups = defaultdict(list)
            for each in bounded:
                groups[key(each.kernel)].append(each)
            totals = {name: _total(members, seconds) for name, members in groups.items()}
            return dict(sorted(totals.items(), key=lambda item: -item[1].seconds))

        return cls(
            seconds=seconds,
            by_kind=grouped(lambda kernel: kernel.kind),
            by_phase=grouped(lambda kernel: kernel.phase),
            by_layer=grouped(lambda kernel: kernel.layer),
        )


def step_bound(compiled: jax.stages.Compiled, device: jax.Device) -> float | None:
    """Returns the bound on the seconds of a compiled step on a device; None where no figures of that are known."""
    found = machine_of(device)
    return Roofline.of(Program.of(compiled), found).seconds if found else None


class _Bounded(NamedTuple):
    kernel: Kernel
    seconds: float
    by_memory: bool


def _total(kernels: Iterable[_Bounded], whole: float) -> Bound:
    """Returns the bound of several kernels, which are a part of a program that takes ``whole`` seconds."""
    seconds = memory = 0.0
    runs = moved = multiply_adds = 0
    for kernel, longest, by_memory in kernels:
        seconds += kernel.count * longest
        memory += kernel.count * longest if by_memory else 0.0
        runs += kernel.count
        moved += kernel.count * kernel.bytes
        multiply_adds += kernel.count * kernel.multiply_adds
    return Bound(
        seconds=seconds,
        share=seconds / whole if whole else 0.0,
        kernels=runs,
        bytes=moved,
        multiply_adds=multiply_adds,
        memory_bound=memory / seconds if seconds else 0.0,
    )
