"""The errors of reading weights."""

from jaxcnn.errors import UserError


class WeightsError(UserError):
    """An error for weights that cannot be read or written, or do not fit the network."""


class FileError(ValueError):
    """An error for bytes that are not a file of weights; the message is a clause that follows the file's name."""


def shown(name: str) -> str:
    """Returns a name from a file in a form that is safe to print: quoted, escaped, and not endless."""
    return ascii(name if len(name) <= 80 else f"{name[:77]}...")
