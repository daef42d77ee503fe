"""Training runs that others published: how many images a second which network trained with, on how many chips.

None of the figures is ours. ``published_runs.json`` holds them, each with its source and how it was read off there.
"""

import dataclasses
import functools
import importlib.resources
import json


@dataclasses.dataclass(frozen=True)
class PublishedRun:
    """A run that somebody else measured and published."""

    network: str
    """The name of the network here: one of ``jaxcnn.list_models()``."""
    series: str
    """The framework, or the contest and who took part: runs of a series differ in little but their chips."""
    machine: str
    """The name of the machine, as `jaxcnn.devices.machines.machine` takes it."""
    chips: int
    batch_per_chip: int
    """The images of a step on each chip."""
    precision: str
    """The type of the products, such as ``float16``."""
    images_per_second: float
    """The images a second, over all chips."""
    how: str
    """The way in which the figure was read off the source."""
    source: str
    """The file (``repository:path``) or the address of the source."""
    date: str = ""
    note: str = ""
    chips_per_domain: int | None = None
    """The number of chips that links joined, where it was not the machine's own."""


@functools.cache
def published_runs() -> tuple[PublishedRun, ...]:
    """Returns all published runs."""
    text = (importlib.resources.files("jaxcnn.laboratory") / "published_runs.json").read_text()
    return tuple(PublishedRun(**each) for each in json.loads(text))


def runs_of(network: str, machine: str, dtype: str) -> tuple[PublishedRun, ...]:
    """Returns the published runs of a network on a machine, by series and then by the number of chips.

    Args:
        network: the name of the network.
        machine: the name of the machine.
        dtype: the type of the computation. Both 16-bit types take the same time, and so they count as one; float32
            stands for itself alone, because what is published as TF32 is not.
    """
    alike = {"bfloat16", "float16"} if dtype in ("bfloat16", "float16") else {dtype}
    found = [
        each
        for each in published_runs()
        if (each.network, each.machine) == (network, machine) and each.precision in alike
    ]
    return tuple(sorted(found, key=lambda each: (each.series, each.chips, each.date)))
