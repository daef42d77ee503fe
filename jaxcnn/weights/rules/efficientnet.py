"""Torchvision's and timm's names of EfficientNet, timm's of EfficientNet-Lite, efficientnet_lite_pytorch's of Lite0."""

from jaxcnn.models.efficientnet import STAGES
from jaxcnn.weights.rules.rule import Rule

_BLOCKS = [(stage, index) for stage, row in enumerate(STAGES, 1) for index in range(row.blocks)]
"""Stage and block of each block of B0 and Lite0."""

RULES = (
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
    # efficientnet_lite_pytorch's names, of which there are weights of Lite0; it counts blocks through.
    Rule(r"_conv_stem", "stem_conv"),
    Rule(r"_bn0", "stem_norm"),
    *(
        Rule(rf"_blocks\.{number}\.{module}", f"stage{stage}_block{index}/{ours}")
        for number, (stage, index) in enumerate(_BLOCKS)
        for module, ours in (
            ("_expand_conv", "expand_conv"),
            ("_bn0", "expand_norm"),
            ("_depthwise_conv", "depthwise_conv"),
            ("_bn1", "depthwise_norm"),
            ("_project_conv", "project_conv"),
            ("_bn2", "project_norm"),
        )
    ),
    Rule(r"_conv_head", "head_conv"),
    Rule(r"_bn1", "head_norm"),
    Rule(r"_fc", "classifier/dense"),
)
