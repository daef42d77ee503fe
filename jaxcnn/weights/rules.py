"""One table of renames a family: PyTorch's module paths to ours.

A rule is (pattern, replacement) over the path of a module; the pattern must match it whole. Every module of a source
matches exactly one rule. The leaf (``weight``, ``bias``, ``running_mean``, ``running_var``) follows from the kind of
tensor, in `jaxcnn.weights.load`.
"""

Rules = tuple[tuple[str, str], ...]

RULES: dict[str, Rules] = {
    "resnet": (
        (r"conv1", "conv1"),
        (r"bn1", "norm1"),
        (r"layer(\d)\.(\d+)\.conv(\d)", r"stage\1_block\2/conv\3"),
        (r"layer(\d)\.(\d+)\.bn(\d)", r"stage\1_block\2/norm\3"),
        (r"layer(\d)\.(\d+)\.downsample\.0", r"stage\1_block\2/shortcut_conv"),
        (r"layer(\d)\.(\d+)\.downsample\.1", r"stage\1_block\2/shortcut_norm"),
        (r"fc", "classifier/dense"),
    ),
}
