"""Settings of a process's memory: what the C library does with freed blocks, and how often Python collects garbage."""

import ctypes
import gc
import importlib.util
import os
import sys
import time
from typing import TypeVar

_T = TypeVar("_T")

LARGE_BATCH = 1 << 17
"""The size in bytes of a uint8 batch above which a step's buffers are worth keeping (see `keep_freed_memory`). With 64
images of 32x32 pixels ResNet-20's step took 0.57 of its time, and with 128 of 28x28 LeNet's took 1.3 times as long."""

_FREEING_SECONDS = 3e-3
"""How long XLA may take to free a step's buffers once its results are there. A step of ResNet-18 found them freed after
1 ms in 24 of 24 cases, and after 0.3 ms in most (two x86 cores)."""
_FREEING_SHARE, _FREEING_MOST = 5e-3, 25e-3
"""The share of a long step's time that is waited instead, and the most seconds: what is freed too late once in a
thousand steps is held from then on, and a thread on a shared machine can stand still for longer than 3 ms."""
_LATE_SHARE = 5e-2
"""The share of a step's time for which buffers are waited for that are not free even then."""
_LONG_STEP = 0.5
"""The seconds of a step from which on it is looked whether they are: a look goes over all gaps of the heap."""
_MUCH = 1 << 26
"""The bytes by which more may be in use than after the step before: what else a loop holds, such as batches, varies."""

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8

_GAPS = range(16 << 10, 1 << 20)
"""The sizes in bytes of the gaps that slow a step. Below, the C library has a list for nearly each size."""
_LARGEST_GAP = 1 << 26
"""The size in bytes of the pieces in which gaps that may be used again are taken meanwhile."""
_HEADER = 16
"""The bytes from the end of a block, whose size is a multiple of it, to the next one."""
_RESERVE = 1 << 26
"""The bytes that are set apart for blocks of middle size; only what is used of them becomes resident."""

COMPILED = "/jax/core/compile/backend_compile_duration"
"""The event by which JAX tells the seconds that the compiler took for a program, or reading it where it was kept."""
_MUCH_COMPILED = 1.0
"""The seconds of compiling that leave more behind than is lost by returning what the last step has freed as well."""

_kept = False
_settled_at: float | None = None
"""When the last step was settled."""
_in_use: int | None = None
"""The bytes that were in use then, if it was a long step."""
_compiled: float | None = None
"""The seconds that were spent compiling since they were last left behind; None where nobody has counted yet."""


class _Mallinfo2(ctypes.Structure):
    """What mallinfo2(3) returns: ten sizes, among them that of all blocks in use, and of what is free at the top."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (*"abcdefg", "uordblks", "i", "keepcost"))


def _mallinfo2() -> _Mallinfo2 | None:
    """Returns what the C library says of its heap; None where it says nothing."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):  # glibc before 2.33
        return None
    libc.mallinfo2.restype = _Mallinfo2
    return libc.mallinfo2()


