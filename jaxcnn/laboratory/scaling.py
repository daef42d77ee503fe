"""Predictions of a training step on many chips: computation by the roofline, communication by a model of the links.

A step is compiled for a few numbers of images a chip, on a topology of a few chips. What a chip computes then does not
depend on how many others there are, and neither do the bytes of its collectives: those of the gradient and of the batch
statistics are the same over 2 chips as over 4,096 (`tests/laboratory/test_scaling.py` holds it). So one program serves
all numbers of chips, and only the time of its collectives is another. All figures are predictions from published
ceilings, and never measurements.
"""

import bisect
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from jaxcnn.assembly import assemble
from jaxcnn.config import TrainConfig
from jaxcnn.data.pipeline import Data
from jaxcnn.devices.machines import Machine
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.devices.topologies import usable_memory
from jaxcnn.laboratory import communication
from jaxcnn.laboratory.dry_run import DoesNotFit, compile_step
from jaxcnn.laboratory.program import Program
from jaxcnn.laboratory.roofline import bounds
from jaxcnn.ops.backend import rules_of
from jaxcnn.types import JsonObject


@dataclasses.dataclass(frozen=True)
class Exchange:
    """A collective of a compiled step."""

    operation: str
    """The operation in XLA's words, such as ``all-reduce``."""
    bytes: int
    """The size of the whole array, as `communication.seconds` takes it."""
    chips: int | None
    """The number of chips that take part; None where all do, however many there are."""
    blocking: bool
    """Whether the forward pass waits for it, as it does for batch statistics: it cannot overlap with computation."""


@dataclasses.dataclass(frozen=True)
class Step:
    """What predictions need of a step that is compiled for a number of images on each chip."""

    batch: int
    """The number of images on each chip."""
    kernel_seconds: tuple[float, ...]
    """The bound of each kernel that a chip computes, by the roofline."""
    exchanges: tuple[Exchange, ...]
    memory_bytes: int
    """The memory that the step needs on each chip."""

    def compute_seconds(self, kernel_floor: float = 0.0) -> float:
        """Returns the bound of all that a chip computes.

        Args:
            kernel_floor: the least seconds of a kernel, which is more than the bound of a small one where each is
                started by itself.
        """
        return sum(max(each, kernel_floor) for each in self.kernel_seconds)

    def to_json(self) -> JsonObject:
        """Returns the step as JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: JsonObject) -> "Step":
        """Returns the step that `to_json` has written.

        Raises:
            KeyError: a part of it is missing.
            TypeError: it is something else.
        """
        exchanges = tuple(Exchange(**each) for each in found["exchanges"])
        return cls(found["batch"], tuple(found["kernel_seconds"]), exchanges, found["memory_bytes"])


def step_of(program: Program, machine: Machine, *, batch: int, devices: int, memory_bytes: int) -> Step:
    """Returns what predictions need of a compiled program.

    Args:
        program: the program of one device.
        machine: the machine whose figures bound it.
        batch: the number of images on each chip.
        devices: the number of devices that the program is compiled for.
        memory_bytes: the memory that it needs on each chip.
    """
    exchanges, forward = [], True
    for kernel in program.kernels:
        found = kernel.collective
        if found is not None:
            size = found.group_size
            chips = None if size == devices else math.ceil(size / machine.devices_per_chip)
            blocking = forward and kernel.phase == "forward"
            exchanges += [Exchange(found.operation, found.bytes, chips, blocking)] * kernel.count
        elif kernel.phase == "backward" and kernel.multiply_adds:
            forward = False  # what is scheduled after the backward pass has begun serves no part of the forward pass
    seconds = tuple(
        longest
        for kernel, longest in zip(program.kernels, bounds(program.kernels, machine), strict=True)
        for _ in range(kernel.count)
        if kernel.collective is None and (longest or kernel.kind != "transfer")
    )
    return Step(batch, seconds, tuple(exchanges), memory_bytes)


@own_settings()
def compile_for(config: TrainConfig, data: Data, topology: DataParallel, machine: Machine, batch: int) -> Step:
    """Compiles a recipe's training step for a number of images on each chip of a topology.

    Raises:
        DoesNotFit: the step needs more memory than a chip has.
        UserError: as `assemble` does.
    """
    devices = topology.mesh.size
    chips = devices // machine.devices_per_chip
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=batch * chips))
    with rules_of(machine.kind):
        compiled, memory = compile_step(assemble(config, data, topology))
    device = topology.mesh.devices.flat[0]
    if machine.kind == "gpu" and memory.total > usable_memory(device):  # libtpu refuses it itself
        raise DoesNotFit(
            f"the training step needs {memory.total / 1e9:.1f} GB for {batch} images on each {machine.name}, and there "
            f"are {usable_memory(device) / 1e9:.1f}: take fewer images, or more parallel.micro_batches"
        )
    needed = memory.total * machine.devices_per_chip
    return step_of(Program.of(compiled), machine, batch=batch, devices=devices, memory_bytes=needed)


def to_compile(batches: Iterable[int], count: int) -> tuple[int, ...]:
    """Returns those of the numbers of images that are compiled: the ends, and others spread evenly over their powers.

    Args:
        batches: all the numbers of images on a chip that are asked for.
        count: the most that are compiled, at least 2; the times of the others are interpolated.
    """
    wanted = sorted(set(batches))
    if len(wanted) <= count:
        return tuple(wanted)
    low, high = math.log(wanted[0]), math.log(wanted[-1])
    places = [low + (high - low) * each / (count - 1) for each in range(count)]
    return tuple(sorted({min(wanted, key=lambda batch: abs(math.log(batch) - place)) for place in places}))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The predicted time of a step, between two bounds: all communication overlaps with computation, or none does."""

    chips: int
    batch: int
    """The number of images on each chip."""
    compute_seconds: float
    blocking_seconds: float
    """The communication that the forward pass waits for."""
    exchange_seconds: float
    """All other communication, which may overlap with computation."""
    interpolated: bool
    """Whether the computation lies between those of two compiled steps, and is not that of one."""

    @property
    def fastest(self) -> float:
        """The seconds of a step if all communication overlaps that can."""
        return self.blocking_seconds + max(self.compute_seconds, self.exchange_seconds)

    @property
    def slowest(self) -> float:
        """The seconds of a step if no communication overlaps."""
        return self.compute_seconds + self.blocking_seconds + self.exchange_seconds

    @property
    def images(self) -> int:
        """The number of images of a step."""
        return self.chips * self.batch

    @property
    def rates(self) -> tuple[float, float]:
        """The images a second without any overlap, and with all of it."""
        return self.images / self.slowest, self.images / self.fastest

    def to_json(self) -> JsonObject:
        """Returns the prediction as JSON, its rates included."""
        low, high = self.rates
        rates = {"images_per_second_no_overlap": low, "images_per_second_full_overlap": high}
        return {**dataclasses.asdict(self), **rates}


