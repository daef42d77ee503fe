"""Images by the names and the numbers that lists of them use: ILSVRC's are in the names of the files."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcnn.data.sources import Source
from jaxcnn.errors import UserError


def _file_names(source: Source) -> list[str]:
    if source.file_name is None:
        raise UserError(
            f"{source.name} does not say what its images' files are called, so they cannot be told by name or number: "
            "use the data set they came from"
        )
    try:
        return [source.file_name(index) for index in range(source.size)]
    except OSError as error:
        raise UserError(f"a record of {source.name}, split {source.split!r}, cannot be read: {error}") from None


def _number(file_name: str) -> int | None:
    digits = re.search(r"\d+$", Path(file_name).stem, re.ASCII)
    return int(digits[0]) if digits else None


def image_numbers(source: Source) -> np.ndarray:
    """Returns each image's number in the official order: the digits that end its file's name.

    ``ILSVRC2012_val_00000001.JPEG`` is 1, wherever it lies in a data set's own order.

    Returns:
        int32 of shape ``(source.size,)``: 1 to ``source.size``, each once.

    Raises:
        UserError: the data set knows no file names, or their numbers are not these.
    """
    names = _file_names(source)
    numbers = [_number(name) for name in names]
    wanted = set(range(1, source.size + 1))
    for name, number in zip(names, numbers, strict=True):
        if number not in wanted:
            raise UserError(
                f"the {source.size} images of {source.name}, split {source.split!r}, are not numbered from 1 to "
                f"{source.size} by their files' names, as in ILSVRC2012_val_00000001.JPEG: {name} is not, or is one "
                "of several"
            )
        wanted.remove(number)
    return np.array(numbers, np.int32)


def valid_labels(source: Source) -> list[Sequence[int]] | None:
    """Returns all right labels of each image, as the data set has them; None where each image has its one label.

    Raises:
        UserError: a record cannot be read.
    """
    if source.valid_labels is None:
        return None
    try:
        return [source.valid_labels(index) for index in range(source.size)]
    except OSError as error:
        raise UserError(f"a record of {source.name}, split {source.split!r}, cannot be read: {error}") from None


def read_names(path: Path) -> tuple[str, ...]:
    """Reads a list of images, one a line; empty lines are passed over.

    Raises:
        UserError: the file cannot be read, or lists nothing.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UserError(f"the list {path} is empty")
    return names


def without(source: Source, names: Sequence[str]) -> Source:
    """Returns a split with these images left out: ILSVRC's blacklist, say, which leaves 48,238 of the 50,000.

    Args:
        source: of images whose files' names are known.
        names: of files, with or without what follows the last dot, or numbers: the digits that end a file's name.

    Raises:
        UserError: a name fits no image, or several, or nothing is left.
    """
    found: dict[str, list[int]] = defaultdict(list)
    for index, file_name in enumerate(_file_names(source)):
        for name in {file_name, Path(file_name).stem, str(_number(file_name))}:
            found[name].append(index)
    excluded = set()
    for name in names:
        fitting = found.get(str(int(name)) if re.fullmatch(r"[0-9]+", name) else name, found.get(name, []))
        if len(fitting) != 1:
            raise UserError(
                f"{name!r} is in the list of images to leave out, and {len(fitting) or 'no'} images of {source.name}, "
                f"split {source.split!r}, are called that"
            )
        excluded.add(fitting[0])
    kept = [index for index in range(source.size) if index not in excluded]
    if not kept:
        raise UserError(f"no image of {source.name}, split {source.split!r}, is left: the list names all of them")
    return dataclasses.replace(
        source,
        size=len(kept),
        read=lambda index: source.read(kept[index]),
        describe=lambda index: source.describe(kept[index]),
        file_name=lambda index: source.file_name(kept[index]),
        valid_labels=source.valid_labels and (lambda index: source.valid_labels(kept[index])),
    )
