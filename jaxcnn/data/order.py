"""The order of training: which image each sample shows, as a pure function of (seed, step).

Training goes through one endless sequence of samples: step s takes samples s * batch_size to (s + 1) * batch_size - 1,
and sample n is at position n % size in the order of epoch n // size. So an epoch shows every image once, nothing is
dropped at its end, and a run goes on from any step without the state of an iterator.

With repeated augmentation, position p shows image p // repeats of the order instead, as with timm's and torchvision's
samplers. Those deal the sequence out to processes like cards, so that an image's copies are in different ones. Here a
batch holds the first copies of all its images, then the second ones, and so on (see `sample_of`), so that copies are
far apart for any number of devices: mixing blends an image with its neighbour, which must not be a copy. Two more
things differ from theirs. An epoch has all of its ``size`` positions, where theirs are cut to whole multiples of 256.
And a copy's augmentation follows from its position, not from a worker.
"""

import functools
import threading

import numpy as np

from jaxcnn.data.random import random_state


class _Generator(threading.local):
    """A thread's own generator, which is set anew for each image: making one costs as much as the crop's numbers."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)
        self.draws = np.random.RandomState(self.philox)
        self.state = self.philox.state


_generator = _Generator()


@functools.lru_cache(maxsize=2)  # a batch may span the end of one epoch and the start of the next
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Returns the order in which an epoch visits the images: int32 of shape ``(size,)``, a permutation, read-only.

    It is the same in every release of NumPy: see `random_state`.
    """
    order = random_state(seed, epoch).permutation(size).astype(np.int32)
    order.flags.writeable = False
    return order


def image_rng(seed: int, epoch: int, position: int) -> np.random.RandomState:
    """Returns the generator of the host's crop of the image at this position of this epoch.

    It draws from Philox, a counter, which takes a tenth of the time of seeding the Mersenne twister of `epoch_order`.
    NEP 19 freezes this stream too. A thread has one such generator: a call ends what the call before it returned. Only
    its uniform numbers and integers are set anew, not a normal number that ``randn`` keeps for its next call.
    """
    state = _generator.state
    # Philox(key=seed, counter=position << 64 | epoch << 128) is the same. The lowest 64 bits of the counter are the
    # generator's own: they count its draws.
    state["state"]["key"][:] = seed, 0
    state["state"]["counter"][:] = 0, position, epoch, 0
    _generator.philox.state = state
    return _generator.draws


def sample_of(slot: int, step: int, batch_size: int, repeats: int) -> int:
    """Returns which sample of the sequence a slot of a step's batch shows.

    The samples of the batch are sorted by their remainder modulo ``repeats``, and by number where that is equal. So the
    copies of an image, which are consecutive samples, are about ``batch_size / repeats`` slots apart.

    Examples:
        >>> [sample_of(slot, step=1, batch_size=6, repeats=3) for slot in range(6)]
        [6, 9, 7, 10, 8, 11]
    """
    start, stop = step * batch_size, (step + 1) * batch_size
    for remainder in range(repeats):
        samples = range(start + (remainder - start) % repeats, stop, repeats)
        if slot < len(samples):
            return samples[slot]
        slot -= len(samples)
    raise IndexError(f"there is no such slot in a batch of {batch_size}")
