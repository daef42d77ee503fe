"""How many threads XLA computes with on a CPU, on which the bits of sums and products depend."""

import contextlib
import os
from collections.abc import Generator

from jaxcnn.data.stream import available_cores

_AT_LEAST = 8
"""The number of simulated devices up to which the number of threads is the same."""


@contextlib.contextmanager
def steady_threads() -> Generator[None]:
    """Has XLA make as many threads for 8 simulated devices as for one, if its first array is made in the context.

    XLA makes as many threads as there are cores, or devices where these are more, and cuts long sums into parts for
    them. So the bits of a mean over a map, or of a dense layer with many inputs, depend on the number of devices where
    a machine has fewer cores. With at least 8 threads they do not, up to 8 devices. ``NPROC``, by which XLA can be told
    of another number of cores, is left as it is where it is set.
    """
    if "NPROC" in os.environ:
        yield
        return
    os.environ["NPROC"] = str(max(available_cores(), _AT_LEAST))
    try:
        yield
    finally:
        del os.environ["NPROC"]
