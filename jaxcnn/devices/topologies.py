"""Devices that this machine does not have, to compile for: TPUs by libtpu, GPUs by the plugin for CUDA."""

import importlib.util
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental import topologies

from jaxcnn.devices.autotuning import description_of
from jaxcnn.devices.machines import Machine, machine_of, machines
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError, nearest
from jaxcnn.text import escaped

# Nothing is run, so several processes may compile at the same time, and there is no pod whose hosts must be found.
_ENVIRONMENT = {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
# JAX makes a mesh of v4's chips only where their two cores are one device.
_OPTIONS = {"v4": {"chip_config_name": "megacore"}}
_PACKAGES = {"tpu": "libtpu", "gpu": "jax_plugins.xla_cuda13"}
_EXTRAS = {"tpu": "tpu", "gpu": "cuda"}
_CUDNN = (9, 12, 0)
"""The version of cuDNN to compile for; what it is on the cluster is not known here."""
_CUDA = (13, 0, 0)
_TAKEN_BY_JAX = "0.75"


def over_topology(name: str, tuned: Path | None = None) -> DataParallel:
    """Returns data parallelism over the devices of a topology, which need not be there, for `dry_run` to use.

    Args:
        name: a machine, a colon, and its chips: ``v5e:4x4`` for 16 TPUs in a square, ``h100:8`` for the eight GPUs of
            a host, ``h100:4x8`` for four such hosts. `topology_lines` lists the machines.
        tuned: the folder of what XLA has found out on such a GPU: see `jaxcnn.devices.autotuning`. The GPU is then as
            that one describes itself.

    Raises:
        UserError: there is no such machine or no such arrangement of its chips, or what compiles for it is not
            installed, or the folder is that of another machine.
    """
    known, sizes = _parsed(name)
    if known.kind == "gpu":
        _check_hosts(known, sizes)
    elif tuned is not None:
        raise UserError(f"--tuned {tuned} is of no use for {known.title}, whose kernels are not timed: leave it out")
    description = description_of(tuned, known) if tuned else gpu_target(known) if known.target else ""
    _check_installed(known.kind, name)
    return DataParallel.over(_tpus(known, sizes) if known.kind == "tpu" else _gpus(known, sizes, description))


def usable_memory(device: jax.Device) -> float:
    """Returns the bytes of a device of a topology that a program must fit in, where its compiler does not see to it.

    JAX takes three quarters of a GPU's memory, or the part that ``XLA_CLIENT_MEM_FRACTION`` says, and the compiler for
    GPUs does not refuse what exceeds it. For other devices it is infinite: the compiler for TPUs does refuse.

    Raises:
        UserError: the variable holds no number.
    """
    known = machine_of(device)
    if known is None or not known.target:
        return math.inf
    text = os.environ.get("XLA_CLIENT_MEM_FRACTION") or _TAKEN_BY_JAX
    try:
        return float(text) * known.target["device_memory_size"]
    except ValueError:
        raise UserError(
            f"XLA_CLIENT_MEM_FRACTION is {escaped(text)!r}, which is no number: set it as in 0.75"
        ) from None


def topology_lines() -> Iterator[str]:
    """Yields a line on each machine that can be compiled for, with an example of a topology."""
    for each in _compiled_for():
        memory = f"{each.memory_bytes / 1e9:.0f} GB"
        if each.kind == "gpu":
            yield (
                f"{each.name + ':' + str(each.chips_per_host):12} {each.title}, {memory}; up to {each.chips_per_host} "
                f"to a host, more hosts as in {each.name}:4x{each.chips_per_host}"
            )
        else:
            yield f"{each.name + ':' + _smallest(each):12} {each.title}, {memory}; the chips along each axis of a slice"


def _compiled_for() -> list[Machine]:
    return [each for each in machines().values() if each.kind == "tpu" or each.target]


def _smallest(tpu: Machine) -> str:
    return "2x2x1" if tpu.links == 6 else "2x2"


def _parsed(name: str) -> tuple[Machine, tuple[int, ...]]:
    """Returns the machine that a topology names, and the numbers after the colon."""
    first, _, rest = name.partition(":")
    known = {each.name: each for each in _compiled_for()}
    if first not in known:
        raise UserError(
            f"there is no machine {escaped(first)!r} to compile for in --topology {escaped(name)}: "
            f"{nearest(first, known)} (list shows them all)"
        )
    if not re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5}){0,2}", rest):
        example = f"{first}:{known[first].chips_per_host}" if known[first].kind == "gpu" else _example(known[first])
        raise UserError(f"--topology {escaped(name)} does not say how many chips: write them as in {example}")
    return known[first], tuple(int(each) for each in rest.split("x"))


