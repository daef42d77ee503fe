"""What may be wrong with weights."""

from jaxcnn.errors import UserError


class WeightsError(UserError):
    """Weights that cannot be read, or that are not those of the network they are for."""


class FileError(ValueError):
    """Bytes that are not a file of weights; the message is a clause that follows the file's name."""
