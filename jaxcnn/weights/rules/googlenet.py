"""Torchvision's names of GoogLeNet."""

from jaxcnn.weights.rules.rule import Rule

RULES = (
    *(
        Rule(rf"{theirs}\.{layer}", f"{ours}/{name}")
        for theirs, ours in (
            ("conv1", "conv1"),
            ("conv2", "conv2_reduce"),
            ("conv3", "conv2"),
            (r"inception(\d\w)\.branch1", r"inception\1/conv1x1"),
            (r"inception(\d\w)\.branch2\.0", r"inception\1/reduce3x3"),
            (r"inception(\d\w)\.branch2\.1", r"inception\1/conv3x3"),
            (r"inception(\d\w)\.branch3\.0", r"inception\1/reduce5x5"),
            (r"inception(\d\w)\.branch3\.1", r"inception\1/conv5x5_1"),
            (r"inception(\d\w)\.branch4\.1", r"inception\1/projection"),
            (r"aux(\d)\.conv", r"auxiliary\1/conv"),
        )
        for layer, name in (("conv", "conv"), ("bn", "norm"))
    ),
    Rule(r"aux(\d)\.fc1", r"auxiliary\1/hidden/conv"),
    Rule(r"aux(\d)\.fc2", r"auxiliary\1/dense"),
    Rule(r"fc", "classifier/dense"),
)