def _example(tpu: Machine) -> str:
    return f"{tpu.name}:{_smallest(tpu)}"


def _check_hosts(gpu: Machine, sizes: tuple[int, ...]) -> None:
    if len(sizes) > 2:
        raise UserError(
            f"--topology {gpu.name}:{'x'.join(map(str, sizes))} has too many numbers for GPUs: give hosts and the GPUs "
            f"of each, as in {gpu.name}:4x{gpu.chips_per_host}"
        )
    hosts, each = (1, *sizes)[-2:]
    if gpu.chips_per_host is not None and each > gpu.chips_per_host:
        raise UserError(
            f"--topology {gpu.name}:{'x'.join(map(str, sizes))} has {each} GPUs in a host, which holds "
            f"{gpu.chips_per_host}: give hosts too, as in {gpu.name}:{math.ceil(hosts * each / gpu.chips_per_host)}x"
            f"{gpu.chips_per_host}"
        )


def _check_installed(kind: str, name: str) -> None:
    package = _PACKAGES[kind]
    parent = package.partition(".")[0]
    if importlib.util.find_spec(parent) is None or importlib.util.find_spec(package) is None:
        raise UserError(
            f"--topology {name} needs the compiler for {kind.upper()}s, which is not installed: pip install "
            f"'jaxcnn[{_EXTRAS[kind]}]' (no {kind.upper()} is needed)"
        )


def _tpus(tpu: Machine, sizes: tuple[int, ...]) -> list[jax.Device]:
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    spelled = f"{tpu.name}:{'x'.join(map(str, sizes))}"
    try:
        options = _OPTIONS.get(tpu.name, {})
        return list(topologies.get_topology_desc(spelled, platform="tpu", **options).devices)
    except Exception as error:  # libtpu raises several types
        reason = str(error).splitlines()[0]
        raise UserError(
            f"libtpu knows no slice {spelled} to compile for: name one as in {_example(tpu)} ({escaped(reason)})"
        ) from None


def _gpus(gpu: Machine, sizes: tuple[int, ...], description: str) -> list[jax.Device]:
    hosts, each = (1, *sizes)[-2:]
    try:
        found = topologies.get_topology_desc(
            platform="cuda", topology_name="", target_config=description, topology=f"1x{hosts}x{each}"
        )
    except Exception as error:  # the plugin raises several types
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the compiler for GPUs does not take the topology {gpu.name}:{hosts}x{each}: install jaxcnn[cuda] anew, "
            f"with the versions of constraints.txt ({escaped(reason)})"
        ) from None
    return list(found.devices)


def gpu_target(gpu: Machine) -> str:
    """Returns XLA's description of a GPU, a ``GpuTargetConfigProto`` as text.

    OpenXLA keeps such descriptions in ``xla/backends/gpu/target_config/specs``, from where the figures are. A field
    that is missing there is not missed, so `tests/devices/test_topologies.py` checks that all are given.
    """
    facts = dict(gpu.target)
    major, minor = facts.pop("cuda_compute_capability_major"), facts.pop("cuda_compute_capability_minor")
    description = facts.pop("device_description_str")
    info = [f"  {field}: {value}" for field, value in facts.items()]
    return "\n".join(
        [
            "gpu_device_info {",
            *info,
            f"  cuda_compute_capability {{ major: {major} minor: {minor} }}",
            "}",
            'platform_name: "CUDA"',
            f"dnn_version_info {_version(*_CUDNN)}",
            f"runtime_version {_version(*_CUDA)}",
            f'device_description_str: "{description}"',
        ]
    )


def _version(major: int, minor: int, patch: int) -> str:
    return f"{{ major: {major} minor: {minor} patch: {patch} }}"
