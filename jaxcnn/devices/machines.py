"""Accelerators as published: what they compute, hold, read and send in a second. None of these figures is measured."""

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping
from typing import Literal

import jax

from jaxcnn.errors import UserError, nearest
from jaxcnn.types import Json


@dataclasses.dataclass(frozen=True)
class Machine:
    """The published figures of one chip, and of the host that it sits in; they are ceilings, which no program reaches.

    A chip may be several of JAX's devices: see ``devices_per_chip``.
    """

    name: str
    """The name as in a topology: ``h100``, ``v5e``."""
    title: str
    """The name in words."""
    kind: Literal["gpu", "tpu"]
    """The platform that JAX gives its devices."""
    device_kinds: tuple[str, ...]
    """The kinds that JAX gives its devices, by which `machine_of` knows them."""
    devices_per_chip: int
    """The number of JAX's devices in a chip: two where it has two cores that are no single device."""
    flops: Mapping[str, float]
    """The dense FLOP/s by the type that is multiplied: ``bfloat16``, ``float16``, ``tensorfloat32``, ``float32``."""
    memory_bytes: float
    """The size of the memory, as sold."""
    memory_bytes_per_s: float
    """The bandwidth of the memory."""
    link_bytes_per_s: float | None
    """The bandwidth to other chips, one way and over all links together; None where no figure was found."""
    links: int
    """The number of links that this is the sum of: 1 to a switch (GPUs), 2 for each axis of a torus (TPUs), 0 if
    there are none or none are known."""
    chips_per_domain: int | None
    """The number of chips that links connect: a host's or a rack's GPUs, or a pod's TPUs; None where not found."""
    chips_per_host: int | None
    """The number of chips in a host; None where no figure was found."""
    host_bytes_per_s: float | None
    """The bandwidth of a host's network, one way; None where no figure was found."""
    watts: float | None
    """The thermal design power of a GPU, or the mean power that is published of a TPU; None where not found."""
    sources: Mapping[str, tuple[str, ...]]
    """Where the figures come from: for each group of them, files (``repository:path``) or addresses."""
    note: str = ""
    """A remark on the figures."""
    also: Mapping[str, Mapping[str, tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    """The figures that other sources give, each with those sources."""
    target: Mapping[str, Json] = dataclasses.field(default_factory=dict)
    """What XLA needs to know of a GPU in order to compile for it; empty where it has no such description."""

    def flops_of(self, dtype: str) -> float:
        """Returns a chip's dense FLOP/s for products of a type.

        Types that it has no figure for are computed as the next wider one that it has. A TPU computes exact products of
        float32 as six of bfloat16, which JAX calls the highest precision; at the default one, it takes bfloat16.
        """
        if self.kind == "tpu" and dtype == "float32":
            return self.flops["bfloat16"] / 6
        wider = {
            "bfloat16": ("bfloat16", "float32"),
            "float16": ("float16", "bfloat16", "float32"),
            "tensorfloat32": ("tensorfloat32", "float32", "bfloat16"),
            "int8": ("int8", "float16", "bfloat16"),
        }
        for name in wider.get(dtype, (dtype, "float32", "bfloat16")):
            if name in self.flops:
                return self.flops[name]
        return max(self.flops.values())


@functools.cache
def machines() -> Mapping[str, Machine]:
    """Returns all machines by name; ``machines.json`` holds them with their sources."""
    text = (importlib.resources.files("jaxcnn.devices") / "machines.json").read_text()
    return {name: _machine(name, facts) for name, facts in json.loads(text).items()}


def _machine(name: str, facts: dict[str, Json]) -> Machine:
    also = {figure: _sources(others) for figure, others in facts.pop("also", {}).items()}
    kinds, sources = tuple(facts.pop("device_kinds")), _sources(facts.pop("sources"))
    return Machine(name=name, device_kinds=kinds, sources=sources, also=also, **facts)


def _sources(by_figure: Mapping[str, Json]) -> dict[str, tuple[str, ...]]:
    return {figure: (each,) if isinstance(each, str) else tuple(each) for figure, each in by_figure.items()}


def machine(name: str) -> Machine:
    """Returns a machine by its name.

    Raises:
        UserError: there is no machine of this name. The message names those that come near.
    """
    try:
        return machines()[name]
    except KeyError:
        raise UserError(f"there is no machine {name!r}: {nearest(name, machines())}") from None


def machine_of(device: jax.Device) -> Machine | None:
    """Returns the machine that a device of JAX is, or a part of; None if it is none that we have figures of."""
    return next((each for each in machines().values() if device.device_kind in each.device_kinds), None)
