"""Settings of a process's memory: what the C library does with freed blocks, and how often Python collects garbage."""

import ctypes
import gc
import sys

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Makes the C library keep freed memory, which it would otherwise return to the system and ask for again.

    On a CPU, XLA allocates a step's buffers anew each time. By default glibc maps large buffers afresh, and the system
    clears every page when it is first touched: copying an array of 51 MB took 53 ms in this way, and 2.8 ms with memory
    that is kept (two x86 cores). In return the process stays as large as it has ever been, and blocks of many sizes may
    leave gaps that nothing fits into: a training of EfficientNet-Lite0 on 32 images of 224x224, which took 10 GB with
    the setting made late, ran out of 23 GB with it made first. Look at the memory before you rely on it.

    `jaxcnn train` and the benchmarks call it; a training loop of your own on a CPU has to call it itself. Call it
    first, before JAX is imported: threads that allocate before it keep arenas of their own, from which large blocks go
    back to the system all the same. Call it only where buffers are large: all threads then share one arena, and a step
    of LeNet, whose buffers glibc keeps anyway, becomes about a fifth slower. It cannot be undone, and it does nothing
    except on Linux with glibc. It raises nothing.

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
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_ARENA_MAX, 1)])


def collect_garbage_seldom() -> None:
    """Lets Python look for garbage after every 100,000 new objects, and not after 700.

    Imports and traces make millions of objects that stay, and looking through them took a seventh of the time that the
    imports of `jaxcnn train` take. It is a setting of the whole process.
    """
    gc.set_threshold(100_000, 20, 50)
