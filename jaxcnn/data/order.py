"""Which image a place in training shows, a pure function of (seed, step).

Training walks one endless line of positions: step s takes positions s * batch_size to (s + 1) * batch_size - 1, and
position p is place p % size in the order of epoch p // size. So an epoch shows every image once, nothing is dropped
at its end, and a run goes on from any step without any state of an iterator.

With repeated augmentation, place p % size shows image (p % size) // repeats of the order instead, which is also how
timm's and torchvision's samplers line images up. Those deal the line out to processes like cards, so that an image's
copies are on different ones. Here a batch holds the first copies of all its images, then the second ones, and so on
(see `position_of`), so that copies are far apart for any number of devices: mixing blends an image with its neighbour,
and must not meet a copy. Two more things differ from theirs. An epoch is all of ``size`` places, theirs are cut to
whole multiples of 256. And a copy's augmentation is its place's, not a worker's.
"""

import functools

import numpy as np

from jaxcnn.data.random import random_state


@functools.lru_cache(maxsize=2)  # a batch may span the end of one epoch and the start of the next
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Returns the order in which an epoch visits the images: int32 of shape ``(size,)``, a permutation, read-only.

    The same in every release of NumPy: see `random_state`.
    """
    order = random_state(seed, epoch).permutation(size).astype(np.int32)
    order.flags.writeable = False
    return order


def image_rng(seed: int, epoch: int, place: int) -> np.random.RandomState:
    """Returns the generator of the host's crop of the image at this place of this epoch.

    Philox counts: a generator costs a tenth of what seeding the Mersenne twister of `epoch_order` does. NEP 19 freezes
    this stream too.
    """
    # The lowest 64 bits of the counter are the generator's own: they count its draws.
    return np.random.RandomState(np.random.Philox(key=seed, counter=place << 64 | epoch << 128))


def position_of(slot: int, step: int, batch_size: int, repeats: int) -> int:
    """Returns which position of the line a slot of a step's batch shows.

    The batch's positions by their remainder by ``repeats``, each remainder's in order: copies of an image, which are at
    positions side by side, come to lie about ``batch_size / repeats`` slots apart.

    >>> [position_of(slot, step=1, batch_size=6, repeats=3) for slot in range(6)]
    [6, 9, 7, 10, 8, 11]
    """
    start, stop = step * batch_size, (step + 1) * batch_size
    for remainder in range(repeats):
        positions = range(start + (remainder - start) % repeats, stop, repeats)
        if slot < len(positions):
            return positions[slot]
        slot -= len(positions)
    raise IndexError(f"there is no such slot in a batch of {batch_size}")
