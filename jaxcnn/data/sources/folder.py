"""``folder:PATH``: the images below ``PATH/SPLIT/CLASS/``, at any depth; the classes are the folders' names, sorted."""

import collections
import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxcnn.data.decode import BEGINNING, is_image_suffix, refusal
from jaxcnn.data.sources.source import Source, SourceRequest, refuse_bad
from jaxcnn.errors import UserError
from jaxcnn.text import escaped

_SCAN_THREADS = 16
_SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",
        "__pycache__",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "@eadir",
        "@recycle",
        "#recycle",
        "#snapshot",
        "network trash folder",
        "temporary items",
    }
)
"""The folders that operating systems and servers make among those of a user, in lower case."""
_SYSTEM_KINDS = frozenset({"hidden", ".ini", ".db"})
"""The kinds of files that file managers put in any folder."""
_TEXT_KINDS = frozenset(
    {".json", ".jsonl", ".txt", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".md", ".log", ".xmp", ".aae", ".py"}
)
_DATA_KINDS = frozenset(
    {".lnk", ".url", ".npy", ".npz", ".mat", ".pkl", ".zip", ".tar", ".gz", ".mp4", ".mov", ".avi", ".wav", ".pdf"}
)
_OTHER_KINDS = _SYSTEM_KINDS | _TEXT_KINDS | _DATA_KINDS
"""The kinds of files that often lie beside images; they are passed over without being read."""
_OTHER_NAMES = frozenset(
    {"readme", "license", "licence", "copying", "notice", "makefile", "md5sums", "sha1sums", "sha256sums", "icon\r"}
)
"""The names without a suffix of files that are not images, in lower case."""
_LOOSE = "beside the class folders"


@dataclasses.dataclass
class _Found:
    """What lies below a class folder."""

    images: list[str] = dataclasses.field(default_factory=list)
    """The paths of the images below the folder, in the order of the split."""
    bad: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """(path, reason) of each file that should be an image and is none."""
    passed_over: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """The number of files of each other kind."""

    @property
    def is_class(self) -> bool:
        """Whether the folder may be a class: it holds images, or nothing that somebody put there instead of images."""
        return bool(self.images or self.bad) or self.passed_over.keys() <= _SYSTEM_KINDS


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Returns what lies in a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UserError(f"there is no folder {escaped(folder)}: check the path") from None
    except OSError as error:
        raise _not_readable(folder, error) from None


def _not_readable(folder: str, error: OSError) -> UserError:
    return UserError(
        f"the folder {escaped(folder)} cannot be read ({error.strerror}): make it readable, or name another"
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError as error:
        raise _not_readable(entry.path, error) from None
    except OSError:  # a link that leads nowhere is judged as a file
        return False


def _is_of_users(folder: str) -> bool:
    """Returns whether the name of a folder is not one of those that systems make, or hidden."""
    return not folder.startswith(".") and folder.lower() not in _SYSTEM_FOLDERS


def _root(rest: str) -> str:
    # Unlike pathlib's, this function leaves a user's name that does not exist as it is.
    return os.path.expanduser(rest) or "."


def folder_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of a data set's splits: the folders in its folder.

    Args:
        rest: the folder's path; ``~`` is expanded.
        data_dir: not used.

    Raises:
        UserError: there is no such folder, or it cannot be read.
    """
    return tuple(entry.name for entry in _entries(_root(rest)) if _is_folder(entry) and _is_of_users(entry.name))


def _kind(name: str) -> str:
    """Returns the kind of a file by its name: its suffix, ``hidden``, or the whole name where it has no suffix."""
    if name.startswith("."):
        return "hidden"
    return os.path.splitext(name)[1].lower() or name.lower()


def _is_other(name: str) -> bool:
    """Returns whether a file is not an image by its name alone."""
    kind = _kind(name)
    return kind in _OTHER_KINDS or kind in _OTHER_NAMES


def _judge(entry: os.DirEntry[str]) -> str | None:
    """Returns why a file is not an image that can be read; None if it may be one."""
    try:
        if not entry.is_file() and os.path.exists(entry.path):
            return "is no ordinary file"  # opening a pipe would wait for ever
        with open(entry.path, "rb") as file:
            return refusal(file.read(BEGINNING))
    except OSError as error:
        return f"cannot be opened ({error.strerror})"


def _scan(folder: str) -> _Found:
    """Finds what lies below a class folder, at any depth and through links.

    The order is that of torchvision's ``ImageFolder``: by folder, then by name.
    """
    found = _Found()

    def walk(path: str, above: str, ancestors: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str]]:
        for entry in _entries(path):
            if _is_folder(entry):
                status = entry.stat()
                here = (status.st_dev, status.st_ino)
                if _is_of_users(entry.name) and here not in ancestors:  # a link may lead back up
                    yield from walk(entry.path, os.path.join(above, entry.name), (*ancestors, here))
                continue
            kind = _kind(entry.name)
            if _is_other(entry.name):
                found.passed_over[kind] += 1
            elif (reason := _judge(entry)) is None:
                yield above, entry.name
            elif kind.startswith(".") and not is_image_suffix(kind) and reason in ("is not an image", "is empty"):
                found.passed_over[kind] += 1
            else:
                found.bad.append((entry.path, reason))

    status = os.stat(folder)
    found.images = [os.path.join(*each) for each in sorted(walk(folder, "", ((status.st_dev, status.st_ino),)))]
    return found


def open_folder(request: SourceRequest) -> Source:
    """Opens one split: the beginning of every file is read, to leave out those that are not images.

    Files of other kinds, such as ``.json``, are passed over by their names, and so are folders that systems make. A
    folder that holds only files of other kinds is not a class.

    Raises:
        UserError: the split has no class folders, one of its folders cannot be read, or more than
            ``request.max_bad_share`` of its files cannot be read as images.
    """
    path = os.path.join(_root(request.rest), request.split)
    entries = _entries(path)
    candidates = [entry.name for entry in entries if _is_folder(entry)]
    names = [name for name in candidates if _is_of_users(name)]
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        scanned = dict(zip(names, pool.map(_scan, [os.path.join(path, name) for name in names]), strict=True))
    classes = {name: found for name, found in scanned.items() if found.is_class}
    if not classes:
        raise UserError(f"{escaped(path)} holds no class folders: its images must lie below {escaped(path)}/CLASS/")
    files = [(name, file) for name, found in classes.items() for file in found.images]
    labels = np.repeat(np.arange(len(classes)), [len(found.images) for found in classes.values()])
    bad = tuple(item for found in classes.values() for item in found.bad)
    refuse_bad(bad, len(files) + len(bad), request.max_bad_share, escaped(path))
    passed_over = sum((found.passed_over for found in scanned.values()), collections.Counter[str]())
    loose = [entry.name for entry in entries if entry.name not in candidates]
    passed_over.update(_kind(name) if _is_other(name) else _LOOSE for name in loose)

    def where(index: int) -> Path:
        return Path(path, *files[index])

    def listing() -> Iterator[str]:
        for index, (name, file) in enumerate(files):
            yield f"{name}/{file} {where(index).stat().st_size}"

    return Source(
        request.name,
        request.split,
        class_names=tuple(classes),
        size=len(files),
        read=lambda index: (where(index).read_bytes(), int(labels[index])),
        describe=lambda index: str(where(index)),
        bad=bad,
        passed_over=passed_over,
        not_classes=tuple(name for name in candidates if name not in classes and not name.startswith(".")),
        file_name=lambda index: os.path.basename(files[index][1]),
        label=lambda index: int(labels[index]),
        listing=listing,
    )
