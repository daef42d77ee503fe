"""Torchvision's names of VGG."""

from jaxcnn.models.variant import Variant
from jaxcnn.weights.rules.rule import Rule


def rules(variant: Variant) -> tuple[Rule, ...]:
    """Returns the table, empty for the paper's networks that torchvision has not.

    Torchvision counts the layers of the features through: each convolution, normalization, activation and pooling.
    """
    if variant.name in ("vgg11_lrn", "vgg16_1x1"):
        return ()
    table, index = [], 0
    for stage, size in enumerate(variant.arguments["stage_sizes"], 1):
        for number in range(1, size + 1):
            table.append(Rule(rf"features\.{index}", f"conv{stage}_{number}"))
            index += 1
            if variant.arguments["batch_norm"]:
                table.append(Rule(rf"features\.{index}", f"norm{stage}_{number}"))
                index += 1
            index += 1  # the activation
        index += 1  # the pooling
    dense = (
        Rule(rf"classifier\.{index}", f"classifier/{name}") for index, name in ((0, "fc6"), (3, "fc7"), (6, "fc8"))
    )
    return (*table, *dense)