def keep_freed_memory() -> bool:
    """Makes the C library keep freed memory, which it would otherwise return to the system and ask for again.

    On a CPU, XLA allocates a step's buffers anew each time. By default glibc maps large buffers afresh, and the system
    clears every page when it is first touched: copying an array of 51 MB took 53 ms in this way, and 2.8 ms with memory
    that is kept (two x86 cores). In return the process stays as large as it has ever been. So that this is not more
    than one step needs, a loop has to wait for each step with `settled` before it starts the next.

    `jaxcnn train`, `jaxcnn evaluate` and the benchmarks call it; a loop of your own on a CPU has to call it itself.
    Call it first, before JAX makes its first array or lists its devices: threads that allocate before it keep arenas of
    their own, from which large blocks go back to the system all the same. Call it only where buffers are large: all
    threads then share one arena, and a step of LeNet, whose buffers glibc keeps anyway, becomes about a fifth slower.
    It cannot be undone, and it does nothing except on Linux with glibc. It raises nothing.

    Returns:
        Whether the C library took the settings. Where another allocator is loaded before it, such as jemalloc by
        ``LD_PRELOAD``, it takes them and they have no effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # With one arena that grows in place, glibc keeps blocks of any size; with several it does not.
    global _kept
    _kept = all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_ARENA_MAX, 1)])
    return _kept


def keep_for_batches_of(size: int) -> None:
    """Keeps freed memory where the devices are CPUs and a batch has more than `LARGE_BATCH` bytes as uint8.

    It is best called before JAX makes its first array, which it does not do itself where there can be CPUs alone.
    """
    if size > LARGE_BATCH and (only_cpus() or _on_cpu()):
        keep_freed_memory()


def keep_for_answers() -> None:
    """Keeps freed memory where JAX can find CPUs alone, for what computes answers and has yet to start JAX."""
    if only_cpus():
        keep_freed_memory()


def only_cpus() -> bool:
    """Returns whether JAX has CPUs alone, as far as that can be told without asking it to look for devices."""
    jax = sys.modules.get("jax")
    platforms = jax.config.jax_platforms if jax else os.environ.get("JAX_PLATFORMS")
    if platforms:
        return platforms == "cpu"
    return not any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def _on_cpu() -> bool:
    import jax

    return jax.default_backend() == "cpu"


def settled(results: _T) -> _T:
    """Waits, where freed memory is kept, until a step is done and its buffers are free for the next.

    XLA allocates the buffers of a step when it is started, and frees them a moment after its results are there. A step
    that is started sooner gets others, and the process holds both from then on: that of ResNet-50's training grew to
    9.9 GB instead of 3.7, and its steps took longer while it grew. On a CPU there is nothing to gain from a start that
    is made sooner. Where much was compiled since the last call, it also does what `leave_compiling_behind` does. Where
    freed memory is not kept, it returns at once.

    Args:
        results: a pytree of arrays that the step returns.
    """
    if _kept:
        import jax

        jax.block_until_ready(results)
        global _settled_at
        taken = 0.0 if _settled_at is None else time.monotonic() - _settled_at
        time.sleep(max(_FREEING_SECONDS, min(_FREEING_SHARE * taken, _FREEING_MOST)))
        if taken > _LONG_STEP:
            _wait_for_late_buffers(_LATE_SHARE * taken)
        _settled_at = time.monotonic()
        if _compiled is None or _compiled > _MUCH_COMPILED:
            leave_compiling_behind()
    return results


def _wait_for_late_buffers(seconds: float) -> None:
    """Waits until not much more is in use than after the step before, but no longer than this.

    On a machine that does other work too, the thread that frees a step's buffers can stand still for longer than any
    fixed time: Inception v3's training held 7.8 GB instead of 4.5 in one run of two.
    """
    global _in_use
    until = time.monotonic() + seconds
    most = None if _in_use is None else _in_use + _MUCH
    while (heap := _mallinfo2()) and most is not None and heap.uordblks > most and time.monotonic() < until:
        time.sleep(_FREEING_SECONDS)
    _in_use = heap.uordblks if heap else None


def leave_compiling_behind() -> None:
    """Returns to the system what compiling left of freed memory, and takes its many small gaps out of use.

    Where freed memory is kept, the compiler's blocks and those of a step lie in one heap. Compiling RegNetY-400MF's
    step leaves 95,000 gaps there, and whenever a kernel asks for room to pack its operands, the C library searches
    those of about its size one by one, while the other threads wait. Such a step took 1.06 to 1.13 s, and 0.95 s once
    the gaps above 16 KiB were occupied (two x86 cores; three processes). What occupies them has addresses but next to
    no memory, about 4 KiB for each gap.

    It does nothing where freed memory is not kept.
    """
    if not _kept:
        return
    global _compiled, _in_use
    if _compiled is None:
        import jax

        jax.monitoring.register_event_duration_secs_listener(_count_compiling)
    _compiled = 0.0
    ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
    _occupy_gaps()
    _in_use = None  # the gaps are in use from now on, and are no buffers that will be freed


def _count_compiling(event: str, duration_secs: float, **_: str | int) -> None:
    global _compiled
    if event == COMPILED and _compiled is not None:
        _compiled += duration_secs


def _occupy_gaps() -> int:
    """Allocates, for good, the gaps in the heap below its top that are of `_GAPS` bytes; returns how many it took."""
    heap, libc = _mallinfo2(), ctypes.CDLL(None)
    if heap is None:
        return 0
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    top = libc.sbrk(0) - heap.keepcost
    larger: list[int] = []  # these are taken first, so that no smaller piece is cut from them, and given back
    after: set[int] = set()  # where what is left of them begins
    occupied = 0
    size = _LARGEST_GAP
    while size >= _GAPS.start:
        block = libc.malloc(size)
        if block and block < top - size:
            if size >= _GAPS.stop or block in after:
                larger.append(block)
                after.add(block + size + _HEADER)
            else:
                occupied += 1
        else:  # there is no such gap left: it was cut from the top
            libc.free(block)
            size //= 2
    # Blocks of middle size have a place of their own from now on. They would otherwise be cut from that of a step's
    # buffers, for which the next step would then need another one.
    reserve = libc.malloc(_RESERVE)
    if reserve and libc.malloc(_GAPS.start):  # which keeps it apart from the top
        larger.append(reserve)
    for block in larger:
        libc.free(block)
    return occupied


def collect_garbage_seldom() -> None:
    """Lets Python look for garbage after every 100,000 new objects, and not after 700.

    Imports and traces make millions of objects that stay, and looking through them took a seventh of the time that the
    imports of `jaxcnn train` take. It is a setting of the whole process.
    """
    gc.set_threshold(100_000, 20, 50)
