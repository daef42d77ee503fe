"""One table of renames a family: PyTorch's module paths to ours.

A rule's pattern must match the path of a module whole. Every module of a source matches exactly one rule. The leaf
(``weight``, ``bias``, ``running_mean``, ``running_var``) follows from the kind of tensor, in `jaxcnn.weights.load`.
"""

from collections.abc import Callable

from jaxcnn.models.variant import Variant
from jaxcnn.weights.rules import alexnet, convnext, efficientnet, regnet, resnet, vgg
from jaxcnn.weights.rules.rule import Rule

RULES: dict[str, tuple[Rule, ...] | Callable[[Variant], tuple[Rule, ...]]] = {
    "alexnet": alexnet.rules,
    "convnext": convnext.RULES,
    "efficientnet": efficientnet.RULES,
    "regnet": regnet.RULES,
    "resnet": resnet.RULES,
    "vgg": vgg.rules,
}
"""By family; a function where the names depend on the variant."""


def rules_of(variant: Variant) -> tuple[Rule, ...]:
    """Returns the table of a network, empty where there are no published weights of it."""
    rules = RULES.get(variant.family, ())
    return rules(variant) if callable(rules) else rules
