"""Torchvision's names of Inception v3."""

from jaxcnn.weights.rules.rule import Rule

RULES = (
    *(
        Rule(rf"{theirs}\.{layer}", f"{ours}/{name}")
        for theirs, ours in (
            (r"Conv2d_(\d\w)_\dx\d", r"conv\1"),
            # A branch of one convolution has no number, nor has the pooled one.
            (r"Mixed_(\d\w)\.(branch\dx\d)", r"mixed\1/\2_1"),
            (r"Mixed_(\d\w)\.branch_pool", r"mixed\1/branch_pool"),
            (r"Mixed_(\d\w)\.(branch\dx\d)_(\d[ab]?)", r"mixed\1/\2_\3"),
            (r"Mixed_(\d\w)\.(branch\dx\d)dbl_(\d[ab]?)", r"mixed\1/\2_double_\3"),
            # A 7x7 and a 3x3.
            (r"Mixed_7a\.branch7x7x3_(\d)", r"mixed7a/branch7x7_\1"),
            (r"AuxLogits\.conv0", "auxiliary1/conv1"),
            (r"AuxLogits\.conv1", "auxiliary1/conv2"),
        )
        for layer, name in (("conv", "conv"), ("bn", "norm"))
    ),
    Rule(r"AuxLogits\.fc", "auxiliary1/classifier/dense"),
    Rule(r"fc", "classifier/dense"),
)
