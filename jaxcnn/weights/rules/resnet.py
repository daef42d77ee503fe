"""Torchvision's names of ResNet, Wide ResNet and ResNeXt."""

from jaxcnn.weights.rules.rule import Rule

RULES = (
    Rule(r"conv1", "conv1"),
    Rule(r"bn1", "norm1"),
    Rule(r"layer(\d)\.(\d+)\.conv(\d)", r"stage\1_block\2/conv\3"),
    Rule(r"layer(\d)\.(\d+)\.bn(\d)", r"stage\1_block\2/norm\3"),
    Rule(r"layer(\d)\.(\d+)\.downsample\.0", r"stage\1_block\2/shortcut_conv"),
    Rule(r"layer(\d)\.(\d+)\.downsample\.1", r"stage\1_block\2/shortcut_norm"),
    Rule(r"fc", "classifier/dense"),
)
