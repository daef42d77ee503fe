"""What is known of this machine's processor, and what can be measured of it in a second.

`jaxcnn.ops.lowering_rules` chooses by it, and benchmarks say it. The facts are complete on Linux; elsewhere, what the
system does not tell is left out.
"""

import dataclasses
import functools
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxcnn import strict_json
from jaxcnn.provenance import digest

_WIDTHS = (("avx512f", 512), ("avx2", 256), ("avx", 256))
"""The bits of a vector register by the name of an instruction set; the first that a processor has counts."""
_LEAST = 128
"""The bits of a vector register of a processor that has none of these: SSE and NEON have as many."""
_CAPS = {"SSE4_2": 128, "AVX": 256, "AVX2": 256}
"""The bits of a vector register that XLA uses at most, by the value of ``xla_cpu_max_isa``."""
_ARRAY = 128 << 20
"""The least size in bytes of the array whose reading and writing measures the memory."""


@dataclasses.dataclass(frozen=True)
class Processor:
    """The facts of a processor on which the speed of a lowering depends."""

    name: str
    """The name that the processor gives itself."""
    vector_bits: int
    """The width of a vector register as XLA uses it, in bits: 512 with AVX-512, 256 with AVX2, 128 with SSE or NEON."""
    caches: tuple[int, ...]
    """The sizes in bytes of the caches that a core sees for data, the nearest first; empty where they are not known."""
    cores: int
    """The number of cores that this process may use."""

    @property
    def key(self) -> str:
        """A name for files that hold what was measured on such a processor: readable, and different for any other."""
        words = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:40] or "unknown"
        facts = digest(repr(dataclasses.astuple(self)))[:8]
        return f"{words}-{self.vector_bits}bit-{self.cores}cores-{facts}"

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        caches = f", caches of {' + '.join(map(_size, self.caches))}" if self.caches else ""
        return f"{self.name}, {cores}, vectors of {self.vector_bits} bits{caches}"


@dataclasses.dataclass(frozen=True)
class Peak:
    """What a processor was measured to reach with all cores, while whatever else runs on the machine ran."""

    gigaflops: float
    """The billions of operations a second of a product of large float32 matrices."""
    gigabytes_per_s: float
    """The billions of bytes a second that are read and written where an array of float32 is scaled in place."""

    def __str__(self) -> str:
        return f"{self.gigaflops:,.0f} GFLOP/s (float32 products) and {self.gigabytes_per_s:,.1f} GB/s (memory)"


@functools.cache
def this_processor() -> Processor:
    """Returns the facts of the processor that this process runs on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return described(_cpuinfo(), _caches(), cores, os.environ.get("XLA_FLAGS", ""))


def described(cpuinfo: str, caches: tuple[int, ...], cores: int, xla_flags: str) -> Processor:
    """Returns the facts that texts of the system say.

    Args:
        cpuinfo: ``/proc/cpuinfo`` of Linux, or lines of the same form.
        caches: the sizes of the caches in bytes, the nearest first.
        cores: the number of cores that may be used.
        xla_flags: ``XLA_FLAGS``, whose ``--xla_cpu_max_isa`` makes XLA use narrower vectors than there are.
    """
    lines = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in cpuinfo.splitlines())]
    facts = dict(reversed(lines))  # those of the first core
    known = set(facts.get("flags", facts.get("Features", "")).lower().split())
    width = next((bits for name, bits in _WIDTHS if name in known), _LEAST)
    if capped := re.findall(r"--xla_cpu_max_isa=(\w+)", xla_flags):
        width = min(width, _CAPS.get(capped[-1].upper(), width))
    model = ", ".join(facts[name] for name in ("cpu family", "model", "CPU part") if facts.get(name))
    name = facts.get("model name") or platform.processor() or platform.machine() or "unknown"
    # Virtual machines hide the name, such as "AMD EPYC" for all generations of it; the numbers tell them apart.
    return Processor(f"{name} ({model})" if model else name, width, caches, cores)


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return _sysctl() if sys.platform == "darwin" else ""


def _sysctl() -> str:
    """Returns what macOS says, in the form of ``/proc/cpuinfo``."""
    command = ["sysctl", "-n", "machdep.cpu.brand_string", "machdep.cpu.leaf7_features"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        return ""
    return "\n".join(f"{name} : {value}" for name, value in zip(("model name", "flags"), said, strict=False))


def _caches() -> tuple[int, ...]:
    found = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                found[int(level)] = int(size.removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return tuple(size for _, size in sorted(found.items()))


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def measured_peak(seconds: float = 1.0, *, side: int = 1536, least: int = _ARRAY) -> Peak:
    """Measures what this process's CPU reaches: the best of as many calls as fit into the time.

    Args:
        seconds: the time that both measurements take together, besides what is made before them.
        side: the number of rows and columns of the matrices.
        least: the least size of the array in bytes; four times the largest cache where that is more.
    """
    with jax.default_device(jax.devices("cpu")[0]):
        matrix = jnp.ones((side, side), jnp.float32)
        product = _best(jax.jit(lambda matrix: matrix @ matrix), lambda _: matrix, seconds / 2)
        count = min(max(least, 4 * max(this_processor().caches, default=0)), 1 << 30) // 4
        scaled = jax.jit(lambda array: array * jnp.float32(0.5), donate_argnums=0)
        memory = _best(scaled, lambda before: jnp.ones(count, jnp.float32) if before is None else before, seconds / 2)
    return Peak(2e-9 * side**3 / product, 8e-9 * count / memory)


def _best(call: Callable[[jax.Array], jax.Array], argument: Callable[[jax.Array | None], jax.Array], seconds: float):
    """Returns the least time of a call in seconds; what it returns is what the next argument may be made of."""
    result = jax.block_until_ready(call(argument(None)))  # which compiles it
    best, ends = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < ends:
        given = argument(result)
        started = time.perf_counter()
        result = jax.block_until_ready(call(given))
        best = min(best, time.perf_counter() - started)
    return best


if __name__ == "__main__":
    print(strict_json.dumps(dataclasses.asdict(measured_peak())))
