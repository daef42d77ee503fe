"""Files of weights, which are told apart by their content and not by their names."""

import json
from collections.abc import Mapping
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np

from jaxcnn.weights import torch_file
from jaxcnn.weights.errors import FileError, WeightsError
from jaxcnn.weights.save import CLASS_NAMES, FACTS
from jaxcnn.weights.state_dicts import find_state


def read_file(path: Path, find: torch_file.Find = find_state) -> Mapping[str, np.ndarray]:
    """Reads a file that ``torch.save`` or safetensors wrote, or a folder that `jaxcnn.weights.save` wrote with orbax.

    Args:
        path: the path of the file or folder.
        find: the function that finds the state dict in what the file holds.

    Returns:
        The state dict, in the file's shapes and dtypes; see `jaxcnn.weights.torch_file.read_state`.

    Raises:
        WeightsError: there is no such file, or it is not a whole file of weights.
    """
    try:
        return _read(path, find)
    except WeightsError:
        raise
    except FileError as error:
        raise WeightsError(f"{path} {error}") from None
    except PermissionError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # damaged bytes raise many kinds inside zipfile, zlib, pickletools and safetensors
        reason = ascii(str(error) or type(error).__name__)[1:-1]
        raise WeightsError(f"{path} is not a whole file of weights ({reason[:200]}): fetch it again") from None


def read_class_names(path: Path) -> tuple[str, ...] | None:
    """Returns the class names that `jaxcnn.weights.save.save_variables` wrote with a network; None if there are none.

    Args:
        path: the path of a file or folder that `read_file` reads.
    """
    try:
        if path.is_dir():
            names = json.loads((path / f"{CLASS_NAMES}.json").read_text(encoding="utf-8"))
        else:
            import safetensors

            with safetensors.safe_open(path, "numpy") as file:
                names = json.loads((file.metadata() or {})[CLASS_NAMES])
    except Exception:  # what it is not has been said by `read_file`, or is of no matter
        return None
    is_list = isinstance(names, list) and all(isinstance(name, str) and name.isprintable() for name in names)
    return tuple(names) if is_list else None


def read_facts(path: Path) -> str | None:
    """Returns the text of JSON in which `jaxcnn export` has said what the network is; None if there is none.

    Args:
        path: the path of a file or folder that `read_file` reads.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(torch_file.ZIP)) == torch_file.ZIP:
                return torch_file.read_about(file)
        import safetensors

        with safetensors.safe_open(path, "numpy") as tensors:
            return (tensors.metadata() or {}).get(FACTS)
    except Exception:  # `read_file` refuses what cannot be read
        return None


def _read(path: Path, find: torch_file.Find) -> Mapping[str, np.ndarray]:
    if path.is_dir():
        if not (path / "_METADATA").is_file():
            raise FileError("is a folder, and not an orbax checkpoint: give the path of a .pth or .safetensors file")
        return find(_read_orbax(path))
    if not path.is_file():  # a pipe or a device is no file either
        raise WeightsError(f"there is no file {path}: give the path of a .pth or .safetensors file")
    with path.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        if start[8:9] == b"{":
            return find(_read_safetensors(path))
        if start.startswith((torch_file.ZIP, torch_file.LEGACY)):
            return torch_file.read_state(file, find)
    raise FileError(_not_weights(start))


def _not_weights(start: bytes) -> str:
    """Returns the clause that says what a file with this start is."""
    if not start:
        return "is empty: fetch it again"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer to a file in Git LFS and not the file: fetch it with git lfs pull"
    if start.lstrip()[:1] == b"<":
        return "is a web page and not weights: look into it, and fetch the file again"
    if start.startswith(b"\x80"):
        return "is a pickle, but not one of PyTorch's files: save it with torch.save(model.state_dict(), ...)"
    return "is neither a PyTorch nor a safetensors file: give the path of a .pth or .safetensors file"


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    import safetensors.numpy

    return safetensors.numpy.load_file(path)


def _read_orbax(path: Path) -> dict[str, np.ndarray]:
    import orbax.checkpoint

    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        tree = jax.device_get(checkpointer.restore(path.absolute()))
    return flax.traverse_util.flatten_dict(tree, sep="/")
