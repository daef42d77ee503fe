"""What a run would take, before it is started: its steps, the memory of its compiled step, an estimate of its time."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Mapping

import jax
import numpy as np

from jaxcnn.assembly import Assembly, abstract_arguments, assemble, count_parameters, keep_memory
from jaxcnn.config import DataConfig, TrainConfig
from jaxcnn.data.opening import open_data
from jaxcnn.data.pipeline import Data
from jaxcnn.data.sources.tfds import tfds_builder
from jaxcnn.data.stand_in import stand_in
from jaxcnn.devices.compilation import nothing_kept
from jaxcnn.devices.feed import Batch
from jaxcnn.devices.memory import settled
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.devices.topologies import usable_memory
from jaxcnn.errors import UserError
from jaxcnn.ops.backend import rules_of
from jaxcnn.training.step import zero_totals
from jaxcnn.types import PyTree

TIMED_STEPS = 5
"""The number of steps that are timed."""
TIMED_SECONDS = 60.0
"""The number of seconds after which no further step is timed."""
_ASSUMED = " (ILSVRC-2012's sizes, assumed: the data set is not prepared here)"


class DoesNotFit(UserError):
    """An error for a step that needs more memory than a device has."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """The memory that a step needs on each device, in bytes."""

    held: dict[str, int]
    """The sizes of the arrays that stay from step to step, and of the batch, by name."""
    gradients: int
    """The size of the gradients, which are part of ``temporaries``."""
    temporaries: int
    """The size of what the compiled step allocates while it runs, which is mostly activations."""
    program: int
    """The size of the compiled step itself."""

    @property
    def total(self) -> int:
        """The sum of all these sizes."""
        return sum(self.held.values()) + self.temporaries + self.program


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What a run would take: its steps, memory and time."""

    config: TrainConfig
    """The config with everything resolved."""
    devices: tuple[str, ...]
    """The kind of each device."""
    parameters: int
    trained_parameters: int
    training_images: int
    evaluation_images: int
    assumed: bool
    """Whether these sizes are ILSVRC-2012's by assumption, and not read off the data set."""
    total_steps: int
    memory: Memory
    seconds_a_step: float | None
    """The time of the step alone, on images that are on the devices already; None where there is no device to time it
    on."""

    def report(self) -> str:
        """Returns everything as lines of text."""
        config, memory = self.config, self.memory
        batch_size = config.data.batch_size
        trained = "" if self.trained_parameters == self.parameters else f", {self.trained_parameters:,} of them trained"
        lines = [
            f"{config.name}: {config.model.name}, {self.parameters:,} parameters{trained}, on {_count(self.devices)}",
            f"{self.total_steps:,} steps of {batch_size:,} images: {config.epochs:g} epochs of "
            f"{self.training_images:,}, {self.total_steps * batch_size:,} samples; {self.evaluation_images:,} to "
            f"evaluate on{_ASSUMED if self.assumed else ''}",
            "memory on each device, in MB:",
            *(f"  {name:20} {_mb(size)}" for name, size in memory.held.items()),
            f"  {'temporaries':20} {_mb(memory.temporaries)}  (activations, {memory.gradients / 1e6:,.1f} of "
            "gradients, and what else a step needs)",
            f"  {'program':20} {_mb(memory.program)}",
            f"  {'in all':20} {_mb(memory.total)}",
        ]
        if self.seconds_a_step is not None:
            seconds = self.seconds_a_step
            lines.append(
                f"time: {1e3 * seconds:,.1f} ms a step, {batch_size / seconds:,.0f} images/s, "
                f"{_duration(seconds * self.total_steps)} in all, for the steps alone, on images that are "
                "there already: reading them and evaluation take further time"
            )
        return "\n".join([*lines, f"published: {config.published}"])


def _count(devices: tuple[str, ...]) -> str:
    return " and ".join(f"{devices.count(kind)} x {kind}" for kind in dict.fromkeys(devices))


def _mb(size: int) -> str:
    return f"{size / 1e6:12,.1f}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} seconds"


def compile_step(assembly: Assembly, options: Mapping[str, str] | None = None) -> tuple[jax.stages.Compiled, Memory]:
    """Compiles the run's own training step, and returns it with the memory that it needs; allocates nothing.

    Args:
        assembly: the parts of the run.
        options: options of XLA for this program alone.

    Raises:
        DoesNotFit: the compiler finds that the step does not fit in memory.
    """
    arguments = abstract_arguments(assembly)
    lowered = assembly.train_step.lower(*arguments)
    there = assembly.parallel.mesh.devices.flat[0] in jax.devices()
    with refusing_exhausted(assembly.config), contextlib.nullcontext() if there else nothing_kept():
        compiled = lowered.compile(compiler_options=dict(options) if options else None)
    return compiled, memory_of(compiled, assembly)


def memory_of(compiled: jax.stages.Compiled, assembly: Assembly) -> Memory:
    """Returns the memory that the compiled training step of an assembly needs."""
    state, _, batch = abstract_arguments(assembly)
    held = {
        "parameters": state.params,
        "batch statistics": state.batch_stats,
        "optimizer state": state.optimizer_state,
        "moving average": state.ema,
        "batch": {name: leaf for name, leaf in batch.items() if name != "resident"},
        "data set": batch.get("resident"),
    }
    found = compiled.memory_analysis()
    assert found is not None  # CPUs, GPUs and TPUs all have one
    return Memory(
        held={name: size for name, tree in held.items() if (size := _bytes_on_a_device(tree))},
        gradients=_bytes_on_a_device(assembly.trained(state.params)),
        temporaries=found.temp_size_in_bytes,
        program=found.generated_code_size_in_bytes,
    )