@dataclasses.dataclass(frozen=True)
class Scaling:
    """A recipe's step on any number of a machine's chips."""

    machine: Machine
    steps: Mapping[int, Step]
    """The compiled steps, by the number of images on each chip."""
    kernel_floor: float = 0.0
    """The least seconds of a kernel, as `Step.compute_seconds` takes it."""

    def predict(self, chips: int, batch: int, machine: Machine | None = None) -> Prediction:
        """Returns the prediction for a number of chips, and of images on each.

        Between two compiled steps the time of the computation is interpolated linearly; the collectives are those of
        the smaller one.

        Args:
            chips: the number of chips.
            batch: the number of images on each, which lies between the least and the most that are compiled.
            machine: the machine with other links than the steps' own.

        Raises:
            UserError: the machine's links are not known.
            ValueError: no compiled step is as small, or as large.
        """
        known = sorted(self.steps)
        if not known or not known[0] <= batch <= known[-1]:
            raise ValueError(f"{batch} images are not between those of compiled steps: {known}")
        place = bisect.bisect_left(known, batch)
        upper = self.steps[known[place]]
        lower = upper if upper.batch == batch else self.steps[known[place - 1]]
        share = 0.0 if lower is upper else (batch - lower.batch) / (upper.batch - lower.batch)
        taken = {True: 0.0, False: 0.0}
        for each in lower.exchanges if chips > 1 else ():
            together = chips if each.chips is None else min(each.chips, chips)
            seconds = communication.seconds(each.operation, each.bytes, together, machine or self.machine)
            taken[each.blocking] += seconds
        least, most = (each.compute_seconds(self.kernel_floor) for each in (lower, upper))
        computed = least + share * (most - least)
        return Prediction(chips, batch, computed, taken[True], taken[False], lower is not upper)

    def weak(self, chips: Sequence[int], batch: int) -> list[Prediction]:
        """Returns predictions for numbers of chips, with as many images on each chip."""
        return [self.predict(each, batch) for each in chips]

    def strong(self, chips: Sequence[int], images: int) -> list[Prediction]:
        """Returns predictions for numbers of chips that share the images of a step evenly, without those that cannot.

        Numbers whose part of the images is not between those of compiled steps are left out too.
        """
        parts = {each: images // each for each in chips if images % each == 0}
        least, most = min(self.steps, default=0), max(self.steps, default=0)
        return [self.predict(each, batch) for each, batch in parts.items() if least <= batch <= most]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a whole training takes at a predicted rate."""

    hours: float
    kilowatt_hours: float | None
    """The energy; None where the user has not said what a chip draws."""
    price: float | None
    """The price; None where the user has not said what a chip costs."""


def cost(
    rate: float, images: float, chips: int, *, watts: float | None = None, price_per_hour: float | None = None
) -> Cost:
    """Returns what a training takes.

    Args:
        rate: the images a second, over all chips.
        images: the number of images that are trained on, over all epochs.
        chips: the number of chips.
        watts: the power that a chip draws, with its part of the host.
        price_per_hour: the price of a chip for an hour, in any currency.
    """
    hours = images / rate / 3600
    return Cost(
        hours,
        None if watts is None else chips * watts * hours / 1000,
        None if price_per_hour is None else chips * price_per_hour * hours,
    )


def images_per_host(rate: float, chips: int, machine: Machine) -> float:
    """Returns the images a second that each host must read, decode and send to its chips."""
    return rate / math.ceil(chips / (machine.chips_per_host or chips))
