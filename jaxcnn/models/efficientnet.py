"""EfficientNets: Tan and Le (arXiv:1905.11946), and the authors' Lite networks for phones."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import flax.linen as nn
import jax

from jaxcnn.layers.activation import activation
from jaxcnn.layers.blocks import Classifier, SqueezeExcite
from jaxcnn.layers.layer import Layer
from jaxcnn.models.network import BatchNormNetwork, Epsilon, Momentum, Rate
from jaxcnn.models.scanned import Repeating
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops import window

Padding = Literal["symmetric", "same"]
"""The padding of convolutions: PyTorch's (kernel - 1) / 2 zeros on each side, or TensorFlow's, which at stride 2 puts
the odd one after."""


class Stage(NamedTuple):
    """Blocks of one shape: a row of the paper's table 1, before scaling."""

    expansion: int
    """The features of the depthwise convolution over the block's input channels."""
    kernel: int
    strides: int
    """The strides of the first block; the others have 1."""
    features: int
    blocks: int
    """The number of blocks."""


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
"""The stages of B0."""
STEM_FEATURES, HEAD_FEATURES = 32, 1280
"""The features of B0 before the first stage and after the last."""


def round_features(features: float) -> int:
    """Returns the nearest multiple of 8, at least 8, or the one above where that would lose over a tenth.

    Examples:
        >>> [round_features(1.1 * features) for features in (16, 24, 40)]
        [16, 24, 48]
    """
    rounded = max(8, int(features + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * features else rounded


def stage_sizes(depth: float, lite: bool) -> tuple[int, ...]:
    """Returns the number of blocks in each stage; Lite networks do not scale the first stage and the last.

    Examples:
        >>> stage_sizes(1.2, lite=False), stage_sizes(1.2, lite=True)
        ((2, 3, 3, 4, 4, 5, 2), (1, 3, 3, 4, 4, 5, 1))
    """
    sizes = [math.ceil(stage.blocks * depth) for stage in STAGES]
    if lite:
        sizes[0], sizes[-1] = STAGES[0].blocks, STAGES[-1].blocks
    return tuple(sizes)


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, squeeze and excitation, linear 1x1 projection ("MBConv", table 1)."""

    expansion: int
    kernel: int
    strides: int
    features: int
    padding: Padding
    conv: Layer
    norm: Layer
    activation: Callable[[jax.Array], jax.Array]
    squeeze_excite: Layer | None
    drop_path: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns (batch, height / strides, width / strides, features)."""
        channels, expanded = x.shape[-1], x.shape[-1] * self.expansion
        y = x
        if self.expansion > 1:
            y = self.conv(expanded, (1, 1), name="expand_conv")(y)
            y = self.activation(self.norm(name="expand_norm")(y))
        y = self.conv(
            expanded,
            (self.kernel, self.kernel),
            strides=(self.strides, self.strides),
            padding=_padding(self.padding, self.kernel),
            groups=expanded,
            name="depthwise_conv",
        )(y)
        y = self.activation(self.norm(name="depthwise_norm")(y))
        if self.squeeze_excite is not None:
            # A quarter of the block's input channels, not of the expanded ones, which are squeezed.
            y = self.squeeze_excite(channels // 4, name="squeeze_excite")(y)
        y = self.norm(name="project_norm")(self.conv(self.features, (1, 1), name="project_conv")(y))
        return x + self.drop_path()(y) if x.shape == y.shape else y


def _padding(padding: Padding, kernel: int) -> window.Padding:
    both = kernel // 2, kernel // 2
    return "same" if padding == "same" else (both, both)


class Defaults(NamedTuple):
    """The values of a variant's options that are None."""

    dropout_rate: float
    padding: Padding
    batch_norm_epsilon: float
    batch_norm_momentum: float


class EfficientNet(BatchNormNetwork, Repeating):
    """EfficientNet B0 to B7 and Lite 0 to 4: one network, its width, depth and input scaled together.

    Padding and batch normalization are by default those of the published weights, which differ among the variants:

    ======== ========= ============= ============== ======================================================
    variant  padding   epsilon       momentum       weights
    ======== ========= ============= ============== ======================================================
    B0 to B4 symmetric 1e-5          0.9            torchvision's, trained in PyTorch
    B5 to B7 symmetric 1e-3          0.99           torchvision's: the authors', run with PyTorch's padding
    Lite     same      1e-3          0.99           the authors', as timm's ``tf_efficientnet_lite*``
    ======== ========= ============= ============== ======================================================

    For the authors' own B0 to B7 (timm's ``tf_efficientnet_b*``, and EfficientNet_PyTorch's) give ``padding="same"``,
    ``batch_norm_epsilon=1e-3`` and ``batch_norm_momentum=0.99``; for timm's own ``efficientnet_b5`` and
    ``efficientnet_lite0``, trained in PyTorch, ``"symmetric"``, 1e-5 and 0.9. `load_pretrained` checks this for weights
    that are given by their publisher's name; weights from a file load with the wrong choice too, which costs accuracy.

    The Lite networks have no squeeze and excitation, ReLU6 in place of SiLU, and a stem, head, first and last stage
    that are not scaled (the first and last stage in depth only).
    """

    width: float
    """The factor by which the features are multiplied."""
    depth: float
    """The factor by which the number of blocks in each stage is multiplied."""
    lite: bool
    defaults: Defaults
    """The variant's own values of the options that are None."""
    dropout_rate: Rate | None = None
    """The dropout rate before the classifier; None is the variant's own, 0.2 to 0.5."""
    drop_path_rate: Rate = 0.2
    """The rate of stochastic depth: it grows from 0 at the first block by equal steps, and would be this after the
    last."""
    padding: Padding | None = None
    """The padding of all convolutions; None is the variant's own."""
    batch_norm_epsilon: Epsilon | None = None
    """The number that batch normalization adds to a variance; None is the variant's own."""
    batch_norm_momentum: Momentum | None = None
    """The share of the running statistics that each step keeps, 1 minus PyTorch's momentum; None is the variant's
    own."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        settings = self.resolve(self.defaults)
        act = activation("relu6" if self.lite else "silu")
        images = self.check(images, stages=len(STAGES))
        conv = self.conv()
        norm = self.norm(train, epsilon=settings.batch_norm_epsilon, momentum=settings.batch_norm_momentum)
        squeeze_excite = functools.partial(SqueezeExcite, activation="silu", dtype=self.dtype, lowering=self.lowering)
        stem, head = (round_features(n * (1 if self.lite else self.width)) for n in (STEM_FEATURES, HEAD_FEATURES))

        x = conv(stem, (3, 3), strides=(2, 2), padding=_padding(settings.padding, 3), name="stem_conv")(images)
        x = act(norm(name="stem_norm")(x))
        sizes, done = stage_sizes(self.depth, self.lite), 0
        for number, (stage, blocks) in enumerate(zip(STAGES, sizes, strict=True), 1):
            block = functools.partial(
                self.block(InvertedBottleneck, number),
                expansion=stage.expansion,
                kernel=stage.kernel,
                strides=1,
                features=round_features(stage.features * self.width),
                padding=settings.padding,
                conv=conv,
                norm=norm,
                activation=act,
                squeeze_excite=None if self.lite else squeeze_excite,
            )
            rates = [self.drop_path_rate * index / sum(sizes) for index in range(done, done + blocks)]
            x = self.blocks(f"stage{number}_block", block, x, rates, train, strides=stage.strides)
            done += blocks
        x = conv(head, (1, 1), name="head_conv")(x)
        x = act(norm(name="head_norm")(x))
        return Classifier(self.num_classes, train, settings.dropout_rate, self.dtype, name="classifier")(
            self.last_map(x)
        )


# The names are torchvision's. The blocks of the first stage have no expansion, and so count from the depthwise
# convolution.
_TORCHVISION_RULES = (
    Rule(r"features\.0\.0", "stem_conv", "torchvision"),
    Rule(r"features\.0\.1", "stem_norm", "torchvision"),
    Rule(r"features\.1\.(\d+)\.block\.0\.0", r"stage1_block\1/depthwise_conv", "torchvision"),
    Rule(r"features\.1\.(\d+)\.block\.0\.1", r"stage1_block\1/depthwise_norm", "torchvision"),
    Rule(r"features\.1\.(\d+)\.block\.2\.0", r"stage1_block\1/project_conv", "torchvision"),
    Rule(r"features\.1\.(\d+)\.block\.2\.1", r"stage1_block\1/project_norm", "torchvision"),
    Rule(r"features\.([2-7])\.(\d+)\.block\.0\.0", r"stage\1_block\2/expand_conv", "torchvision"),
    Rule(r"features\.([2-7])\.(\d+)\.block\.0\.1", r"stage\1_block\2/expand_norm", "torchvision"),
    Rule(r"features\.([2-7])\.(\d+)\.block\.1\.0", r"stage\1_block\2/depthwise_conv", "torchvision"),
    Rule(r"features\.([2-7])\.(\d+)\.block\.1\.1", r"stage\1_block\2/depthwise_norm", "torchvision"),
    Rule(r"features\.([2-7])\.(\d+)\.block\.3\.0", r"stage\1_block\2/project_conv", "torchvision"),
    Rule(r"features\.([2-7])\.(\d+)\.block\.3\.1", r"stage\1_block\2/project_norm", "torchvision"),
    *(
        Rule(
            rf"features\.({stages})\.(\d+)\.block\.{index}\.fc{number}",
            rf"stage\1_block\2/squeeze_excite/{ours}",
            "torchvision",
            "convolution",
        )
        for stages, index in (("1", 1), ("[2-7]", 2))
        for number, ours in enumerate(("reduce", "expand"), 1)
    ),
    Rule(r"features\.8\.0", "head_conv", "torchvision"),
    Rule(r"features\.8\.1", "head_norm", "torchvision"),
    Rule(r"classifier\.1", "classifier/dense", "torchvision"),
)

# The names are timm's, which counts stages from 0. The first stage has no expansion here either.
_TIMM_RULES = (
    Rule(r"conv_stem", "stem_conv", "timm"),
    Rule(r"bn1", "stem_norm", "timm"),
    Rule(r"blocks\.0\.(\d+)\.conv_dw", r"stage1_block\1/depthwise_conv", "timm"),
    Rule(r"blocks\.0\.(\d+)\.bn1", r"stage1_block\1/depthwise_norm", "timm"),
    Rule(r"blocks\.0\.(\d+)\.conv_pw", r"stage1_block\1/project_conv", "timm"),
    Rule(r"blocks\.0\.(\d+)\.bn2", r"stage1_block\1/project_norm", "timm"),
    *(
        Rule(rf"blocks\.{stage - 1}\.(\d+)\.{module}", rf"stage{stage}_block\1/{ours}", "timm")
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
        Rule(
            rf"blocks\.{stage - 1}\.(\d+)\.se\.conv_(reduce|expand)",
            rf"stage{stage}_block\1/squeeze_excite/\2",
            "timm",
            "convolution",
        )
        for stage in range(1, 8)
    ),
    Rule(r"conv_head", "head_conv", "timm"),
    Rule(r"bn2", "head_norm", "timm"),
    Rule(r"classifier", "classifier/dense", "timm"),
)


def _efficientnet_pytorch_rules(sizes: tuple[int, ...]) -> Iterator[Rule]:
    """Returns the rules of efficientnet(_lite)_pytorch, which counts the blocks of all stages together."""
    yield Rule(r"_conv_stem", "stem_conv", "efficientnet_pytorch")
    yield Rule(r"_bn0", "stem_norm", "efficientnet_pytorch")
    blocks = [f"stage{stage}_block{index}" for stage, size in enumerate(sizes, 1) for index in range(size)]
    for number, block in enumerate(blocks):
        yield Rule(rf"_blocks\.{number}\._(expand|depthwise|project)_conv", rf"{block}/\1_conv", "efficientnet_pytorch")
        for layer, name in enumerate(("expand", "depthwise", "project")):
            yield Rule(rf"_blocks\.{number}\._bn{layer}", f"{block}/{name}_norm", "efficientnet_pytorch")
        yield Rule(
            rf"_blocks\.{number}\._se_(reduce|expand)",
            rf"{block}/squeeze_excite/\1",
            "efficientnet_pytorch",
            "convolution",
        )
    yield Rule(r"_conv_head", "head_conv", "efficientnet_pytorch")
    yield Rule(r"_bn1", "head_norm", "efficientnet_pytorch")
    yield Rule(r"_fc", "classifier/dense", "efficientnet_pytorch")


def _variant(name: str, width: float, depth: float, size: int, defaults: Defaults, *published: Published) -> Variant:
    lite = name.startswith("lite")
    return Variant(
        f"efficientnet_{name}",
        "efficientnet",
        EfficientNet,
        {"width": width, "depth": depth, "lite": lite, "defaults": defaults},
        size,
        published=published,
        rules=(*_TORCHVISION_RULES, *_TIMM_RULES, *_efficientnet_pytorch_rules(stage_sizes(depth, lite))),
    )


def _b(number: int, width: float, depth: float, size: int, dropout_rate: float, *published: Published) -> Variant:
    defaults = Defaults(dropout_rate, "symmetric", *((1e-5, 0.9) if number < 5 else (1e-3, 0.99)))
    return _variant(f"b{number}", width, depth, size, defaults, *published)


def _lite(number: int, width: float, depth: float, size: int, dropout_rate: float, *published: Published) -> Variant:
    return _variant(f"lite{number}", width, depth, size, Defaults(dropout_rate, "same", 1e-3, 0.99), *published)


def _paper(top1_accuracy: float, top5_accuracy: float) -> Published:
    errors = round(100 - top1_accuracy, 3), round(100 - top5_accuracy, 3)
    source = "arXiv:1905.11946, table 2, ICML 2019"
    return Published(*errors, "centre crop, ILSVRC-2012 validation", source)


def _authors(top1_accuracy: float, crop: int) -> Published:
    protocol = f"centre crop {crop}, ILSVRC-2012 validation"
    return Published(round(100 - top1_accuracy, 3), None, protocol, "the authors' README, float32")


VARIANTS = (
    _b(0, 1.0, 1.0, 224, 0.2, _paper(76.3, 93.2)),
    _b(1, 1.0, 1.1, 240, 0.2, _paper(78.8, 94.4)),
    _b(2, 1.1, 1.2, 260, 0.3, _paper(79.8, 94.9)),
    _b(3, 1.2, 1.4, 300, 0.3, _paper(81.1, 95.5)),
    _b(4, 1.4, 1.8, 380, 0.4, _paper(82.6, 96.3)),
    _b(5, 1.6, 2.2, 456, 0.4, _paper(83.3, 96.7)),
    _b(6, 1.8, 2.6, 528, 0.5, _paper(84.0, 96.9)),
    _b(7, 2.0, 3.1, 600, 0.5, _paper(84.4, 97.1)),
    # The sizes are the authors'; timm evaluates their weights for Lite 3 and 4 at larger ones.
    _lite(0, 1.0, 1.0, 224, 0.2, _authors(75.1, 224)),
    _lite(1, 1.0, 1.1, 240, 0.2, _authors(76.7, 240)),
    _lite(2, 1.1, 1.2, 260, 0.3, _authors(77.6, 260)),
    _lite(3, 1.2, 1.4, 280, 0.3, _authors(79.8, 280)),
    _lite(4, 1.4, 1.8, 300, 0.3, _authors(81.5, 300)),
)
"""The networks of the family."""
