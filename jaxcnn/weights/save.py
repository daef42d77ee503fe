"""Variables out, under our own names, so that `load_pretrained` reads them without a table of renames."""

import os
from pathlib import Path
from typing import Any, Literal

import flax.traverse_util
import jax
import numpy as np

from jaxcnn.weights.errors import WeightsError

Format = Literal["safetensors", "orbax"]


def save_variables(variables: Any, path: Path, format: Format = "safetensors") -> None:
    """Writes a network's variables.

    Args:
        variables: ``{"params": ..., "batch_stats": ...}``.
        path: of the file, whose tensors are named ``params/conv1/kernel``, or for orbax of the folder.
        format: one file that any reader of safetensors opens, or a checkpoint that orbax restores as this tree.

    Raises:
        WeightsError: there is something at that path, or it cannot be written.
    """
    if path.exists():
        raise WeightsError(f"there is {path} already: remove it, or give another path")
    host = jax.device_get(variables)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if format == "orbax":
            import orbax.checkpoint

            with orbax.checkpoint.StandardCheckpointer() as checkpointer:
                checkpointer.save(path.absolute(), host)
        else:
            import safetensors.numpy

            flat = flax.traverse_util.flatten_dict(host, sep="/")
            partial = path.with_name(f".{path.name}.partial")
            safetensors.numpy.save_file({place: np.ascontiguousarray(value) for place, value in flat.items()}, partial)
            os.replace(partial, path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}") from None
