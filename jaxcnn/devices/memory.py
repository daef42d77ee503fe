"""The host's allocator, set for a program that asks for the same large buffers again and again."""

import ctypes
import sys

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Has the C library keep what is freed, instead of giving it back to the system and asking for it again.

    On a CPU, XLA allocates a step's buffers anew each time. By default glibc maps large ones afresh, and the system
    then clears every page as it is first touched: copying an array of 51 MB took 53 ms so, and 2.8 ms with memory that
    is kept (two x86 cores). The price: the process stays as large as it has ever been.

    Call it before the first large allocation, and only where buffers are large: threads then share one arena, and a
    LeNet's step, whose buffers glibc keeps anyway, loses about a fifth. Elsewhere than on Linux with glibc it does
    nothing.

    Returns:
        Whether it took effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena that grows in place: only there does glibc keep blocks of any size.
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_ARENA_MAX, 1)])
