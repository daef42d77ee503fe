"""Writes a state dict as ``torch.save`` does, without PyTorch: a zip archive that `jaxcnn.weights.torch_file` reads.

The pickle in it makes nothing but tensors in an ``OrderedDict``, so ``torch.load(..., weights_only=True)``, which is
PyTorch's default, takes it, and the storages are aligned, so it can be mapped into memory. The facts about the network
are a part of their own in the archive, which PyTorch does not look at. ``torch/serialization.py`` describes the format.
"""

import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxcnn.weights.torch_names import STORAGES

FOLDER = "archive"
"""The folder that all parts of the archive are in; PyTorch does not mind its name."""
ABOUT = "about.json"
"""The name of the part that holds the facts about the network."""
_ALIGNMENT = 64
_PADDING = 0x4246
"""The number that PyTorch gives to the field of a header that is there for its length."""
_CLASSES = {
    dtype: name.removeprefix("torch.")
    for name, dtype in STORAGES.items()
    if name.startswith("torch.") and name.count(".") == 1
}
"""The class of storages of each type of elements."""


def save_state(file: Path | BinaryIO, state: Mapping[str, np.ndarray], about: str | None = None) -> None:
    """Writes a state dict.

    Args:
        file: the path of the file, or a file that is open for writing.
        state: the arrays by their names, of types that PyTorch has.
        about: a text of JSON that travels with it.

    Raises:
        OSError: the file cannot be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write(archive, "data.pkl", _pickled(state))
        _write(archive, "byteorder", b"little")
        for number, array in enumerate(state.values()):
            _write(archive, f"data/{number}", array.tobytes())
        _write(archive, "version", b"3\n")
        if about is not None:
            _write(archive, ABOUT, about.encode())


def _write(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    """Adds a part, so that its content begins at a multiple of the alignment."""
    entry = zipfile.ZipInfo(f"{FOLDER}/{name}")  # of 1980, so that the same weights make the same file
    assert archive.fp is not None  # it is open
    # 30 bytes of a header come before the name, and 4 before what fills the field.
    start = archive.fp.tell() + 30 + len(entry.filename.encode()) + 4
    entry.extra = struct.pack("<HH", _PADDING, -start % _ALIGNMENT) + b"Z" * (-start % _ALIGNMENT)
    archive.writestr(entry, content)


def _pickled(state: Mapping[str, np.ndarray]) -> bytes:
    """Returns the program that makes the state dict: the instructions that ``torch.save`` writes, of protocol 2."""
    empty = _name("collections OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    program = pickle.PROTO + b"\x02" + empty + pickle.MARK
    for number, (name, array) in enumerate(state.items()):
        storage = pickle.MARK + _text("storage") + _name(f"torch {_CLASSES[array.dtype]}") + _text(str(number))
        storage += _text("cpu") + _count(array.size) + pickle.TUPLE + pickle.BINPERSID
        strides = [int(stride) // array.itemsize for stride in np.ascontiguousarray(array).strides[: array.ndim]]
        program += _text(name) + _name("torch._utils _rebuild_tensor_v2") + pickle.MARK + storage + _count(0)
        program += _counts(array.shape) + _counts(strides) + pickle.NEWFALSE + empty + pickle.TUPLE + pickle.REDUCE
    return program + pickle.SETITEMS + pickle.STOP


def _name(text: str) -> bytes:
    """Returns the instruction that names something of a module."""
    return pickle.GLOBAL + text.replace(" ", "\n").encode() + b"\n"


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _count(number: int) -> bytes:
    if number < 1 << 31:
        return pickle.BININT + struct.pack("<i", number)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", number)


def _counts(numbers: Iterable[int]) -> bytes:
    return pickle.MARK + b"".join(map(_count, numbers)) + pickle.TUPLE
