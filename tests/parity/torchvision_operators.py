"""Declares torchvision's compiled operators, which a CPU build of PyTorch may lack.

Import it before torchvision or timm is imported. Classification does not use the operators.
"""

import torch

LIBRARY = torch.library.Library("torchvision", "DEF")
LIBRARY.define("nms(Tensor a, Tensor b, float c) -> Tensor")
LIBRARY.define("qnms(Tensor a, Tensor b, float c) -> Tensor")
