"""torchvision as the contenders import it."""

import importlib
from types import ModuleType

_KEPT: list[object] = []
"""The operators that were declared, which are gone when the object that declared them is."""


def torchvision_part(name: str) -> ModuleType:
    """Returns a module of torchvision, such as ``torchvision.models``.

    When it is imported, torchvision asks for two operators of its compiled part, which may be missing beside a build of
    PyTorch for CPUs alone. Neither classification nor an input stream uses them, so they are declared then and have no
    code.

    Raises:
        ImportError: PyTorch or torchvision is not installed.
    """
    try:
        return importlib.import_module(name)
    except RuntimeError:
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, operator):
                library.define(f"{operator}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
        return importlib.import_module(name)
