"""The ILSVRC family of convolutional networks as pure functions in JAX and Flax Linen.

These functions are the front door. `list_models` and `create_model` make networks, `load_pretrained` reads published
weights or a file into their variables, `load` returns a run or a published network ready to predict and evaluate, and
`train` trains a recipe. `keep_freed_memory` and `settled` make loops of one's own faster on a CPU, and
`fold_batch_norm` makes networks faster that no longer train.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxcnn.devices.memory import keep_freed_memory, settled
    from jaxcnn.loading import load
    from jaxcnn.models.folding import fold_batch_norm
    from jaxcnn.models.registry import create_model, list_models
    from jaxcnn.runs import train
    from jaxcnn.weights.load import load_pretrained

    __version__: str

__all__ = [
    "__version__",
    "create_model",
    "fold_batch_norm",
    "keep_freed_memory",
    "list_models",
    "load",
    "load_pretrained",
    "settled",
    "train",
]

_HOMES = {
    "create_model": "jaxcnn.models.registry",
    "fold_batch_norm": "jaxcnn.models.folding",
    "keep_freed_memory": "jaxcnn.devices.memory",
    "list_models": "jaxcnn.models.registry",
    "load": "jaxcnn.loading",
    "load_pretrained": "jaxcnn.weights.load",
    "settled": "jaxcnn.devices.memory",
    "train": "jaxcnn.runs",
}


def __getattr__(name: str) -> object:
    """Imports a name when it is first asked for, so that ``import jaxcnn`` itself is quick."""
    if name == "__version__":
        return importlib.metadata.version("jaxcnn")
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxcnn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
