"""``idx:FOLDER[/PREFIX]``: the files that MNIST and what follows its form come in, as they are or compressed by gzip.

A folder holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same of ``t10k``, which is the split
``test``. Some copies have a dot before ``idx``. EMNIST's files begin with a prefix each, as in
``emnist-letters-train-images-idx3-ubyte.gz``; where a folder holds several, the name ends in one:
``idx:FOLDER/emnist-letters``. Its images lie on their side, and are read as they lie.
"""

import bisect
import gzip
import hashlib
import itertools
import math
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxcnn.data.sources.slices import pieces
from jaxcnn.data.sources.source import Source, SourceRequest
from jaxcnn.errors import UserError, nearest
from jaxcnn.paths import expanded
from jaxcnn.text import escaped, names_in

CLASS_NAMES_FILE = "class_names.txt"
"""The file beside the others that names the classes, a line each, in the order of the labels."""
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
KNOWN_LABELS: dict[str, tuple[str, ...]] = {
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": _FASHION,
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9": _FASHION,
}
"""The names of classes by the SHA-256 of the labels, a byte each, after the header: Fashion-MNIST's two splits, whose
names are in its README."""

_NAME = re.compile(r"(?:(?P<prefix>.+)-)?(?P<split>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-ubyte(?:\.gz)?")
_WAY_OUT = "name the folder of train-images-idx3-ubyte[.gz] and the others, as in idx:FOLDER"
_DIMENSIONS = {"images": 3, "labels": 1}
_UBYTE = 8
"""The code of unsigned bytes among the types of the IDX format."""
_TYPES = {9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 24


class _Files(NamedTuple):
    """The files of a split."""

    images: Path
    labels: Path


def _find(rest: str) -> tuple[Path, dict[str, _Files]]:
    """Returns a data set's folder, and the files of its splits.

    Raises:
        UserError: there is no such folder or data set, the folder cannot be read, or it holds several data sets.
    """
    path = expanded(rest or ".")
    is_prefix = not os.path.isdir(path) and os.path.isdir(path.parent)
    folder, wanted = (path.parent, path.name) if is_prefix else (path, None)
    try:
        entries = sorted(folder.iterdir())  # a file comes before the same one with ".gz", and is taken
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no folder {escaped(str(folder))}: {_WAY_OUT}") from None
    except OSError as error:
        raise UserError(
            f"the folder {escaped(str(folder))} cannot be read ({error.strerror}): make it readable, or name another"
        ) from None
    found: dict[str, dict[str, dict[str, Path]]] = {}
    for entry in entries:
        if match := _NAME.fullmatch(entry.name):
            split = "train" if match["split"] == "train" else "test"
            files = found.setdefault(match["prefix"] or "", {}).setdefault(split, {})
            files.setdefault(match["what"], entry)
    if wanted is not None and wanted not in found:
        if not any(found):
            raise UserError(f"there is no folder {escaped(str(path))}: {_WAY_OUT}")
        raise UserError(
            f"{escaped(str(folder))} holds no data set whose files begin with {wanted!r}: {nearest(wanted, found)}"
        )
    if not found:
        raise UserError(f"{escaped(str(folder))} holds no images in the IDX format: {_WAY_OUT}")
    if wanted is None and len(found) > 1:
        first = min(filter(None, found))
        raise UserError(
            f"{escaped(str(folder))} holds {len(found)} data sets: name one by the beginning of its files, as in "
            f"idx:{escaped(str(folder / first))}"
        )
    splits = found[wanted] if wanted is not None else next(iter(found.values()))
    return folder, {split: _complete(splits[split]) for split in splits}


def _complete(files: Mapping[str, Path]) -> _Files:
    """Returns the two files of a split.

    Raises:
        UserError: one of them is missing.
    """
    if len(files) == 2:
        return _Files(**files)
    ((what, path),) = files.items()
    other = "labels" if what == "images" else "images"
    missing = f"{path.name.rpartition(what)[0]}{other}-idx{_DIMENSIONS[other]}-ubyte[.gz]"
    raise UserError(f"{escaped(str(path))} has no {escaped(missing)} beside it: put both files there")


def idx_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of a data set's splits: those of ``train`` and ``test`` that it has files of.

    Args:
        rest: the folder's path, which may end in a prefix of files in it; ``~`` is expanded.
        data_dir: not used.

    Raises:
        UserError: there is no such folder or data set.
    """
    return tuple(_find(rest)[1])


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Returns the array of a file in the IDX format, mapped into memory where it is not compressed.

    The format is of MNIST's page: two zero bytes, a byte for the type, one for the number of dimensions, the sizes as
    big-endian 32-bit integers, and the elements.

    Args:
        path: the file; whether it is compressed by gzip is told by its content.
        dimensions: the number of dimensions that it must have.

    Returns:
        uint8 with so many dimensions; it cannot be written to.

    Raises:
        UserError: the file cannot be read, is damaged, or holds something else.
    """
    what = escaped(str(path))
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if compressed else file as stream:
                shape, start = _header(stream, dimensions, what)
                size = math.prod(shape)
                content = _content(stream, size + 1) if compressed else b""  # to the end, where gzip checks its sum
                length = len(content) if compressed else os.fstat(file.fileno()).st_size - start
        if length != size:
            raise UserError(
                f"{what} holds {'more' if length > size else 'less'} than the {' x '.join(map(str, shape))} bytes that "
                "its header says: copy it again"
            )
        if compressed or not size:  # no mapping is empty
            return np.frombuffer(memoryview(content).toreadonly(), np.uint8).reshape(shape)
        return np.asarray(np.memmap(path, np.uint8, "r", start, shape))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{what} is damaged ({error}): copy it again") from None
    except OSError as error:
        raise UserError(f"{what} cannot be read ({error.strerror}): make it readable, or name another folder") from None


def _header(file: BinaryIO | gzip.GzipFile, dimensions: int, what: str) -> tuple[tuple[int, ...], int]:
    """Returns the shape that a header says, and the header's length."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or (magic[2] != _UBYTE and magic[2] not in _TYPES):
        raise UserError(f"{what} is not in the IDX format: put the file that has this name in its place")
    if magic[2] != _UBYTE or magic[3] != dimensions:
        raise UserError(
            f"{what} holds {_TYPES.get(magic[2], 'uint8')} in {magic[3]} dimensions, and not uint8 in {dimensions}: "
            "put the file that has this name in its place"
        )
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise UserError(f"{what} ends within its header: copy it again")
    return tuple(int(size) for size in np.frombuffer(sizes, ">u4")), 4 + 4 * dimensions


def _content(stream: BinaryIO | gzip.GzipFile, size: int) -> bytearray:
    """Returns so many bytes of a stream, or fewer where it ends; allocates no more than there are."""
    content = bytearray()
    while len(content) < size and (chunk := stream.read(min(_CHUNK, size - len(content)))):
        content += chunk
    return content


def _class_names(folder: Path, labels: Mapping[str, np.ndarray], split: str) -> tuple[str, ...]:
    """Returns the names of the classes.

    They are those in `CLASS_NAMES_FILE`; else those of `KNOWN_LABELS`; else the labels as text, up to the largest of
    any split, so that all splits have the same.
    """
    largest = max(int(each.max(initial=0)) for each in labels.values())
    path = folder / CLASS_NAMES_FILE
    if path.exists():
        names = names_in(path)
        if len(names) <= largest:
            raise UserError(
                f"{escaped(str(path))} names {len(names)} classes, and there is a label {largest}: give a line for "
                f"each of the labels from 0 on"
            )
        return names
    return KNOWN_LABELS.get(hashlib.sha256(labels[split].data).hexdigest()) or tuple(map(str, range(largest + 1)))


def _read_images(files: _Files, labels: np.ndarray) -> np.ndarray:
    """Returns the images of a split, uint8 of shape (images, height, width)."""
    images, where = read_idx(files.images, 3), escaped(str(files.images))
    if len(images) != len(labels):
        raise UserError(
            f"{where} holds {len(images):,} images, and {escaped(files.labels.name)} {len(labels):,} labels: put the "
            "two files there that belong together"
        )
    if not math.prod(images.shape[1:]):
        raise UserError(f"{where} holds images without pixels: copy it again")
    return images


def open_idx(request: SourceRequest) -> Source:
    """Opens one split, or a slice of one: of images in files that are mapped into memory, or decompressed into it.

    Raises:
        UserError: there is no such data set or split, a file is missing or damaged, or images and labels are not of one
            number.
    """
    folder, files = _find(request.rest)
    labels = {split: read_idx(each.labels, 1) for split, each in files.items()}
    parts = pieces(request.name, request.split, {split: len(each) for split, each in labels.items()})
    images = {part.split: _read_images(files[part.split], labels[part.split]) for part in parts}
    ends = list(itertools.accumulate(len(part.indices) for part in parts))

    def find(index: int) -> tuple[str, int]:
        number = bisect.bisect_right(ends, index)
        part = parts[number]
        return part.split, part.indices[index - ends[number]]

    def read(index: int) -> tuple[np.ndarray, int]:
        split, place = find(index)
        return np.array(images[split][place])[..., None], int(labels[split][place])

    def describe(index: int) -> str:
        split, place = find(index)
        return f"image {place} of {files[split].images}"

    def listing() -> Iterator[str]:
        for split in images:
            for what, content in (("images", images[split]), ("labels", labels[split])):
                yield f"{split} {what} {content.shape} {hashlib.sha256(content.data).hexdigest()}"

    return Source(
        request.name,
        request.split,
        class_names=_class_names(folder, labels, parts[0].split),
        size=ends[-1],
        read=read,
        describe=describe,
        listing=listing,
    )
