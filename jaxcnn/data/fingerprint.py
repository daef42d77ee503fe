"""The fingerprint of a split: what can be known of its images without reading them, to tell whether they have changed.

It holds no times and no absolute paths, so a copy of a data set has the fingerprint of the original.
"""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from jaxcnn.data.sources import Source
from jaxcnn.errors import UserError
from jaxcnn.types import JsonObject

_OTHER_FILES = "its files have other names, sizes or contents"
_SHOWN = 3
"""The number of classes that a message names."""


@dataclasses.dataclass(frozen=True)
class Part:
    """The files of a split that lie in one of its folders, such as those of a class."""

    files: int
    """The number of the files."""
    sha256: str
    """The SHA-256 of what the source lists of them: their names and their sizes."""


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of a split."""

    split: str
    """The name of the split."""
    images: int
    """The number of images."""
    class_names: tuple[str, ...]
    """The classes' names, by label."""
    parts: Mapping[str, Part]
    """The files that the images are in, by folder, those in no folder under an empty name; no parts for a kind of data
    set that lists no files."""

    def to_json(self) -> JsonObject:
        """Returns the fingerprint as an object of JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: JsonObject) -> "Fingerprint":
        """Returns the fingerprint that `to_json` returned."""
        parts = {name: Part(**part) for name, part in stored["parts"].items()}
        return cls(stored["split"], stored["images"], tuple(stored["class_names"]), parts)


def fingerprint(source: Source) -> Fingerprint:
    """Returns the fingerprint of a split; looks up the size of each of its files.

    Raises:
        UserError: a file has gone since the split was opened.
    """
    return fingerprint_of(source.title, source.split, source.size, source.class_names, source.listing or (lambda: ()))


def fingerprint_of(
    title: str, split: str, images: int, class_names: tuple[str, ...], listing: Callable[[], Iterable[str]]
) -> Fingerprint:
    """Returns the fingerprint of a split of any kind.

    Args:
        title: the names of the data set and of the split, for messages.
        split: the name of the split.
        images: the number of images.
        class_names: the classes' names, by label.
        listing: a function that returns a line for each file, which begins with the file's path.

    Raises:
        UserError: a file has gone since the split was opened.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    try:
        for line in listing():
            folder, separator, _ = line.partition("/")
            parts[folder if separator else ""].append(line)
    except OSError as error:
        raise UserError(f"the files of {title} cannot be listed ({error}): see what has happened to them") from error
    return Fingerprint(split, images, class_names, {name: _part(files) for name, files in sorted(parts.items())})


def _part(lines: Sequence[str]) -> Part:
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(f"{line}\n".encode())
    return Part(len(lines), digest.hexdigest())


def difference(before: Fingerprint, now: Fingerprint) -> str | None:
    """Returns a clause that says in what a split has changed; None where nothing is known to have."""
    if before.split != now.split:
        return f"the split is {now.split!r} and was {before.split!r}"
    old_names, new_names = set(before.class_names), set(now.class_names)
    gone = [name for name in before.class_names if name not in new_names]
    new = [name for name in now.class_names if name not in old_names]
    if gone or new:
        said = [f"{_named(names)} {verb}" for names, verb in ((gone, "gone"), (new, "new")) if names]
        return " and ".join(said)
    if before.class_names != now.class_names:
        return "its classes are in another order"
    for name in sorted({*before.parts, *now.parts}):
        was, is_now = before.parts.get(name), now.parts.get(name)
        if was is None or is_now is None:
            if before.parts and now.parts:
                return f"the folder {name!r} is {'new' if was is None else 'gone'}"
        elif was.files != is_now.files:
            return f"{name!r} has {is_now.files:,} files and had {was.files:,}" if name else _OTHER_FILES
        elif was.sha256 != is_now.sha256:
            return f"the files of {name!r} have other names, sizes or contents" if name else _OTHER_FILES
    if before.images != now.images:
        return f"it has {now.images:,} images and had {before.images:,}"
    return None


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN])) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"the class {shown} is" if len(names) == 1 else f"the classes {shown} are"
