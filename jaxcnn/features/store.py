"""Features on the disk: a safetensors file for each split, written from its first image to its last.

Beside a tensor for each layer, (images, ...), a file holds ``label``, int32 (images,), -1 for an image that cannot be
read; ``known``, bool (images,), whether it can be; and ``name``, the UTF-8 of the images' names, one a line.
"""

import contextlib
import json
import os
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxcnn import strict_json
from jaxcnn.data.folders import check_room
from jaxcnn.errors import UserError, nearest, writing
from jaxcnn.paths import replace_whole
from jaxcnn.types import Json
from jaxcnn.work_folder import OTHER_FOLDER

LABEL, KNOWN, NAME = "label", "known", "name"
_DTYPES = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4"), "BOOL": np.dtype("?"), "U8": np.dtype("u1")}
_SUFFIX = ".safetensors"
_PARTS = "unfinished"
"""The folder of the files that are not whole yet, in the folder of the features."""


class Tensor(NamedTuple):
    """A tensor of a file."""

    dtype: str
    """The name that safetensors has for the data type."""
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """The number of bytes of an image."""
        return _DTYPES[self.dtype].itemsize * int(np.prod(self.shape[1:], dtype=np.int64))


def file_name(name: str) -> str:
    """Returns the name of a file that is called like something else, in which ``/`` and a first dot are escaped."""
    quoted = urllib.parse.quote(name, safe=" []:+,=")
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") else quoted


def file_of(folder: Path, split: str) -> Path:
    """Returns the path of the file with the features of a split."""
    return folder / f"{file_name(split)}{_SUFFIX}"


