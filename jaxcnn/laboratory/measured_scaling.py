"""A recipe's step on the first one, two, four, ... of the devices that there are: measured, beside the prediction."""

import dataclasses
from collections.abc import Sequence

import jax

from jaxcnn.assembly import assemble
from jaxcnn.config import TrainConfig
from jaxcnn.devices.machines import Machine
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.laboratory.dry_run import compile_step, data_or_stand_in, stepping, time_step
from jaxcnn.laboratory.program import Program
from jaxcnn.laboratory.scaling import Prediction, Scaling, step_of
from jaxcnn.types import JsonObject


@dataclasses.dataclass(frozen=True)
class Measured:
    """A step on devices that there are."""

    devices: int
    batch: int
    """The number of images on each device."""
    seconds: float
    """The measured seconds of a step."""
    predicted: Prediction | None
    """The prediction from published ceilings; None where no figures of the devices are known."""

    @property
    def errors(self) -> tuple[float, float] | None:
        """The predicted over the measured seconds, less 1, with all overlap and with none; None without prediction."""
        if self.predicted is None:
            return None
        return self.predicted.fastest / self.seconds - 1, self.predicted.slowest / self.seconds - 1

    def to_json(self) -> JsonObject:
        """Returns the step as JSON."""
        return {**dataclasses.asdict(self), "errors": self.errors}


def powers_of_two(count: int) -> list[int]:
    """Returns 1, 2, 4, ... as far as there are devices."""
    return [1 << power for power in range(count.bit_length())]


@own_settings()
def measure(config: TrainConfig, counts: Sequence[int], machine: Machine | None, *, weak: bool) -> list[Measured]:
    """Measures a recipe's step on numbers of the devices of this process.

    Args:
        config: the recipe; its batch is that of the largest number of devices.
        counts: the numbers of devices.
        machine: what the devices are; None where no figures are known of them.
        weak: whether each device gets as many images however many there are, or all get as many together.

    Raises:
        UserError: the batch cannot be split over the devices, or does not fit in their memory.
    """
    data, _ = data_or_stand_in(config.data)
    share = max(1, config.data.batch_size // max(counts))
    found = []
    for count in counts:
        size = share * count if weak else config.data.batch_size
        sized = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=size))
        assembly = assemble(sized, data, DataParallel.over(jax.devices()[:count]))
        compiled, memory = compile_step(assembly)
        predicted, batch = None, size // count
        if machine is not None:
            step = step_of(Program.of(compiled), machine, batch=batch, devices=count, memory_bytes=memory.total)
            predicted = Scaling(machine, {batch: step}).predict(count, batch)
        found.append(Measured(count, batch, time_step(stepping(compiled, assembly)), predicted))
    return found
