"""A recipe's step on simulated devices, which share this machine's cores: measured, beside what is predicted of it.

XLA's CPU backend can pretend to have several devices. They compute what real ones would, and exchange the same arrays,
but take turns on the same cores. So nothing gets faster with more of them. What can be tried here is whether the
composition of a prediction is right: the work of all devices' programs, and the time of their collectives. The
prediction takes three things from measurements: the time of one device's step, the rates of products and copies that
weigh operations against bytes, and the time of a collective of a few bytes. Everything else it takes from the programs.

Run as a module, this file is one contender: the devices, a recipe, its config as JSON, and the file to write.
"""

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxcnn import strict_json
from jaxcnn.assembly import Assembly, assemble
from jaxcnn.config import TrainConfig, from_json, to_json
from jaxcnn.contenders import race, serve
from jaxcnn.devices.memory import settled
from jaxcnn.devices.parallel import AXIS, DataParallel
from jaxcnn.errors import UserError
from jaxcnn.laboratory.dry_run import compile_step, data_or_stand_in, first_batch
from jaxcnn.laboratory.program import Program
from jaxcnn.recipes import load_recipe
from jaxcnn.training.step import zero_totals
from jaxcnn.types import JsonObject

ROUNDS = 5
"""The turns that each number of devices takes."""


@dataclasses.dataclass(frozen=True)
class Simulated:
    """A step on simulated devices, measured and predicted."""

    devices: int
    batch: int
    """The number of images on each device."""
    seconds: float
    """The measured seconds of a step, the median over the rounds."""
    predicted_seconds: float
    exchanged_bytes: int
    """The bytes of the collectives of a step."""
    exchange_seconds: float
    """The predicted seconds of the collectives, which are part of ``predicted_seconds``."""

    @property
    def error(self) -> float:
        """The predicted seconds over the measured ones, less 1."""
        return self.predicted_seconds / self.seconds - 1

    def to_json(self) -> JsonObject:
        """Returns the step as JSON."""
        return {**dataclasses.asdict(self), "error": self.error}


@dataclasses.dataclass(frozen=True)
class Work:
    """What a program of one device does, and how fast its machine was found to be."""

    kernels: tuple[tuple[float, float], ...]
    """The operations, and the bytes in memory, of each kernel that is no collective."""
    exchanged_bytes: tuple[int, ...]
    """The bytes of each collective."""
    flops_per_s: float
    """The measured rate of a large product, by all cores together."""
    bytes_per_s: float
    """The measured rate of copying, by all cores together."""
    latency: float
    """The measured seconds of a collective of a few bytes over these devices."""

    @property
    def seconds(self) -> float:
        """The bound of all kernels on one device that has the cores to itself."""
        return sum(max(flops / self.flops_per_s, size / self.bytes_per_s) for flops, size in self.kernels)


