"""Weights for other libraries: a network's variables under torchvision's, timm's or our own names."""

from pathlib import Path
from typing import Literal

import flax.traverse_util
import jax
import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.export.about import about, text
from jaxcnn.models.registry import get_variant
from jaxcnn.trained import Trained
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.files import read_file
from jaxcnn.weights.layouts import separated
from jaxcnn.weights.load import convert
from jaxcnn.weights.save import FACTS
from jaxcnn.weights.theirs import Publisher, state_dict
from jaxcnn.weights.torch_save import save_state

WeightsFormat = Literal["safetensors", "pth"]
Names = Publisher | Literal["jaxcnn"]


def export_weights(network: Trained, path: Path, format: WeightsFormat, names: Names = "torchvision") -> str:
    """Writes a network's weights, and reads them again as `load_pretrained` would.

    Args:
        network: the network, which was loaded by its name.
        path: the path of the file, whose content is replaced.
        format: ``safetensors``, or ``pth``, which ``torch.load(..., weights_only=True)`` takes.
        names: whose names and layouts the tensors have.

    Returns:
        The sentence that says what was compared.

    Raises:
        UserError: the network is none of `list_models`, or has no names of that publisher.
        OSError: the file cannot be written.
    """
    if network.origin is None:
        raise UserError("the network is none that was loaded by its name: load a run, or a model with weights")
    variant = get_variant(network.origin.model)
    flat = separated(flax.traverse_util.flatten_dict(network.variables, sep="/"))
    arrays = {name: np.ascontiguousarray(array) for name, array in jax.device_get(flat).items()}
    state = arrays if names == "jaxcnn" else state_dict(arrays, variant, names)
    _write(path, state, network, format)
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}
    found = convert(read_file(path), () if names == "jaxcnn" else variant.rules, shapes)
    differing = [name for name, array in arrays.items() if found[name].tobytes() != array.tobytes()]
    if differing:
        raise WeightsError(f"{path} was read back with other numbers in {differing[0]}: give another path")
    return f"{len(state)} tensors, which were read back as the same {len(arrays)} variables, bit for bit"


def _write(path: Path, state: dict[str, np.ndarray], network: Trained, format: WeightsFormat) -> None:
    facts = text(about(network))
    if format == "pth":
        save_state(path, state, facts)
        return
    import safetensors.numpy

    safetensors.numpy.save_file(state, path, {"format": "pt", FACTS: facts})
