"""The manifest of a checkpoint: the size and SHA-256 of each of its files, and the SHA-256 of the manifest itself."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

from jaxcnn.types import Json, JsonObject

MANIFEST = "manifest.json"
"""The name of the manifest, which lies in the folder of the checkpoint."""
_NUMBERS = ("metrics", "sums")
"""The parts of a manifest whose values are floats; manifests of earlier releases have no sums."""


class Damage(Exception):
    """An error for a damaged checkpoint; the message is a clause about one of its files: ``state/a is missing``."""


def saved_steps(directory: Path) -> list[int]:
    """Returns the steps with a committed checkpoint, oldest first, without checking that these are whole."""
    return [step for step in step_folders(directory) if (directory / str(step) / MANIFEST).exists()]


def step_folders(directory: Path) -> list[int]:
    """Returns the steps that have a folder, oldest first, whether it holds a manifest or not."""
    return sorted(int(path.name) for path in directory.glob("*") if re.fullmatch("0|[1-9][0-9]*", path.name))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprints(folder: Path) -> dict[str, JsonObject]:
    """Returns the size in bytes and the SHA-256 of every file under a folder, by its path relative to the folder."""
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _sealed(manifest: Mapping[str, Json]) -> str:
    """Returns a manifest's only valid text: its JSON, which ends with the SHA-256 of the rest."""
    # JSON has no numbers for NaN and infinities, so they are written as strings, which float() reads back.
    numbers = {
        part: {name: value if math.isfinite(value) else str(value) for name, value in manifest[part].items()}
        for part in _NUMBERS
        if part in manifest
    }
    content = {**manifest, **numbers}
    seal = hashlib.sha256(json.dumps(content, allow_nan=False).encode()).hexdigest()
    return json.dumps({**content, "sha256": seal}, indent=1) + "\n"


def write_manifest(path: Path, manifest: Mapping[str, Json]) -> None:
    """Writes a manifest, sealed by its own SHA-256."""
    path.write_text(_sealed(manifest), encoding="utf-8")


def read_manifest(folder: Path) -> JsonObject:
    """Returns the manifest of a checkpoint, as it was written.

    Raises:
        Damage: it is missing, or a single character of it has changed.
    """
    try:
        text = (folder / MANIFEST).read_bytes().decode()
        manifest = json.loads(text)
        del manifest["sha256"]
        for part in _NUMBERS:
            if part in manifest:
                manifest[part] = {name: float(value) for name, value in manifest[part].items()}
        whole = _sealed(manifest) == text
    except OSError as error:
        raise _unreadable(MANIFEST, error) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise Damage(f"{MANIFEST} is not what was written: its SHA-256 differs")
    return manifest


def verify(folder: Path) -> JsonObject:
    """Returns the manifest of a checkpoint, after checking that all of its files are as they were written.

    Raises:
        Damage: a file is not; the message says which, and how it differs.
    """
    manifest = read_manifest(folder)
    for name, written in manifest["files"].items():
        try:
            size = (folder / name).stat().st_size
            if size != written["size"]:
                raise Damage(f"{name} has {size} bytes where {written['size']} were written")
            if _sha256(folder / name) != written["sha256"]:
                raise Damage(f"{name} is not what was written: its SHA-256 differs")
        except OSError as error:
            raise _unreadable(name, error) from None
    return manifest


def _unreadable(name: str, error: OSError) -> Damage:
    return Damage(f"{name} is missing" if isinstance(error, FileNotFoundError) else f"{name} cannot be read: {error}")
