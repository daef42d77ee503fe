"""One table of renames a family: PyTorch's module paths to ours.

A rule's pattern must match the path of a module whole. Every module of a source matches exactly one rule. The leaf
(``weight``, ``bias``, ``running_mean``, ``running_var``) follows from the kind of tensor, in `jaxcnn.weights.load`.
"""

from jaxcnn.weights.rules import convnext, efficientnet, regnet, resnet
from jaxcnn.weights.rules.rule import Rule

RULES: dict[str, tuple[Rule, ...]] = {
    "convnext": convnext.RULES,
    "efficientnet": efficientnet.RULES,
    "regnet": regnet.RULES,
    "resnet": resnet.RULES,
}
"""By family."""
