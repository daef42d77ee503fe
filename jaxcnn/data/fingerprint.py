"""The fingerprint of a split: what can be known of its images without reading them, to tell whether they have changed.

It holds no times and no absolute paths, so a copy of a data set has the fingerprint of the original.
"""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jaxcnn.data.sources import Source
from jaxcnn.types import JsonObject

_THREADS, _CHUNK = 16, 256
_SHOWN = 3
"""The number of classes that a message names."""


@dataclasses.dataclass(frozen=True)
class Part:
    """The files of a split that lie in one of its folders: those of a class, or the shards of one version."""

    files: int
    """The number of the files."""
    size: int
    """The number of bytes in all of them."""
    sha256: str
    """The SHA-256 of their names and sizes."""


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
    """The files that the images are in, by folder; empty for a kind of data set that tells of none."""

    def to_json(self) -> JsonObject:
        """Returns the fingerprint as an object of JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: JsonObject) -> "Fingerprint":
        """Returns the fingerprint that `to_json` returned."""
        parts = {name: Part(**part) for name, part in stored["parts"].items()}
        return cls(stored["split"], stored["images"], tuple(stored["class_names"]), parts)


def fingerprint(source: Source) -> Fingerprint:
    """Returns the fingerprint of a split; looks up the size of each of its files."""
    files = list(source.files().items()) if source.files else []
    parts: dict[str, list[tuple[str, int]]] = defaultdict(list)
    with ThreadPoolExecutor(_THREADS) as pool:
        # A call of a thread for each of a million files would take longer than to look it up.
        for chunk in pool.map(_sizes, (files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK))):
            for name, size in chunk:
                parts[name.partition("/")[0]].append((name, size))
    return Fingerprint(
        source.split,
        source.size,
        source.class_names,
        {name: _part(files) for name, files in sorted(parts.items())},
    )


def _sizes(files: Sequence[tuple[str, Path]]) -> list[tuple[str, int]]:
    return [(name, _size(path)) for name, path in files]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # it will count as unreadable, and so it differs from the file that it was


def _part(files: Sequence[tuple[str, int]]) -> Part:
    digest = hashlib.sha256()
    for name, size in sorted(files):
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
    return Part(len(files), sum(size for _, size in files), digest.hexdigest())


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
            return f"{name!r} has {is_now.files:,} files and had {was.files:,}"
        elif was.size != is_now.size:
            return f"the files of {name!r} have {is_now.size:,} bytes and had {was.size:,}"
        elif was.sha256 != is_now.sha256:
            return f"the files of {name!r} have other names or sizes"
    if before.images != now.images:
        return f"it has {now.images:,} images and had {before.images:,}"
    return None


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN])) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"the class {shown} is" if len(names) == 1 else f"the classes {shown} are"
