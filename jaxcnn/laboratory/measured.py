"""The measured time of a compiled step on the devices of this process, and of each of its kernels."""

import collections
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from jax.profiler import ProfileData

TRACED_STEPS = 5
"""The number of steps that are traced."""


class Event(NamedTuple):
    """One execution of a kernel, as a trace has it."""

    plane: str
    """What the trace is of: ``/device:GPU:0`` for a device, ``/host:CPU`` for the threads of this process."""
    kernel: str
    """The name of the instruction of the compiled program."""
    seconds: float


def time_kernels(step: Callable[[], None], devices: int, steps: int = TRACED_STEPS) -> dict[str, float]:
    """Returns the seconds that each kernel takes in a step, by the name of its instruction.

    They are medians over steps that are traced one by one. On a CPU a trace takes memory between two steps, after which
    the next may find no place for its buffers and get new pages from the system: in some steps each kernel that writes
    to them takes ten times as long. Tracing makes a step slower, and kernels may run side by side, so these do not add
    up to the time of the step.

    Args:
        step: a function that takes one step and waits for its end. It has been called before, so it compiles nothing.
        devices: the number of devices that take part, over which the times are averaged.
        steps: the number of steps that are traced.
    """
    found = []
    for _ in range(steps):
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                step()
            events = [event for path in Path(folder).rglob("*.xplane.pb") for event in _events(path)]
        found.append(seconds_by_kernel(events, devices))
    return medians(found)


def medians(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the median of each kernel's seconds over steps; where one has no such kernel, it counts as 0."""
    kernels = dict.fromkeys(kernel for seconds in steps for kernel in seconds)
    return {kernel: statistics.median(seconds.get(kernel, 0.0) for seconds in steps) for kernel in kernels}


def seconds_by_kernel(events: Iterable[Event], executions: int) -> dict[str, float]:
    """Returns the mean seconds of each kernel: its events' sum over the number of times that the program was executed.

    Where a trace has the times of a device, those of the threads that sent the work there do not count.
    """
    events = list(events)
    on_devices = [event for event in events if event.plane.startswith("/device:")]
    seconds: dict[str, float] = collections.defaultdict(float)
    for event in on_devices or events:
        seconds[event.kernel] += event.seconds / executions
    return dict(seconds)


def _events(path: Path) -> Iterable[Event]:
    with warnings.catch_warnings():
        # jaxlib 0.12 makes the type of an event's statistics in a way that Python 3.12 warns about, and ends the
        # process where that is an error.
        warnings.simplefilter("ignore", DeprecationWarning)
        return list(_read(ProfileData.from_file(str(path))))


def _read(trace: ProfileData) -> Iterable[Event]:
    for plane in trace.planes:
        for line in plane.lines:
            for event in line.events:
                kernel = next((value for name, value in event.stats if name == "hlo_op"), None)
                if kernel is not None:
                    yield Event(plane.name, str(kernel), event.duration_ns / 1e9)
