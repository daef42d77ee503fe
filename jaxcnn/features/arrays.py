"""Arrays in a folder of resumable work, each file of which is whole or absent."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from jaxcnn.errors import UserError, writing
from jaxcnn.paths import replace_whole
from jaxcnn.work_folder import OTHER_FOLDER


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays to a safetensors file, whose folder is made if need be.

    Raises:
        UserError: the file cannot be written.
        MachineError: the disk is full, or fails.
    """
    with writing(path, OTHER_FOLDER):
        path.parent.mkdir(exist_ok=True)
        replace_whole(path, safetensors.numpy.save({name: np.asarray(a, order="C") for name, a in arrays.items()}))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays that `write_arrays` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return safetensors.numpy.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}): delete it, and it is made anew") from None
