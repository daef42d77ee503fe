"""The errors of reading weights."""

from jaxcnn.errors import UserError


class WeightsError(UserError):
    """Weights cannot be read or written, or they do not fit the network."""


class FileError(ValueError):
    """Bytes are not a file of weights. The message is a clause that follows the file's name."""
