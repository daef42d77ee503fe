"""One table of renames a family: PyTorch's module paths to ours.

A rule's pattern must match the path of a module whole. Every module of a source matches exactly one rule. The leaf
(``weight``, ``bias``, ``running_mean``, ``running_var``) follows from the kind of tensor, in `jaxcnn.weights.load`.
"""

from collections.abc import Callable

from jaxcnn.models.variant import Variant
from jaxcnn.weights.rules import (
    alexnet,
    convnext,
    densenet,
    efficientnet,
    googlenet,
    inception,
    nasnet,
    regnet,
    resnet,
    vgg,
)
from jaxcnn.weights.rules.rule import Rule

RULES: dict[str, tuple[Rule, ...] | Callable[[Variant], tuple[Rule, ...]]] = {
    "alexnet": alexnet.rules,
    "convnext": convnext.RULES,
    "densenet": densenet.RULES,
    "efficientnet": efficientnet.RULES,
    "googlenet": googlenet.RULES,
    "inception": inception.RULES,
    "nasnet": nasnet.RULES,
    "regnet": regnet.RULES,
    "resnet": resnet.RULES,
    "vgg": vgg.rules,
}
"""By family; a function where the names depend on the variant."""


def rules_of(variant: Variant) -> tuple[Rule, ...]:
    """Returns the table of a network, empty where there are no published weights of it."""
    rules = RULES.get(variant.family, ())
    return rules(variant) if callable(rules) else rules
