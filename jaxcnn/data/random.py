"""Random numbers that are the same in every release of NumPy."""

import numpy as np


def random_state(*entropy: int) -> np.random.RandomState:
    """Returns a generator that is a pure function of these integers.

    It is a ``RandomState`` because NEP 19 freezes its stream for good, where a ``Generator``'s may change with any
    release of NumPy; ``SeedSequence`` mixes the integers. Among up to four integers, a trailing 0 changes nothing.
    """
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(entropy)))
