"""Files that ``torch.save`` wrote, read without PyTorch and without running anything.

There are two formats: a zip archive (PyTorch 1.6 and later), with a pickle in ``data.pkl`` and a storage in each
``data/KEY``; and the legacy format, five pickles and then the storages, one after another. ``torch/serialization.py``
describes both. `jaxcnn.weights.torch_pickle` reads the pickles.
"""

import io
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import BinaryIO, TypeAlias

import numpy as np

from jaxcnn.types import PyTree
from jaxcnn.weights.errors import FileError, shown
from jaxcnn.weights.state_dicts import find_state
from jaxcnn.weights.torch_pickle import Storage, Tensor, run
from jaxcnn.weights.torch_save import ABOUT

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of files of the two formats."""
MAX_PICKLE_BYTES = 1 << 24
MAX_EXPANSION = 10
"""The number of times its own size that a file may claim to hold. PyTorch does not compress, and weights hardly
shrink."""
MAX_DIMENSIONS = 32

Find: TypeAlias = Callable[[PyTree], Mapping[str, PyTree]]
"""A function that finds the state dict in what a file holds: see `jaxcnn.weights.state_dicts.find_state`."""


def read_state(file: BinaryIO, find: Find = find_state) -> dict[str, np.ndarray]:
    """Reads a state dict. Only its tensors are read, of all that the file holds.

    Args:
        file: a whole file in either format, positioned at its beginning.
        find: the function that finds the state dict in the file's object.

    Returns:
        The arrays by their names, in the file's shapes and dtypes; read-only, and views of one storage where the file
        shares it.

    Raises:
        FileError: the file is of neither format, is visibly damaged, does not hold weights, or would need much more
            memory than its own size.
        Exception: whatever damaged bytes raise in ``zipfile`` and ``pickletools``.
    """
    start = file.read(len(LEGACY))
    file.seek(0)
    if start.startswith(ZIP):
        return _read_zip(file, find)
    if start == LEGACY:
        return _read_legacy(file, find)
    raise FileError("does not begin as PyTorch's files do: fetch it again")


def read_about(file: BinaryIO) -> str | None:
    """Returns what `jaxcnn.weights.torch_save` has written of the network beside its state dict, or None.

    Args:
        file: a whole file in the format that is a zip archive.

    Raises:
        FileError: the archive is not one that PyTorch or we would write, or that part of it is too long.
        Exception: whatever damaged bytes raise in ``zipfile``.
    """
    with zipfile.ZipFile(file) as archive:
        entry = _entries(archive, file.seek(0, os.SEEK_END)).get(ABOUT)
        if entry is None:
            return None
        if entry.file_size > MAX_PICKLE_BYTES:
            raise FileError(f"has a part {ABOUT} of {entry.file_size:,} bytes: do not trust it")
        with archive.open(entry) as stream:
            return stream.read(entry.file_size).decode()


def _read_zip(file: BinaryIO, find: Find) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        entries = _entries(archive, file.seek(0, os.SEEK_END))

        def read(name: str, largest: int) -> bytes:
            entry = entries[name]
            if entry.file_size > largest:
                raise FileError(
                    f"has a part {shown(name)} of {entry.file_size:,} bytes, not of {largest:,} at most: fetch it again"
                )
            with archive.open(entry) as stream:
                # Without the size zipfile would inflate everything before it looks at what the entry claims.
                return stream.read(entry.file_size)

        def read_storage(storage: Storage) -> bytes:
            name = f"data/{storage.key}"
            if name not in entries:
                raise FileError(f"lacks its part {shown(name)}: fetch it again")
            return read(name, storage.size * storage.dtype.itemsize)

        if "constants.pkl" in entries:
            raise FileError("is a TorchScript program, not weights: load it in PyTorch and save its state_dict()")
        if "byteorder" in entries and read("byteorder", len(b"little")) != b"little":
            raise FileError("was written on a big-endian machine: save it on a little-endian one")
        value, _ = run(io.BytesIO(read("data.pkl", MAX_PICKLE_BYTES)))
        return _arrays(find(value), read_storage)


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Returns the archive's entries, by their names in its one folder."""
    if sum(entry.file_size for entry in archive.infolist()) > MAX_EXPANSION * size:
        raise FileError(f"claims to hold over {MAX_EXPANSION} times its own size, as no weights do: do not trust it")
    if not any(entry.filename.partition("/")[2] == "data.pkl" for entry in archive.infolist()):
        raise FileError("is a zip file, but not PyTorch's: if the weights are inside, unpack it")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        _, _, name = entry.filename.partition("/")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
            raise FileError("is compressed or encrypted in a way that PyTorch does not use: do not trust it")
        if ".." in entry.filename.split("/") or "\\" in entry.filename or entry.filename.startswith("/"):
            raise FileError(f"has a part named {shown(entry.filename)}, outside itself: do not trust it")
        if name in entries:
            raise FileError(f"has two parts named {shown(name)}: do not trust it")
        entries[name] = entry
    return entries


