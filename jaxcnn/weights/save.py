"""Writes variables under our own names, which `load_pretrained` reads without weight rules."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import flax.traverse_util
import jax
import numpy as np

from jaxcnn import strict_json
from jaxcnn.types import Variables
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.layouts import separated_variables

Format = Literal["safetensors", "orbax"]


CLASS_NAMES = "class_names"
"""The key of the class names, as JSON, in the metadata of a safetensors file; the name of their file beside orbax's."""
FACTS = "jaxcnn"
"""The key of what `jaxcnn export` says of a network, as JSON, in the metadata of files of safetensors and of ONNX."""


def save_variables(
    variables: Variables, path: Path, format: Format = "safetensors", class_names: Sequence[str] | None = None
) -> None:
    """Writes a network's variables.

    Args:
        variables: ``{"params": ..., "batch_stats": ...}``; stacked ones are written as those of single blocks.
        path: the path of the file, whose tensors are named ``params/conv1/kernel``; for orbax that of the folder.
        format: ``safetensors`` writes one file that any reader of safetensors opens, ``orbax`` a checkpoint that orbax
            restores as this tree.
        class_names: the name of each class, in the order of the logits, which `jaxcnn.load` finds again.

    Raises:
        WeightsError: there is something at that path already, or it cannot be written.
    """
    if path.exists():
        raise WeightsError(f"there is {path} already: remove it, or give another path")
    host = jax.device_get(separated_variables(variables))
    names = None if class_names is None else strict_json.dumps(list(class_names))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if format == "orbax":
            import orbax.checkpoint

            with orbax.checkpoint.StandardCheckpointer() as checkpointer:
                checkpointer.save(path.absolute(), host)
            if names is not None:
                (path / f"{CLASS_NAMES}.json").write_text(names, encoding="utf-8")
        else:
            import safetensors.numpy

            flat = flax.traverse_util.flatten_dict(host, sep="/")
            partial = path.with_name(f".{path.name}.partial")
            arrays = {name: np.ascontiguousarray(value) for name, value in flat.items()}
            safetensors.numpy.save_file(arrays, partial, None if names is None else {CLASS_NAMES: names})
            os.replace(partial, path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}") from None
