"""Torchvision's names of DenseNet.

A layer's own modules are ``norm1`` and ``conv2`` in its networks, ``norm.1`` and ``conv.2`` in its published files.
"""

from jaxcnn.weights.rules.rule import Rule

RULES = (
    Rule(r"features\.conv0", "stem_conv"),
    Rule(r"features\.norm0", "stem_norm"),
    Rule(r"features\.denseblock(\d)\.denselayer(\d+)\.(norm|conv)\.?1", r"stage\1_layer\2/bottleneck_\3"),
    Rule(r"features\.denseblock(\d)\.denselayer(\d+)\.(norm|conv)\.?2", r"stage\1_layer\2/\3"),
    Rule(r"features\.transition(\d)\.(norm|conv)", r"stage\1_transition/\2"),
    Rule(r"features\.norm5", "final_norm"),
    Rule(r"classifier", "classifier/dense"),
)
