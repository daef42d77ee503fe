"""Splits as tensorflow-datasets writes them: ``train``, ``train[:5000]``, ``train[10%:]``, ``train+test``, ``all``."""

import dataclasses
from collections.abc import Mapping

from jaxcnn.errors import UserError, nearest
from jaxcnn.text import escaped


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a split of which a slice is made."""

    split: str
    """The split's name, without brackets."""
    indices: range
    """The indices of its images, in the order of the slice."""


def pieces(name: str, split: str, sizes: Mapping[str, int]) -> tuple[Piece, ...]:
    """Returns what a split is made of.

    tensorflow-datasets parses it, so that a slice means the same images in every kind of data set.

    Args:
        name: the data set's name, for the message.
        split: the split, as ``data.train_split`` takes it.
        sizes: the number of images of each split of the data set.

    Raises:
        UserError: there is no such split, or no image in it.
    """
    if split in sizes:
        return (Piece(split, range(sizes[split])),)
    import tensorflow_datasets as tfds

    infos = {each: tfds.core.SplitInfo(each, shard_lengths=[size], num_bytes=0) for each, size in sizes.items()}
    try:
        found = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
    except (ValueError, NotImplementedError):  # it slices no "all"
        found = []
    ranges = [(each.splitname, range(sizes[each.splitname])[each.from_ : each.to]) for each in found]
    if not any(len(indices) for _, indices in ranges):
        raise UserError(f"{escaped(name)} has no images in a split {split!r}: {nearest(split, sizes)}")
    return tuple(Piece(each, indices) for each, indices in ranges if len(indices))
