"""What a result was made with: versions of packages, and the code of this one."""

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

STEP = (
    *("adaptation", "assembly", "augment", "config", "data", "devices", "evaluation", "layers", "models", "networks"),
    *("ops", "plain_flax", "training"),
)
"""The parts of this package that make a training step."""


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Returns the versions of those of the packages that are installed, by name."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def digest(*texts: str) -> str:
    """Returns the SHA-256 of texts, in hexadecimal digits."""
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()


@functools.cache
def digest_of_code(parts: tuple[str, ...] = ()) -> str:
    """Returns the SHA-256 of the sources of parts of this package, or of all of it, as this process first finds them.

    Args:
        parts: the names of modules and packages right below ``jaxcnn``.
    """
    root = Path(__file__).parent
    where = [root / part for part in parts] or [root]
    files = [path for each in where for path in (each.with_suffix(".py"), *each.rglob("*.py")) if path.is_file()]
    names = sorted((path.relative_to(root).as_posix(), path) for path in files)
    return digest(*(text for name, path in names for text in (name, path.read_text())))