def _read_legacy(file: BinaryIO, find: Find) -> dict[str, np.ndarray]:
    # The pickles are read from memory, so that no instruction can ask for more bytes than these.
    pickles = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    (_, _), (protocol, _), (system, _), (value, storages), (keys, _) = (run(pickles) for _ in range(5))
    if protocol != 1001:
        raise FileError("is of an unknown version of PyTorch's legacy format: save it again in PyTorch")
    if type(system) is not dict or system.get("little_endian") is not True:
        raise FileError("was written on a big-endian machine: save it on a little-endian one")
    names = keys if isinstance(keys, list) else [None]
    listed = [name for name in names if isinstance(name, str) and name in storages]
    if not len(listed) == len(names) == len(storages):
        raise FileError("does not list the storages that its tensors are in: fetch it again")

    # A storage is its number of elements in eight bytes, then the elements.
    starts, position = {}, pickles.tell()
    for key in listed:
        starts[key] = position + 8
        file.seek(position)
        if int.from_bytes(file.read(8), "little") != storages[key].size:
            raise FileError(f"has a storage {shown(key)} of another length than its tensors': fetch it again")
        position += 8 + storages[key].size * storages[key].dtype.itemsize
    if position != file.seek(0, os.SEEK_END):
        raise FileError("is shorter or longer than its tensors: fetch it again")

    def read_storage(storage: Storage) -> bytes:
        file.seek(starts[storage.key])
        return file.read(storage.size * storage.dtype.itemsize)

    return _arrays(find(value), read_storage)


def _arrays(state: Mapping[str, Tensor], read: Callable[[Storage], bytes]) -> dict[str, np.ndarray]:
    storages: dict[str, np.ndarray] = {}

    def array(name: str, tensor: Tensor) -> np.ndarray:
        storage = tensor.storage
        _check(name, tensor)
        if storage.key not in storages:
            encoded = read(storage)
            if len(encoded) != storage.size * storage.dtype.itemsize:
                raise FileError(f"has too few bytes for the storage of {shown(name)}: fetch it again")
            storages[storage.key] = np.frombuffer(encoded, storage.dtype)
        elements = storages[storage.key][storage.start + tensor.offset : storage.start + storage.length]
        # The stride of an axis of one element may be any number, even one that is too large for NumPy.
        strides = [0 if size < 2 else stride * storage.dtype.itemsize for size, stride in _steps(tensor)]
        return np.lib.stride_tricks.as_strided(elements, tensor.shape, strides, writeable=False)

    return {name: array(name, tensor) for name, tensor in state.items()}


def _steps(tensor: Tensor) -> list[tuple[int, int]]:
    return list(zip(tensor.shape, tensor.strides, strict=True))


def _check(name: str, tensor: Tensor) -> None:
    """Refuses a view that leaves its storage, or repeats it so that the array would need more memory than the file."""
    length = tensor.storage.length
    fits = len(tensor.shape) <= MAX_DIMENSIONS
    if fits:
        elements = math.prod(tensor.shape)
        last = tensor.offset + sum((size - 1) * stride for size, stride in _steps(tensor))
        fits = last < length and elements <= length if elements else tensor.offset <= length
    if not fits:
        raise FileError(
            f"holds the tensor {shown(name)}, whose shape and strides do not fit its {length:,} stored elements: fetch "
            "it again"
        )
