"""Torchvision's names of RegNet."""

from jaxcnn.weights.rules.rule import Rule

RULES = (
    Rule(r"stem\.0", "stem_conv"),
    Rule(r"stem\.1", "stem_norm"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.proj\.0", r"stage\1_block\2/shortcut_conv"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.proj\.1", r"stage\1_block\2/shortcut_norm"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.a\.0", r"stage\1_block\2/conv1"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.a\.1", r"stage\1_block\2/norm1"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.b\.0", r"stage\1_block\2/conv2"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.b\.1", r"stage\1_block\2/norm2"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.se\.fc1", r"stage\1_block\2/squeeze_excite/reduce"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.se\.fc2", r"stage\1_block\2/squeeze_excite/expand"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.c\.0", r"stage\1_block\2/conv3"),
    Rule(r"trunk_output\.block(\d)\.block\d-(\d+)\.f\.c\.1", r"stage\1_block\2/norm3"),
    Rule(r"fc", "classifier/dense"),
)
