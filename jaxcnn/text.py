"""Text that others wrote, such as the names of files and classes, in a form that can be shown anywhere."""

import codecs
import contextlib
import io
import sys
import unicodedata
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcnn.errors import UserError

if TYPE_CHECKING:
    import rich.console

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
"""The categories of characters that break lines, steer terminals, or cannot be encoded."""
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""The characters that turn the direction of the text after them."""


def escaped(text: str) -> str:
    r"""Returns a text with escapes for what cannot be shown as it is; any other text stays the same.

    Python reads each byte of a file's name that is not UTF-8 as a lone surrogate, which no stream can encode; it
    becomes ``\xf6``. So do characters that would break a line, steer a terminal or turn its direction.

    Examples:
        >>> print(escaped("br\udcf6ken.jpg"), escaped("two\nlines"), escaped("größer [1].jpg"))
        br\xf6ken.jpg two\nlines größer [1].jpg
    """
    if text.isprintable():
        return text
    return "".join(_escape(each) for each in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in _UNSAFE or character in _DIRECTIONS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def names_in(path: Path) -> tuple[str, ...]:
    """Returns the names of classes in a file of text: one a line, in the order of the labels.

    Raises:
        UserError: the file cannot be read or holds no text, or a line in it is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UserError(
            f"{path} cannot be read ({reason}): give a file with the name of a class on each line"
        ) from None
    names = tuple(line.strip() for line in lines)
    if not all(names):
        raise UserError(f"{path} has an empty line {names.index('') + 1}: give the name of a class on each line")
    return names


def say(console: "rich.console.Console", text: str) -> None:
    """Prints a text to a console as it is: nothing in it is markup, and nothing in it is wrapped."""
    console.print(escaped(text), markup=False, emoji=False, highlight=False, soft_wrap=True)


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Returns the escapes of the characters that a stream cannot encode: an error handler for `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    safe = (_escape(each) for each in characters)
    return "".join(each.encode("ascii", "backslashreplace").decode("ascii") for each in safe), error.end


codecs.register_error("jaxcnn.escape", _escape_unencodable)


@contextlib.contextmanager
def escaping_streams() -> Generator[None]:
    """Lets the standard output and error escape what they cannot encode, instead of failing.

    A message may quote any name, and the streams' encoding need not be UTF-8.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="jaxcnn.escape")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            if not stream.closed:
                stream.reconfigure(errors=errors)
