"""Torchvision's names of ConvNeXt."""

from jaxcnn.weights.rules.rule import Rule

RULES = (
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
)