def _bytes_on_a_device(tree: PyTree) -> int:
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@contextlib.contextmanager
def refusing_exhausted(config: TrainConfig) -> Generator[None]:
    """Raises `DoesNotFit` instead of the runtime's error about memory; any other error stays as it is."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        raise _does_not_fit(config) from error


def _does_not_fit(config: TrainConfig) -> DoesNotFit:
    return DoesNotFit(
        f"the training step does not fit in a device's memory at data.batch_size {config.data.batch_size}: lower it, "
        "compute it in parts (parallel.micro_batches), use more devices, or let stages compute their activations again "
        "(model.remat)"
    )


def stepping(compiled: jax.stages.Compiled, assembly: Assembly) -> Callable[[], None]:
    """Returns a function that takes one step on the devices and waits for its end; the first one has been taken.

    The images are on the devices already. They are the data set's own where it is resident, and noise where it is not.

    Raises:
        DoesNotFit: the devices do not have the memory.
    """
    keep_memory(assembly.config, assembly.data)
    with refusing_exhausted(assembly.config):
        batch = first_batch(assembly)
        state, totals = assembly.make_state(), zero_totals()

        def step() -> None:
            nonlocal state, totals
            state, totals = jax.block_until_ready(settled(compiled(state, totals, batch)))

        step()
    return step


def time_step(step: Callable[[], None]) -> float:
    """Returns the seconds that a step of `stepping` takes: the mean of a few."""
    start, steps = time.perf_counter(), 0
    while steps < TIMED_STEPS and time.perf_counter() - start < TIMED_SECONDS:
        step()
        steps += 1
    return (time.perf_counter() - start) / steps


def first_batch(assembly: Assembly) -> Batch:
    """Returns a batch on the devices, of the data set's own images where it is resident, and of noise where not."""
    feed = assembly.train_feed
    if feed.split.resident:
        return next(feed.training(0, 1))
    random, classes = np.random.default_rng(0), len(assembly.data.class_names)
    bounds = {"image": 256, "label": classes, "epoch": 1}
    noise = {
        name: np.arange(feed.batch_size, dtype=np.int32)
        if name == "position"
        else random.integers(bounds[name], size=leaf.shape, dtype=leaf.dtype)
        for name, leaf in feed.abstract.items()
    }
    return assembly.parallel.put_batch(noise)


def data_or_stand_in(config: DataConfig) -> tuple[Data, bool]:
    """Returns the data set, and whether it is a stand-in: ILSVRC-2012 has one where it is not prepared yet.

    Raises:
        UserError: as `open_data` does, for any other data set.
    """
    kind, _, name = config.name.partition(":")
    own_splits = config.train_split is None and config.evaluation_split is None
    if kind == "tfds" and name.partition(":")[0] == "imagenet2012" and own_splits:
        try:
            tfds_builder(name, config.data_dir)
        except UserError:
            return stand_in(config), True
    return open_data(config), False


@own_settings()
def dry_run(config: TrainConfig, topology: DataParallel | None = None) -> DryRun:
    """Returns what a run of this config would take; compiles its step, and writes nothing.

    Args:
        config: the options of the run.
        topology: the devices to compile for, which need not be there: see `over_topology`. By default the step is
            compiled for those of this process, and timed on them.

    Raises:
        DoesNotFit: the step does not fit in a device's memory.
        UserError: as `assemble` does.
    """
    data, assumed = data_or_stand_in(config.data)
    parallel = topology or DataParallel.over_all_devices()
    devices = list(parallel.mesh.devices.flat)
    with rules_of(devices[0].platform):
        assembly = assemble(config, data, parallel)
        compiled, memory = compile_step(assembly)
    if topology and memory.total > usable_memory(devices[0]):
        raise _does_not_fit(config)
    params = assembly.abstract_state.params
    return DryRun(
        config=assembly.config,
        devices=tuple(device.device_kind for device in devices),
        parameters=count_parameters(params),
        trained_parameters=count_parameters(assembly.trained(params)),
        training_images=data.train.size,
        evaluation_images=data.evaluation.size,
        assumed=assumed,
        total_steps=assembly.total_steps,
        memory=memory,
        seconds_a_step=None if topology else time_step(stepping(compiled, assembly)),
    )


def with_fewest_micro_batches(config: TrainConfig, topology: DataParallel) -> DryRun:
    """Returns `dry_run` of the recipe with the fewest micro-batches that fit in memory, doubled from the recipe's own.

    Args:
        config: the recipe.
        topology: the devices to compile for.

    Raises:
        DoesNotFit: the step does not fit, and the batch cannot be split further.
    """
    count = config.parallel.micro_batches
    while True:
        parallel = dataclasses.replace(config.parallel, micro_batches=count)
        try:
            return dry_run(dataclasses.replace(config, parallel=parallel), topology)
        except DoesNotFit:
            count *= 2
            if config.data.batch_size % (topology.mesh.size * count):
                raise
