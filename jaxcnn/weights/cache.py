"""Published files: they are fetched once, checked against their hash, and kept in a folder.

Most publishers put the beginning of a file's SHA-256 into its name, so it is known before anything is fetched. The Hub
of Hugging Face does not, but it announces the SHA-256 when a file is asked for. A file from there is checked against
that, which shows that it arrived as it was sent, and not that it is the file of last year.
"""

import contextlib
import hashlib
import http.client
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from jaxcnn.paths import cache_folder
from jaxcnn.weights.errors import WeightsError

_CHUNK = 1 << 20
"""The number of bytes that are read and hashed at a time."""
_SECONDS = 60
"""The time without a byte after which a server is given up."""
_ANNOUNCED = "X-Linked-ETag"
"""The header in which the Hub of Hugging Face announces the SHA-256 of a large file, when it redirects to the file."""


def cached(url: str, sha256: str | None, name: str) -> Path:
    """Returns the path of a published file in `cache_folder`, fetching it where it is not there yet.

    A file is written under a temporary name and renamed when it is found right, so every file in the folder is whole.

    Args:
        url: the address of the file, with ``https``.
        sha256: the beginning of its SHA-256, in hexadecimal. None where nobody published it: then the file is compared
            with the SHA-256 that the server announces, if it does, and a file that is in the folder is not checked.
        name: the name of the file in the folder.

    Raises:
        WeightsError: it cannot be fetched, or the folder or the address has another file in its place.
    """
    path = cache_folder() / name
    if path.exists():
        if sha256 is not None:
            check(path, sha256, f"remove it, and {url} is fetched again")
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as partial:
            try:
                with _open(url) as answer:
                    found = _hash(answer, partial)
                    announced, length = _announced(answer), answer.headers.get("Content-Length")
                if sha256 is not None and not found.startswith(sha256):
                    raise WeightsError(
                        f"{url} gave another file than was published: its SHA-256 begins with "
                        f"{found[: len(sha256)]} and not with {sha256}; try again, or put the right file at {path}"
                    )
                if announced not in (None, found) or (length and int(length) != partial.tell()):
                    raise WeightsError(
                        f"{url} gave another file than it announced: it has {partial.tell():,} bytes of {length}, and "
                        f"the SHA-256 {found}; try again, or put the right file at {path}"
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


def _announced(answer: http.client.HTTPResponse) -> str | None:
    """Returns the SHA-256 that a server announces for the file of its answer, if it does."""
    tag = answer.headers.get(_ANNOUNCED, "").strip('"')
    return tag if re.fullmatch("[0-9a-f]{64}", tag) else None


def check(path: Path, sha256: str, way_out: str) -> None:
    """Refuses a file whose SHA-256 does not begin as it should.

    Args:
        path: the path of the file.
        sha256: the beginning of its SHA-256, in hexadecimal.
        way_out: the clause that ends the message.

    Raises:
        WeightsError: the SHA-256 begins otherwise, or the file cannot be read.
    """
    found = sha256_of(path)
    if not found.startswith(sha256):
        raise WeightsError(
            f"{path} is not the file that was published under that name: its SHA-256 begins with "
            f"{found[: len(sha256)]} and not with {sha256}; {way_out}"
        )


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _hash(file)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}): give a file that can be read") from None


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
    """Follows redirections to https alone, and keeps the SHA-256 that one of them announces."""

    announced: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not https")
        self.announced = self.announced or headers.get(_ANNOUNCED)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> http.client.HTTPResponse:
    if not url.startswith("https://"):
        raise urllib.error.URLError("it is not https")
    redirections = _OnlyHttps()
    answer = urllib.request.build_opener(redirections).open(url, timeout=_SECONDS)
    if redirections.announced and _ANNOUNCED not in answer.headers:
        answer.headers[_ANNOUNCED] = redirections.announced
    return answer
