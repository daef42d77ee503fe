"""The errors of reading weights."""

from jaxcnn.errors import UserError


class WeightsError(UserError):
    """An error for weights that cannot be read or written, or do not fit the network."""


class FileError(ValueError):
    """An error for bytes that are not a file of weights; the message is a clause that follows the file's name."""
