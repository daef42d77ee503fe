"""Text that others wrote, such as the names of files and classes, in a form that can be shown anywhere."""

import codecs
import contextlib
import io
import sys
import unicodedata
from collections.abc import Generator
from typing import TYPE_CHECKING

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
