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
    "regnet": (
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
    ),
    "efficientnet": (
        # torchvision's names.
        Rule(r"features\.0\.0", "stem_conv"),
        Rule(r"features\.0\.1", "stem_norm"),
        # The blocks of the first stage have no expansion, and so count from the depthwise convolution.
        Rule(r"features\.1\.(\d+)\.block\.0\.0", r"stage1_block\1/depthwise_conv"),
        Rule(r"features\.1\.(\d+)\.block\.0\.1", r"stage1_block\1/depthwise_norm"),
        Rule(r"features\.1\.(\d+)\.block\.2\.0", r"stage1_block\1/project_conv"),
        Rule(r"features\.1\.(\d+)\.block\.2\.1", r"stage1_block\1/project_norm"),
        Rule(r"features\.([2-7])\.(\d+)\.block\.0\.0", r"stage\1_block\2/expand_conv"),
        Rule(r"features\.([2-7])\.(\d+)\.block\.0\.1", r"stage\1_block\2/expand_norm"),
        Rule(r"features\.([2-7])\.(\d+)\.block\.1\.0", r"stage\1_block\2/depthwise_conv"),
        Rule(r"features\.([2-7])\.(\d+)\.block\.1\.1", r"stage\1_block\2/depthwise_norm"),
        Rule(r"features\.([2-7])\.(\d+)\.block\.3\.0", r"stage\1_block\2/project_conv"),
        Rule(r"features\.([2-7])\.(\d+)\.block\.3\.1", r"stage\1_block\2/project_norm"),
        Rule(r"features\.([1-7])\.(\d+)\.block\.\d\.fc1", r"stage\1_block\2/squeeze_excite/reduce"),
        Rule(r"features\.([1-7])\.(\d+)\.block\.\d\.fc2", r"stage\1_block\2/squeeze_excite/expand"),
        Rule(r"features\.8\.0", "head_conv"),
        Rule(r"features\.8\.1", "head_norm"),
        Rule(r"classifier\.1", "classifier/dense"),
        # timm's names; it counts stages from 0.
        Rule(r"conv_stem", "stem_conv"),
        Rule(r"bn1", "stem_norm"),
        Rule(r"blocks\.0\.(\d+)\.conv_dw", r"stage1_block\1/depthwise_conv"),
        Rule(r"blocks\.0\.(\d+)\.bn1", r"stage1_block\1/depthwise_norm"),
        Rule(r"blocks\.0\.(\d+)\.conv_pw", r"stage1_block\1/project_conv"),
        Rule(r"blocks\.0\.(\d+)\.bn2", r"stage1_block\1/project_norm"),
        *(
            Rule(rf"blocks\.{stage - 1}\.(\d+)\.{module}", rf"stage{stage}_block\1/{ours}")
            for stage in range(2, 8)
            for module, ours in (
                ("conv_pw", "expand_conv"),
                ("bn1", "expand_norm"),
                ("conv_dw", "depthwise_conv"),
                ("bn2", "depthwise_norm"),
                ("conv_pwl", "project_conv"),
                ("bn3", "project_norm"),
            )
        ),
        *(
            Rule(rf"blocks\.{stage - 1}\.(\d+)\.se\.conv_(reduce|expand)", rf"stage{stage}_block\1/squeeze_excite/\2")
            for stage in range(1, 8)
        ),
        Rule(r"conv_head", "head_conv"),
        Rule(r"bn2", "head_norm"),
        Rule(r"classifier", "classifier/dense"),
    ),
    "convnext": (
        Rule(r"features\.0\.0", "stem_conv"),
        Rule(r"features\.0\.1", "stem_norm"),
        # Stages are features 1, 3, 5 and 7, and what halves the resolution before them 2, 4 and 6.
        *(
            Rule(rf"features\.{2 * stage - 1}\.(\d+){module}", rf"stage{stage}_block\1{ours}")
            for stage in range(1, 5)
            for module, ours in (
                ("", ""),  # of the layer scale, which is the block's own
                (r"\.block\.0", "/depthwise_conv"),
                (r"\.block\.2", "/norm"),
                (r"\.block\.3", "/expand"),
                (r"\.block\.5", "/project"),
            )
        ),
        *(Rule(rf"features\.{2 * stage - 2}\.0", f"stage{stage}_downsample_norm") for stage in range(2, 5)),
        *(Rule(rf"features\.{2 * stage - 2}\.1", f"stage{stage}_downsample_conv") for stage in range(2, 5)),
        Rule(r"classifier\.0", "classifier/norm"),
        Rule(r"classifier\.2", "classifier/dense"),
    ),
}
