"""``folder:PATH``: the files of ``PATH/SPLIT/CLASS/``; the classes are the folders' names, sorted."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxcnn.data.decode import looks_like_image
from jaxcnn.data.sources.source import Source, SourceRequest, refuse_bad
from jaxcnn.errors import UserError
from jaxcnn.paths import expanded

_SCAN_THREADS = 16


def _folders(path: Path) -> tuple[str, ...]:
    """Returns the names of the folders in a folder, sorted."""
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: check the path")
    return tuple(sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith(".")))


def folder_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of a data set's splits: the folders in its folder.

    Args:
        rest: the folder's path; ``~`` is expanded.
        data_dir: not used.

    Raises:
        UserError: there is no such folder.
    """
    return _folders(expanded(rest))


def _scan(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Returns the names of a folder's images, sorted, and (path, reason) of what else lies there."""
    good, bad = [], []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() or entry.name.startswith(".") or entry.name == "Thumbs.db":
            continue
        try:
            with open(entry.path, "rb") as file:
                first_bytes = file.read(16)
        except OSError as error:
            bad.append((entry.path, f"cannot be opened ({error.strerror})"))
            continue
        if looks_like_image(first_bytes):
            good.append(entry.name)
        else:
            bad.append((entry.path, "is not an image" if first_bytes else "is empty"))
    return good, bad


def open_folder(request: SourceRequest) -> Source:
    """Opens one split: the first bytes of every file are read, to leave out those that are not images.

    Raises:
        UserError: the split has no class folders, or more than ``request.max_bad_share`` of its files are not images.
    """
    path = expanded(request.rest) / request.split
    class_names = _folders(path)
    if not class_names:
        raise UserError(f"{path} holds no class folders: its images must lie in {path}/CLASS/")
    folders = [path / class_name for class_name in class_names]
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        scanned = list(pool.map(_scan, folders))
    files = [file for good, _ in scanned for file in good]
    labels = np.repeat(np.arange(len(folders)), [len(good) for good, _ in scanned])
    bad = tuple(item for _, items in scanned for item in items)
    refuse_bad(bad, len(files) + len(bad), request.max_bad_share, str(path))

    def where(index: int) -> Path:
        return folders[labels[index]] / files[index]

    return Source(
        request.name,
        request.split,
        class_names=class_names,
        size=len(files),
        read=lambda index: (where(index).read_bytes(), int(labels[index])),
        describe=lambda index: str(where(index)),
        bad=bad,
        file_name=files.__getitem__,
        files=lambda: {str(file.relative_to(path)): file for file in map(where, range(len(files)))},
    )
