"""One table of renames a family: PyTorch's module paths to ours.

A rule's pattern must match the path of a module whole. Every module of a source matches exactly one rule. The leaf
(``weight``, ``bias``, ``running_mean``, ``running_var``) follows from the kind of tensor, in `jaxcnn.weights.load`.
"""

from typing import NamedTuple


class Rule(NamedTuple):
    """Where the tensors of PyTorch modules go."""

    pattern: str
    """A regular expression for the module's path."""
    replacement: str
    """Our module's path, with the groups of the pattern."""


RULES: dict[str, tuple[Rule, ...]] = {
    "resnet": (
        Rule(r"conv1", "conv1"),
        Rule(r"bn1", "norm1"),
        Rule(r"layer(\d)\.(\d+)\.conv(\d)", r"stage\1_block\2/conv\3"),
        Rule(r"layer(\d)\.(\d+)\.bn(\d)", r"stage\1_block\2/norm\3"),
        Rule(r"layer(\d)\.(\d+)\.downsample\.0", r"stage\1_block\2/shortcut_conv"),
        Rule(r"layer(\d)\.(\d+)\.downsample\.1", r"stage\1_block\2/shortcut_norm"),
        Rule(r"fc", "classifier/dense"),
    ),
}
