"""EfficientNets: Tan and Le (arXiv:1905.11946), and the authors' Lite networks for phones."""

import functools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import flax.linen as nn
import jax

from jaxcnn.layers.activation import activation
from jaxcnn.layers.blocks import Classifier, SqueezeExcite, StochasticDepth
from jaxcnn.models.network import BatchNormNetwork
from jaxcnn.models.variant import Layer, Published, Variant
from jaxcnn.ops import window

Padding = Literal["symmetric", "same"]
"""PyTorch's (kernel - 1) / 2 zeros on each side, or TensorFlow's, which at stride 2 puts the odd one after."""


class Stage(NamedTuple):
    """Blocks of one shape: a row of the paper's table 1, before scaling."""

    expansion: int
    """Features of the depthwise convolution, over the block's input channels."""
    kernel: int
    strides: int
    """Of the first block; the others have 1."""
    features: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
STEM_FEATURES, HEAD_FEATURES = 32, 1280


def round_features(features: float) -> int:
    """Returns the nearest multiple of 8, at least 8, and the one above where that would lose over a tenth.

    >>> [round_features(1.1 * features) for features in (16, 24, 40)]
    [16, 24, 48]
    """
    rounded = max(8, int(features + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * features else rounded


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
            # A quarter of the block's input, not of the expanded features it works on.
            y = self.squeeze_excite(channels // 4, name="squeeze_excite")(y)
        y = self.norm(name="project_norm")(self.conv(self.features, (1, 1), name="project_conv")(y))
        return x + self.drop_path()(y) if x.shape == y.shape else y


def _padding(padding: Padding, kernel: int) -> window.Padding:
    return "same" if padding == "same" else ((kernel // 2, kernel // 2),) * 2


class Defaults(NamedTuple):
    """What a variant has where the option of that name is None."""

    dropout_rate: float
    padding: Padding
    batch_norm_epsilon: float
    batch_norm_momentum: float


class EfficientNet(BatchNormNetwork):
    """EfficientNet B0 to B7 and Lite 0 to 4: one network, its width, depth and input scaled together.

    Padding and batch normalization are by default those of the published weights, which differ:

    ======== ========= ============= ============== ======================================================
    variant  padding   epsilon       momentum       weights
    ======== ========= ============= ============== ======================================================
    B0 to B4 symmetric 1e-5          0.9            torchvision's, trained in PyTorch
    B5 to B7 symmetric 1e-3          0.99           torchvision's: the authors', run with PyTorch's padding
    Lite     same      1e-3          0.99           the authors', as timm's ``tf_efficientnet_lite*``
    ======== ========= ============= ============== ======================================================

    For the authors' own B0 to B7 (timm's ``tf_efficientnet_b*``) give ``padding="same"``, ``batch_norm_epsilon=1e-3``
    and ``batch_norm_momentum=0.99``; for timm's own ``efficientnet_lite0``, trained in PyTorch, ``"symmetric"``, 1e-5
    and 0.9. `load_pretrained` checks this for weights that are given by their publisher's name; from a file the wrong
    choice loads without complaint and costs accuracy.

    The Lite networks have no squeeze and excitation, ReLU6 for SiLU, and a stem, head, first and last stage that are
    not scaled (the first and last stage in depth only).
    """

    width: float
    """Multiplies the features."""
    depth: float
    """Multiplies the blocks of each stage."""
    lite: bool
    defaults: Defaults
    dropout_rate: float | None = None
    """Before the classifier; None is the variant's own, 0.2 to 0.5."""
    drop_path_rate: float = 0.2
    """Of stochastic depth: grows from 0 at the first block by equal steps, and would reach this after the last."""
    padding: Padding | None = None
    batch_norm_epsilon: float | None = None
    batch_norm_momentum: float | None = None
    """The share of the running statistics kept at each step: 1 minus PyTorch's momentum."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        settings = self._settings()
        act = activation("relu6" if self.lite else "silu")
        self.check(images, stages=len(STAGES))
        conv = self.conv()
        norm = self.norm(train, epsilon=settings.batch_norm_epsilon, momentum=settings.batch_norm_momentum)
        squeeze_excite = functools.partial(SqueezeExcite, activation="silu", dtype=self.dtype, lowering=self.lowering)
        stem, head = (round_features(n * (1 if self.lite else self.width)) for n in (STEM_FEATURES, HEAD_FEATURES))

        x = conv(stem, (3, 3), strides=(2, 2), padding=_padding(settings.padding, 3), name="stem_conv")(images)
        x = act(norm(name="stem_norm")(x))
        depths, done = self._depths(), 0
        for number, (stage, blocks) in enumerate(zip(STAGES, depths, strict=True), 1):
            for index in range(blocks):
                x = self.block(InvertedBottleneck, number)(
                    expansion=stage.expansion,
                    kernel=stage.kernel,
                    strides=1 if index else stage.strides,
                    features=round_features(stage.features * self.width),
                    padding=settings.padding,
                    conv=conv,
                    norm=norm,
                    activation=act,
                    squeeze_excite=None if self.lite else squeeze_excite,
                    drop_path=functools.partial(StochasticDepth, self.drop_path_rate * done / sum(depths), train),
                    name=f"stage{number}_block{index}",
                )(x)
                done += 1
        x = conv(head, (1, 1), name="head_conv")(x)
        x = act(norm(name="head_norm")(x))
        return Classifier(self.num_classes, train, settings.dropout_rate, self.dtype, name="classifier")(x)

    def _settings(self) -> Defaults:
        """The options that were given, and the variant's own for the others."""
        options = Defaults(self.dropout_rate, self.padding, self.batch_norm_epsilon, self.batch_norm_momentum)
        chosen = zip(options, self.defaults, strict=True)
        return Defaults(*(default if option is None else option for option, default in chosen))

    def _depths(self) -> list[int]:
        """Blocks in each stage."""
        depths = [math.ceil(stage.blocks * self.depth) for stage in STAGES]
        if self.lite:
            depths[0], depths[-1] = STAGES[0].blocks, STAGES[-1].blocks
        return depths


def _b(number: int, width: float, depth: float, size: int, dropout_rate: float, *published: Published) -> Variant:
    defaults = Defaults(dropout_rate, "symmetric", *((1e-5, 0.9) if number < 5 else (1e-3, 0.99)))
    arguments = {"width": width, "depth": depth, "lite": False, "defaults": defaults}
    return Variant(f"efficientnet_b{number}", "efficientnet", EfficientNet, arguments, size, published=published)


def _lite(number: int, width: float, depth: float, size: int, dropout_rate: float, *published: Published) -> Variant:
    defaults = Defaults(dropout_rate, "same", 1e-3, 0.99)
    arguments = {"width": width, "depth": depth, "lite": True, "defaults": defaults}
    return Variant(f"efficientnet_lite{number}", "efficientnet", EfficientNet, arguments, size, published=published)


def _published(top1_accuracy: float, top5_accuracy: float | None, crop: str, source: str) -> Published:
    top5_error = None if top5_accuracy is None else round(100 - top5_accuracy, 3)
    return Published(round(100 - top1_accuracy, 3), top5_error, f"{crop}, ILSVRC-2012 validation", source)


def _torchvision(top1_accuracy: float, top5_accuracy: float, crop: int, resize: int) -> Published:
    source = "torchvision 0.28, IMAGENET1K_V1"
    return _published(top1_accuracy, top5_accuracy, f"centre crop {crop} of {resize}", source)


def _paper(top1_accuracy: float, top5_accuracy: float) -> Published:
    return _published(top1_accuracy, top5_accuracy, "centre crop", "arXiv:1905.11946, table 2, ICML 2019")


def _authors(top1_accuracy: float, crop: int) -> Published:
    return _published(top1_accuracy, None, f"centre crop {crop}", "the authors' README, float32")


def _timm(top1_accuracy: float, top5_accuracy: float, crop: int) -> Published:
    return _published(top1_accuracy, top5_accuracy, f"centre crop {crop}", "timm 1.0.31, the authors' weights")


VARIANTS = (
    _b(0, 1.0, 1.0, 224, 0.2, _torchvision(77.692, 93.532, 224, 256), _paper(76.3, 93.2)),
    _b(1, 1.0, 1.1, 240, 0.2, _torchvision(78.642, 94.186, 240, 256), _paper(78.8, 94.4)),
    _b(2, 1.1, 1.2, 260, 0.3, _torchvision(80.608, 95.31, 288, 288), _paper(79.8, 94.9)),
    _b(3, 1.2, 1.4, 300, 0.3, _torchvision(82.008, 96.054, 300, 320), _paper(81.1, 95.5)),
    _b(4, 1.4, 1.8, 380, 0.4, _torchvision(83.384, 96.594, 380, 384), _paper(82.6, 96.3)),
    _b(5, 1.6, 2.2, 456, 0.4, _torchvision(83.444, 96.628, 456, 456), _paper(83.3, 96.7)),
    _b(6, 1.8, 2.6, 528, 0.5, _torchvision(84.008, 96.916, 528, 528), _paper(84.0, 96.9)),
    _b(7, 2.0, 3.1, 600, 0.5, _torchvision(84.122, 96.908, 600, 600), _paper(84.4, 97.1)),
    # Sizes are the authors'; timm runs their weights for Lite 3 and 4 at larger ones.
    _lite(0, 1.0, 1.0, 224, 0.2, _authors(75.1, 224), _timm(74.846, 92.18, 224)),
    _lite(1, 1.0, 1.1, 240, 0.2, _authors(76.7, 240), _timm(76.674, 93.232, 240)),
    _lite(2, 1.1, 1.2, 260, 0.3, _authors(77.6, 260), _timm(77.47, 93.756, 260)),
    _lite(3, 1.2, 1.4, 280, 0.3, _authors(79.8, 280), _timm(79.808, 94.908, 300)),
    _lite(4, 1.4, 1.8, 300, 0.3, _authors(81.5, 300), _timm(81.54, 95.668, 380)),
)