def compare(
    recipe: str, config: TrainConfig, devices: Sequence[int], *, weak: bool, rounds: int = ROUNDS
) -> list[Simulated]:
    """Measures a recipe's step on numbers of simulated devices, in processes that take turns, and predicts it.

    Args:
        recipe: the name or the path of the recipe, which may register what its config names.
        config: the config, whose batch is that of all devices.
        devices: numbers of devices.
        weak: whether each device gets as many images as the largest number of devices leaves to one of them; otherwise
            they share the config's batch.
        rounds: the turns that each number of devices takes.

    Raises:
        UserError: the batch cannot be split over the devices, or the recipe cannot be trained here.
    """
    counts = sorted({1, *devices})
    for count in counts:
        if config.data.batch_size % count:
            raise UserError(
                f"--simulated {count} does not divide data.batch_size {config.data.batch_size}: give numbers that do"
            )
    share = config.data.batch_size // counts[-1]
    with tempfile.TemporaryDirectory() as folder:
        commands, files = {}, {}
        for count in counts:
            size = share * count if weak else config.data.batch_size
            data = dataclasses.replace(config.data, batch_size=size)
            files[count] = Path(folder) / f"{count}.json"
            text = to_json(dataclasses.replace(config, data=data))
            name = f"of {count} simulated devices"
            commands[name] = [__name__, str(count), recipe, text, str(files[count])]
        taken = race(commands, rounds=rounds + 1, steps=1, warm_up=1)
        works = {count: _work(json.loads(file.read_text())) for count, file in files.items()}
    # In the first round each measures the machine, too: none of the others runs then.
    medians = [statistics.median(times[1:]) for times in taken.values()]
    seconds = dict(zip(counts, medians, strict=True))
    return predicted(works, seconds, {count: share if weak else config.data.batch_size // count for count in counts})


def predicted(works: Mapping[int, Work], seconds: Mapping[int, float], batches: Mapping[int, int]) -> list[Simulated]:
    """Returns the measured steps, each with its prediction, by the number of devices.

    All devices compute on the same cores, and so the work of a step is that of all their programs. It takes as long,
    against its bound, as the step of one device does. A collective takes its latency, and each device reads what it
    gives and what it gets, and writes this.

    Args:
        works: what one device does, by the number of devices, of which one is 1.
        seconds: the measured seconds of a step, by the number of devices.
        batches: the number of images on each device.
    """
    # The rates are the machine's, however many devices it pretends to have.
    rates = {"flops_per_s": works[1].flops_per_s, "bytes_per_s": works[1].bytes_per_s}
    alone = works[1].seconds
    found = []
    for count, work in sorted(works.items()):
        computed = seconds[1] * count * dataclasses.replace(work, **rates).seconds / alone
        exchanges = work.exchanged_bytes if count > 1 else ()
        exchanged = sum(work.latency + 3 * count * size / works[1].bytes_per_s for size in exchanges)
        step = Simulated(
            count, batches[count], seconds[count], computed + exchanged, sum(work.exchanged_bytes), exchanged
        )
        found.append(step)
    return found


def _work(found: JsonObject) -> Work:
    return Work(
        kernels=tuple((flops, size) for flops, size in found["kernels"]),
        exchanged_bytes=tuple(found["exchanged_bytes"]),
        flops_per_s=found["flops_per_s"],
        bytes_per_s=found["bytes_per_s"],
        latency=found["latency"],
    )


def _measured_work(program: Program, parallel: DataParallel) -> Work:
    """Returns the work of a program, and the rates of this machine as they are found now."""
    kernels = [each for each in program.kernels if each.collective is None for _ in range(each.count)]
    exchanges = [each.collective for each in program.kernels if each.collective for _ in range(each.count)]
    size, length = 1024, 1 << 24
    square, line = jnp.ones((size, size)), jnp.ones(length)
    summed = jax.jit(
        jax.shard_map(
            lambda x: jax.lax.psum(x, AXIS),
            mesh=parallel.mesh,
            in_specs=parallel.split.spec,
            out_specs=parallel.replicated.spec,
        )
    )
    few = jax.device_put(jnp.ones(8 * parallel.mesh.size), parallel.split)
    return Work(
        tuple((each.flops, each.bytes) for each in kernels),
        tuple(each.bytes for each in exchanges),
        flops_per_s=2 * size**3 / _seconds(jax.jit(lambda x: x @ x), square),
        bytes_per_s=2 * 4 * length / _seconds(jax.jit(lambda x: x + 1), line),
        latency=_seconds(summed, few),
    )


def _seconds(function: Callable[[jax.Array], jax.Array], array: jax.Array, times: int = 11) -> float:
    """Returns the median seconds of a call, after one that is not timed."""
    jax.block_until_ready(function(array))
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        jax.block_until_ready(function(array))
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _contender(assembly: Assembly, file: Path) -> Callable[[int], None]:
    """Compiles a step, writes down its work, and returns a function that takes a number of steps."""
    compiled, _ = compile_step(assembly)
    program = Program.of(compiled)
    batch, state, totals = first_batch(assembly), assembly.make_state(), zero_totals()
    turns = 0

    def run(steps: int) -> None:
        nonlocal state, totals, turns
        for _ in range(steps):
            state, totals = settled(compiled(state, totals, batch))
        jax.block_until_ready(state)
        turns += 1
        if turns == 2:  # after all have warmed up, and are stopped
            work = _measured_work(program, assembly.parallel)
            file.write_text(strict_json.dumps(dataclasses.asdict(work)))

    return run


if __name__ == "__main__":
    count, recipe, text, file = sys.argv[1:]
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", int(count))
    load_recipe(recipe)
    config = from_json(text)
    serve(_contender(assemble(config, data_or_stand_in(config.data)[0]), Path(file)))
