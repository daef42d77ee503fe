"""Published files: fetched once, checked against their hash, kept in a folder."""

import contextlib
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from jaxcnn.weights.errors import WeightsError

_CHUNK = 1 << 20
_SECONDS = 60
"""Without a byte, before a server is given up."""


def folder() -> Path:
    """Returns where published files are kept: ``$JAXCNN_CACHE``, by default ``~/.cache/jaxcnn``."""
    return Path(os.environ.get("JAXCNN_CACHE") or Path.home() / ".cache" / "jaxcnn")


def cached(url: str, sha256: str) -> Path:
    """Returns the path of a published file, fetching it where it is not in the folder yet.

    It is written under a temporary name and renamed when its hash is right, so a file in the folder is whole.

    Args:
        url: of the file, with ``https``.
        sha256: how its SHA-256 begins, in hexadecimal.

    Raises:
        WeightsError: it cannot be fetched, or what is in the folder or comes from the address is another file.
    """
    path = folder() / url.rpartition("/")[2]
    if path.exists():
        check(path, sha256, f"remove it, and {url} is fetched again")
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as partial:
            try:
                with _open(url) as answer:
                    found = _hash(answer, partial)
                if not found.startswith(sha256):
                    raise WeightsError(
                        f"{url} gave another file than was published: its SHA-256 begins with "
                        f"{found[: len(sha256)]} and not with {sha256}; try again, or put the right file at {path}"
                    )
                os.replace(partial.name, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(partial.name)
                raise
    except (OSError, http.client.HTTPException) as error:  # what urllib raises is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise WeightsError(f"{url} cannot be fetched ({reason}): fetch it elsewhere, and put it at {path}") from None
    return path


def check(path: Path, sha256: str, way_out: str) -> None:
    """Refuses a file whose SHA-256 does not begin as it should.

    Raises:
        WeightsError: it does not, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = _hash(file)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}): {way_out}") from None
    if not found.startswith(sha256):
        raise WeightsError(
            f"{path} is not the file that was published under that name: its SHA-256 begins with "
            f"{found[: len(sha256)]} and not with {sha256}; {way_out}"
        )


def _hash(source: BinaryIO, copy: Any = None) -> str:
    """The SHA-256 of all there is to read; ``copy`` receives the bytes."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        if copy is not None:
            copy.write(chunk)
    if copy is not None:
        copy.flush()
    return digest.hexdigest()


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, answer, code, message, headers, address):
        if not address.startswith("https://"):
            raise urllib.error.URLError(f"it redirects to {address}, which is not https")
        return super().redirect_request(request, answer, code, message, headers, address)


def _open(url: str) -> Any:
    if not url.startswith("https://"):
        raise urllib.error.URLError("it is not https")
    return urllib.request.build_opener(_OnlyHttps).open(url, timeout=_SECONDS)