class Writer:
    """Writes the features of a split, and goes on where an earlier writer was interrupted.

    What `commit` has counted is on the disk whatever happens then; the rest is computed again. The file gets its name
    when it is whole. All that is in it depends on the split and on the features alone.

    Args:
        folder: the folder of the features.
        split: the name of the split.
        images: the number of images.
        layers: the shape of each layer's features of one image.
        facts: what else the file says of itself, as text.
    """

    def __init__(
        self, folder: Path, split: str, images: int, layers: Mapping[str, tuple[int, ...]], facts: Mapping[str, str]
    ) -> None:
        self.path = file_of(folder, split)
        self._scratch = folder / _PARTS / self.path.name
        self._count = folder / _PARTS / f"{self.path.name}.json"
        self._images = images
        self._rows = {
            **{name: Tensor("F32", (images, *shape)) for name, shape in layers.items()},
            LABEL: Tensor("I32", (images,)),
            KNOWN: Tensor("BOOL", (images,)),
        }
        self._facts = facts
        self._descriptor = -1
        self._starts: dict[str, int] = {}

    def open(self, names: Iterable[str]) -> int:
        """Opens the file, which is made unless it was begun before, and returns the number of images that are done.

        Args:
            names: the names of all images in order, which are asked for only where the file is made.

        Raises:
            UserError: the file cannot be written, or there is too little room for it.
            MachineError: the disk is full, or fails.
        """
        with self._writing():
            self._scratch.parent.mkdir(parents=True, exist_ok=True)
            done = self._begun()
            if done is None:
                text = bytearray()
                for name in names:  # which have no line breaks
                    text += f"{name}\n".encode()
                del text[-1:]
                header = self._header(len(text))
                end = self._place(header, len(text))
                check_room(self._scratch.parent, end, f"the file {self.path.name}")
                with contextlib.suppress(FileNotFoundError):
                    self._count.unlink()
                self._descriptor = os.open(self._scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
                os.ftruncate(self._descriptor, end)
                self._put(header, 0)
                self._put(text, self._starts[NAME])
                done = 0
                self.commit(0)
            return done

    def _begun(self) -> int | None:
        """Opens the file of an earlier writer; returns the number of images in it, None where there is no such file."""
        try:
            done = int(json.loads(self._count.read_text())["images"])
            with self._scratch.open("rb") as file:
                header = _read_header(file)
            names = header[NAME]["data_offsets"]
            if json.loads(self._header(names[1] - names[0])[8:]) != header or not 0 <= done <= self._images:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self._place(self._header(names[1] - names[0]), names[1] - names[0])
        self._descriptor = os.open(self._scratch, os.O_RDWR)
        return done

    def _header(self, name_bytes: int) -> bytes:
        header: dict[str, Json] = {"__metadata__": dict(self._facts)}
        start = 0
        for name, tensor in self._tensors(name_bytes):
            size = tensor.row_bytes * tensor.shape[0]
            shape = list(tensor.shape)
            header[name] = {"dtype": tensor.dtype, "shape": shape, "data_offsets": [start, start + size]}
            start += size
        text = strict_json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def _tensors(self, name_bytes: int) -> Iterator[tuple[str, Tensor]]:
        # Each begins at a multiple of its item's size, because larger items come first.
        yield from self._rows.items()
        yield NAME, Tensor("U8", (name_bytes,))

    def _place(self, header: bytes, name_bytes: int) -> int:
        """Notes where each tensor begins, and returns where the file ends."""
        start = len(header)
        for name, tensor in self._tensors(name_bytes):
            self._starts[name] = start
            start += tensor.row_bytes * tensor.shape[0]
        return start

    def write(self, first: int, rows: Mapping[str, np.ndarray]) -> None:
        """Writes the rows of some images; those beyond the last image are padding and left out.

        Args:
            first: the index of the first of them.
            rows: an array for each layer, and for ``label`` and ``known``.

        Raises:
            UserError: the file cannot be written.
            MachineError: the disk is full, or fails.
        """
        with self._writing():
            for name, tensor in self._rows.items():
                part = rows[name][: self._images - first]
                assert part.shape[1:] == tensor.shape[1:], (name, part.shape, tensor.shape)
                data = np.ascontiguousarray(part, _DTYPES[tensor.dtype]).tobytes()
                self._put(data, self._starts[name] + first * tensor.row_bytes)

    def _put(self, data: bytes | bytearray, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def commit(self, done: int) -> None:
        """Counts so many images as done, once all of them are on the disk.

        Raises:
            UserError: the file cannot be written.
            MachineError: the disk is full, or fails.
        """
        with self._writing():
            os.fdatasync(self._descriptor)
            replace_whole(self._count, strict_json.dumps({"images": min(done, self._images)}) + "\n")

    def unknown(self) -> list[int]:
        """Returns the indices of the images that could not be read; all must be written."""
        known = os.pread(self._descriptor, self._images, self._starts[KNOWN])
        return np.flatnonzero(np.frombuffer(known, np.bool_) == 0).tolist()

    def finish(self) -> None:
        """Gives the file, which must be whole, its name.

        Raises:
            UserError: it cannot be renamed.
        """
        with self._writing():
            os.fsync(self._descriptor)
            os.replace(self._scratch, self.path)
            self._count.unlink()
            with contextlib.suppress(OSError):  # another split's is there
                self._scratch.parent.rmdir()

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self._scratch, OTHER_FOLDER)


def _read_header(file: BinaryIO) -> dict[str, Json]:
    return json.loads(file.read(int.from_bytes(file.read(8), "little")))


class Features:
    """The features of a split, which are read as they are asked for.

    Args:
        path: the file.
        split: the name of the split that it must be of.

    Raises:
        UserError: there is no such file, or it is damaged, another file, or that of another split.
    """

    def __init__(self, path: Path, split: str) -> None:
        import safetensors

        self.path, self.split = path, split
        try:
            self._file = safetensors.safe_open(path, "numpy")
            facts = self._file.metadata() or {}
            self.class_names = tuple(json.loads(facts["class_names"]))
            self.extraction = facts["extraction"]
            of = facts["split"]
            self.labels = self._file.get_tensor(LABEL)
            self.known = self._file.get_tensor(KNOWN)
        except Exception as error:  # the library raises its own kinds
            said = str(error) if isinstance(error, OSError) else "it is not a whole file of features"
            raise UserError(f"{path} cannot be read: {said}: extract the features again") from None
        if of != split:
            raise UserError(
                f"{path} holds the features of the split {of!r} and not of {split!r}: put the right file there, or "
                "extract the features again"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """The shape of each layer's features of one image."""
        names = [name for name in self._file.keys() if name not in (LABEL, KNOWN, NAME)]  # noqa: SIM118
        return {name: tuple(self._file.get_slice(name).get_shape()[1:]) for name in names}

    def names(self) -> list[str]:
        """Returns the name of each image."""
        return self._file.get_tensor(NAME).tobytes().decode().split("\n")

    def values(self, layer: str, rows: slice = slice(None)) -> np.ndarray:
        """Returns the features of a layer, float32 (images, values): a map's values one after the other.

        Args:
            layer: the name of the layer.
            rows: the images; by default all.

        Raises:
            UserError: there is no such layer in the file.
        """
        values = int(np.prod(self._check(layer), dtype=np.int64))
        if not len(self):  # which safetensors cannot slice
            return np.zeros((0, values), np.float32)
        return self._file.get_slice(layer)[rows].reshape(-1, values)

    def mapped(self, layer: str) -> np.ndarray:
        """Returns the features of a layer as `values` does, of which only what is looked at is read from the disk.

        Args:
            layer: the name of the layer.

        Raises:
            UserError: there is no such layer in the file.
        """
        shape = (len(self), int(np.prod(self._check(layer), dtype=np.int64)))
        if not len(self):
            return np.zeros(shape, np.float32)
        with self.path.open("rb") as file:
            start = _read_header(file)[layer]["data_offsets"][0] + file.tell()
        return np.memmap(self.path, _DTYPES["F32"], "r", start, shape)

    def _check(self, layer: str) -> tuple[int, ...]:
        """Returns the shape of a layer's features of one image; refuses a layer that is not there."""
        layers = self.layers
        if layer not in layers:
            raise UserError(f"{self.path} holds no layer {layer!r}: {nearest(layer, layers)}")
        return layers[layer]


def splits_in(folder: Path) -> list[str]:
    """Returns the names of the splits whose features are whole, sorted."""
    return sorted(urllib.parse.unquote(path.name.removesuffix(_SUFFIX)) for path in folder.glob(f"*{_SUFFIX}"))
