"""The roofline of a compiled program on a machine: a bound on the time of each kernel, by its bytes and its products.

Nothing here is a measurement, and no machine is needed: bytes and products are the program's, and the ceilings are the
machine's published ones. The model is Williams, Waterman and Patterson's (Communications of the ACM 52(4), 2009).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import jax

from jaxcnn.devices.machines import Machine, machine_of
from jaxcnn.laboratory.program import Kernel, Program

MEMORY_SHARE = 0.9
"""The share of the memory's bandwidth that a good kernel is taken to reach."""
COMPUTE_SHARE = 0.7
"""The share of the dense FLOP/s that a good convolution or matrix product is taken to reach."""

Side = Literal["memory", "compute"]


def bound(
    kernel: Kernel, machine: Machine, *, memory_share: float = MEMORY_SHARE, compute_share: float = COMPUTE_SHARE
) -> float:
    """Returns a bound on the seconds of one run of a kernel: the greater one of its memory's and its products' time.

    What a kernel exchanges with other devices is not in it, nor are the launch of the kernel and arithmetic other than
    products, whose operands bind it first.

    Args:
        kernel: the kernel.
        machine: the chip that it runs on, of which a device of JAX may be a part.
        memory_share: the share of the memory's bandwidth that is reached.
        compute_share: the share of the FLOP/s that is reached.
    """
    return max(_sides(kernel, machine, memory_share, compute_share).values())


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
        """Returns the roofline of a program on a machine, with the shares of its ceilings that `bound` takes."""
        sides = [(each, _sides(each, machine, memory_share, compute_share)) for each in program.kernels]
        seconds = sum((kernel.count * max(times.values()) for kernel, times in sides), 0.0)

        def grouped(key: Callable[[Kernel], str]) -> dict[str, Bound]:
            groups = defaultdict(list)
            for kernel, times in sides:
                groups[key(kernel)].append((kernel, times))
            bounds = {name: _total(members, seconds) for name, members in groups.items()}
            return dict(sorted(bounds.items(), key=lambda item: -item[1].seconds))

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


def _total(kernels: Iterable[tuple[Kernel, dict[Side, float]]], whole: float) -> Bound:
    """Returns the bound of several kernels, which are a part of a program that takes ``whole`` seconds."""
    seconds = memory = 0.0
    runs = moved = multiply_adds = 0
    for kernel, sides in kernels:
        longest = kernel.count * max(sides.values())
        seconds += longest
        memory += longest if sides["memory"] >= sides["compute"] else 0.0
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
