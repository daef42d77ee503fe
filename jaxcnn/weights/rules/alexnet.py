"""Torchvision's names of AlexNet."""

from jaxcnn.models.variant import Variant
from jaxcnn.weights.rules.rule import Rule

RULES = (
    *(Rule(rf"features\.{index}", f"conv{number}") for number, index in enumerate((0, 3, 6, 8, 10), 1)),
    Rule(r"classifier\.1", "classifier/fc6"),
    Rule(r"classifier\.4", "classifier/fc7"),
    Rule(r"classifier\.6", "classifier/fc8"),
)


def rules(variant: Variant) -> tuple[Rule, ...]:
    """Returns the table, empty for the network of 2012: there are no PyTorch weights of it."""
    return RULES if variant.name == "alexnet" else ()
