"""Settings of a process's memory: what the C library does with freed blocks, and how often Python collects garbage."""

import ctypes
import gc
import sys
import time
from typing import TypeVar

_T = TypeVar("_T")

LARGE_BATCH = 1 << 20
"""The size in bytes of a uint8 batch above which a step's buffers are worth keeping (see `keep_freed_memory`)."""

_FREEING_SECONDS = 3e-3
"""How long XLA may take to free a step's buffers once its results are there. A step of ResNet-18 found them freed after
1 ms in 24 of 24 cases, and after 0.3 ms in most (two x86 cores)."""

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8

_kept = False


def keep_freed_memory() -> bool:
    """Makes the C library keep freed memory, which it would otherwise return to the system and ask for again.

    On a CPU, XLA allocates a step's buffers anew each time. By default glibc maps large buffers afresh, and the system
    clears every page when it is first touched: copying an array of 51 MB took 53 ms in this way, and 2.8 ms with memory
    that is kept (two x86 cores). In return the process stays as large as it has ever been. So that this is not more
    than one step needs, a loop has to wait for each step with `settled` before it starts the next.

    `jaxcnn train`, `jaxcnn evaluate` and the benchmarks call it; a loop of your own on a CPU has to call it itself.
    Call it first, before JAX is imported: threads that allocate before it keep arenas of their own, from which large
    blocks go back to the system all the same. Call it only where buffers are large: all threads then share one arena,
    and a step of LeNet, whose buffers glibc keeps anyway, becomes about a fifth slower. It cannot be undone, and it
    does nothing except on Linux with glibc. It raises nothing.

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
    """Keeps freed memory where the devices are CPUs and a batch has more than `LARGE_BATCH` bytes as uint8."""
    import jax

    if size > LARGE_BATCH and jax.default_backend() == "cpu":
        keep_freed_memory()


def settled(results: _T) -> _T:
    """Waits, where freed memory is kept, until a step is done and its buffers are free for the next.

    XLA allocates the buffers of a step when it is started, and frees them a moment after its results are there. A step
    that is started sooner gets others, and the process holds both from then on: that of ResNet-50's training grew to
    9.9 GB instead of 3.7, and its steps took longer while it grew. On a CPU there is nothing to gain from a start that
    is made sooner. Where freed memory is not kept, this returns at once.

    Args:
        results: a pytree of arrays that the step returns.
    """
    if _kept:
        import jax

        jax.block_until_ready(results)
        time.sleep(_FREEING_SECONDS)
    return results


def return_freed_memory() -> None:
    """Returns to the system what is kept of freed memory, once compiling has left much that no step needs.

    It does nothing where freed memory is not kept.
    """
    if _kept:
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def collect_garbage_seldom() -> None:
    """Lets Python look for garbage after every 100,000 new objects, and not after 700.

    Imports and traces make millions of objects that stay, and looking through them took a seventh of the time that the
    imports of `jaxcnn train` take. It is a setting of the whole process.
    """
    gc.set_threshold(100_000, 20, 50)
