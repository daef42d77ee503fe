"""Finding images by the names or numbers by which lists refer to them; ILSVRC's numbers are in the files' names."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxcnn.data.sources import Source
from jaxcnn.errors import UserError

Answer = TypeVar("Answer")


def _file_names(source: Source) -> list[str]:
    if source.file_name is None:
        raise UserError(
            f"{source.name} does not keep the names of its images' files, so no image can be found by name or number: "
            "use the data set they came from"
        )
    try:
        return [source.file_name(index) for index in range(source.size)]
    except OSError as error:
        raise UserError(f"a record of {source.title}, cannot be read: {error}") from None


def _number(file_name: str) -> int | None:
    digits = re.search(r"\d+$", Path(file_name).stem, re.ASCII)
    return int(digits[0]) if digits else None


def image_numbers(source: Source) -> np.ndarray:
    """Returns each image's number in the official order, which is the digits that end its file's name.

    ``ILSVRC2012_val_00000001.JPEG`` is number 1, whatever its index in a data set's own order.

    Returns:
        int32 of shape ``(source.size,)``; each number from 1 to ``source.size`` is there once.

    Raises:
        UserError: the data set knows no file names, or their numbers are not these.
    """
    names = _file_names(source)
    numbers = [_number(name) for name in names]
    wanted = set(range(1, source.size + 1))
    for name, number in zip(names, numbers, strict=True):
        if number not in wanted:
            raise UserError(
                f"the {source.size} images of {source.title}, are not numbered from 1 to "
                f"{source.size} by their files' names, as in ILSVRC2012_val_00000001.JPEG: {name} has no such number, "
                "or another image has it too"
            )
        wanted.remove(number)
    return np.array(numbers, np.int32)


def valid_labels(source: Source) -> list[Sequence[int]] | None:
    """Returns all right labels of each image, as the data set stores them; None where each image has its one label.

    An image whose record cannot be read has none.
    """
    if source.valid_labels is None:
        return None
    found: list[Sequence[int]] = []
    for index in range(source.size):
        try:
            found.append(source.valid_labels(index))
        except OSError:
            found.append(())
    return found


def read_names(path: Path) -> tuple[str, ...]:
    """Reads a list of images, one a line; empty lines are ignored.

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
    """Returns a split without these images; ILSVRC's blacklist leaves 48,238 of the 50,000.

    Args:
        source: a split whose images' file names are known.
        names: names of files, with or without the extension, or numbers: the digits that end a file's name.

    Raises:
        UserError: a name matches no image, or several, or no image is left.
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
                f"{name!r} is in the list of images to leave out, and {len(fitting) or 'no'} images of {source.title}, "
                "have that name: name one image a line"
            )
        excluded.add(fitting[0])
    kept = [index for index in range(source.size) if index not in excluded]
    if not kept:
        raise UserError(f"no image of {source.title}, is left: the list names all of them; shorten it")

    def of_kept(function: Callable[[int], Answer]) -> Callable[[int], Answer]:
        return lambda index: function(kept[index])

    return dataclasses.replace(
        source,
        size=len(kept),
        read=of_kept(source.read),
        describe=of_kept(source.describe),
        file_name=source.file_name and of_kept(source.file_name),
        valid_labels=source.valid_labels and of_kept(source.valid_labels),
    )
