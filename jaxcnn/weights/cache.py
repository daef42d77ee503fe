"""Published files: they are fetched once, checked against their hash, and kept in a folder."""

import contextlib
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from jaxcnn.paths import expanded
from jaxcnn.weights.errors import WeightsError

_CHUNK = 1 << 20
"""The number of bytes that are read and hashed at a time."""
_SECONDS = 60
"""The time without a byte after which a server is given up."""


def folder() -> Path:
    """Returns where published files are kept: ``$JAXCNN_CACHE``, by default ``~/.cache/jaxcnn``."""
    return expanded(os.environ.get("JAXCNN_CACHE") or "~/.cache/jaxcnn")


def cached(url: str, sha256: str) -> Path:
    """Returns the path of a published file, fetching it where it is not in the folder yet.

    A file is written under a temporary name and renamed when its hash is right, so every file in the folder is whole.

    Args:
        url: the address of the file, with ``https``.
        sha256: the beginning of its SHA-256, in hexadecimal.

    Raises:
        WeightsError: it cannot be fetched, or the folder or the address has another file in its place.
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
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise WeightsError(f"{url} cannot be fetched ({reason}): fetch it elsewhere, and put it at {path}") from None
    return path


def check(path: Path, sha256: str, way_out: str) -> None:
    """Refuses a file whose SHA-256 does not begin as it should.

    Args:
        path: the path of the file.
        sha256: the beginning of its SHA-256, in hexadecimal.
        way_out: the clause that ends the message.

    Raises:
        WeightsError: the SHA-256 begins otherwise, or the file cannot be read.
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


def _hash(source: IO[bytes] | http.client.HTTPResponse, copy: IO[bytes] | None = None) -> str:
    """Returns the SHA-256 of all bytes of a stream, which are written to ``copy`` too."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        if copy is not None:
            copy.write(chunk)
    if copy is not None:
        copy.flush()
    return digest.hexdigest()


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> http.client.HTTPResponse:
    if not url.startswith("https://"):
        raise urllib.error.URLError("it is not https")
    return urllib.request.build_opener(_OnlyHttps).open(url, timeout=_SECONDS)
