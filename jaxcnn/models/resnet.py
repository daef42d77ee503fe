"""Residual networks: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385).

Two relatives change only the inside of a bottleneck: Wide ResNet (Zagoruyko and Komodakis, arXiv:1605.07146) makes it
wider, ResNeXt (Xie et al., arXiv:1611.05431) makes it wider and groups its 3x3 convolution.
"""

import functools
import itertools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.layers.blocks import Classifier
from jaxcnn.layers.layer import Layer
from jaxcnn.models.network import BatchNormNetwork, Rate
from jaxcnn.models.scanned import Repeating
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.relu import kept_relu, relu_and_max_pool
from jaxcnn.ops.window import subsample
from jaxcnn.types import Option


class Block(nn.Module):
    """What both kinds of residual block have in common: arguments and the shortcut."""

    features: int
    """The features of the stage, which are those of a basic block's convolutions."""
    strides: int
    shortcut: Literal["identity", "projection"]
    conv: Layer
    norm: Layer
    drop_path: Layer
    last_scale_init: nn.initializers.Initializer = nn.initializers.ones
    kept: bool = True
    """Whether the backward pass needs the result anyway, which it does of all blocks but the last."""

    def _rectified(self, x: jax.Array) -> jax.Array:
        return kept_relu(x) if self.kept else nn.relu(x)

    def _shortcut(self, x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Returns x where shapes agree, else the paper's option A (no parameters) or B (a 1x1 projection) of it."""
        if x.shape == shape:
            return x
        if self.shortcut == "identity":
            x = subsample(x, (self.strides, self.strides))
            return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, shape[-1] - x.shape[-1])))
        x = self.conv(shape[-1], (1, 1), strides=(self.strides, self.strides), name="shortcut_conv")(x)
        return self.norm(name="shortcut_norm")(x)


class BasicBlock(Block):
    """Two 3x3 convolutions and a shortcut (figure 5, left)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns (batch, height / strides, width / strides, features)."""
        strides = (self.strides, self.strides)
        y = self.conv(self.features, (3, 3), strides=strides, padding=((1, 1), (1, 1)), name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.conv(self.features, (3, 3), padding=((1, 1), (1, 1)), name="conv2")(y)
        y = self.norm(scale_init=self.last_scale_init, name="norm2")(y)
        return self._rectified(self.drop_path(name="drop_path")(y) + self._shortcut(x, y.shape))


class Bottleneck(Block):
    """1x1, 3x3 and 1x1 convolutions and a shortcut (figure 5, right); `ResNet` explains the fields."""

    groups: int = 1
    width_per_group: int = 64
    stride_in_first_conv: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns (batch, height / strides, width / strides, 4 * features)."""
        width = self.features * self.width_per_group // 64 * self.groups
        first, second = (self.strides, 1) if self.stride_in_first_conv else (1, self.strides)
        y = self.conv(width, (1, 1), strides=(first, first), name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.conv(
            width, (3, 3), strides=(second, second), padding=((1, 1), (1, 1)), groups=self.groups, name="conv2"
        )(y)
        y = nn.relu(self.norm(name="norm2")(y))
        y = self.conv(self.features * 4, (1, 1), name="conv3")(y)
        y = self.norm(scale_init=self.last_scale_init, name="norm3")(y)
        return self._rectified(self.drop_path(name="drop_path")(y) + self._shortcut(x, y.shape))


class ResNet(BatchNormNetwork, Repeating):
    """ResNet, in the form whose weights are published: torchvision's, "v1.5".

    It differs from the paper in one thing: a bottleneck's stride is in its 3x3 convolution, as in fb.resnet.torch, not
    in the first 1x1 (4.09 against 3.8 billion multiply-adds for ResNet-50). ``stride_in_first_conv`` makes the paper's
    form.
    """

    block_type: type[Block]
    stage_sizes: tuple[int, ...]
    """The number of blocks in each stage; every stage but the first halves the resolution and doubles the features."""
    width: int
    """The features of the stem and of the first stage."""
    stem: Literal["imagenet", "cifar"]
    """The layers before the first stage: a 7x7 convolution at stride 2 and 3x3 max pooling at stride 2, or one 3x3
    convolution (section 4.2)."""
    shortcut: Literal["identity", "projection"]
    """The shortcut where the shape changes: the paper's option A or B."""
    groups: int = 1
    """The number of groups of a bottleneck's 3x3 convolution; ResNeXt's cardinality."""
    width_per_group: int = 64
    """The channels of each group where the stage's features are 64; they double with these."""
    stride_in_first_conv: bool = False
    """Whether a bottleneck's stride is in its first 1x1 convolution, as in the ResNet paper. By default it is in the
    3x3, because the published weights were trained so, and ResNeXt by its authors too."""
    dropout_rate: Rate = 0.0
    """The dropout rate before the classifier; the paper has none."""
    drop_path_rate: Rate = 0.0
    """The share of images that skip the last block in training; it grows linearly from 0 at the first. The paper has
    none; "ResNet strikes back" (arXiv:2110.00476) has 0.05 in its longer procedures."""
    zero_init_residual: bool = False
    """Whether each block starts as the identity: the scale of its last normalization is then 0 at first
    (arXiv:1706.02677, section 5.1)."""

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`. The first convolution is the stem."""
        return 0 if module in ("conv1", "norm1") else super().stage_of(module)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        images = self.check(images, stages=len(self.stage_sizes))
        conv, norm = self.conv(), self.norm(train)
        if self.stem == "imagenet":
            x = conv(self.width, (7, 7), strides=(2, 2), padding=((3, 3), (3, 3)), name="conv1")(images)
            x = relu_and_max_pool(norm(name="norm1")(x), (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        else:
            x = conv(self.width, (3, 3), padding=((1, 1), (1, 1)), name="conv1")(images)
            x = nn.relu(norm(name="norm1")(x))
        arguments: dict[str, Option] = {
            "shortcut": self.shortcut,
            "conv": conv,
            "norm": norm,
            "last_scale_init": nn.initializers.zeros if self.zero_init_residual else nn.initializers.ones,
        }
        if self.block_type is Bottleneck:
            arguments |= {
                "groups": self.groups,
                "width_per_group": self.width_per_group,
                "stride_in_first_conv": self.stride_in_first_conv,
            }
        rates = iter(np.linspace(0, self.drop_path_rate, sum(self.stage_sizes)).tolist())
        for stage, blocks in enumerate(self.stage_sizes, 1):
            features = self.width * 2 ** (stage - 1)
            block = functools.partial(self.block(self.block_type, stage), features=features, strides=1, **arguments)
            own_rates = list(itertools.islice(rates, blocks))
            strides = 2 if stage > 1 else 1
            # What the last block returns is averaged at once.
            of_last: dict[str, Option] = {"kept": False} if stage == len(self.stage_sizes) else {}
            x = self.blocks(f"stage{stage}_block", block, x, own_rates, train, of_last, strides=strides)
        return Classifier(self.num_classes, train, self.dropout_rate, self.dtype, name="classifier")(self.last_map(x))


# The names are torchvision's, and timm's too.
_RULES = (
    Rule(r"conv1", "conv1"),
    Rule(r"bn1", "norm1"),
    Rule(r"layer(\d)\.(\d+)\.conv(\d)", r"stage\1_block\2/conv\3"),
    Rule(r"layer(\d)\.(\d+)\.bn(\d)", r"stage\1_block\2/norm\3"),
    Rule(r"layer(\d)\.(\d+)\.downsample\.0", r"stage\1_block\2/shortcut_conv"),
    Rule(r"layer(\d)\.(\d+)\.downsample\.1", r"stage\1_block\2/shortcut_norm"),
    Rule(r"fc", "classifier/dense"),
)

# What a basic block does not have is fixed, so that nobody can ask for it in vain.
_BASIC: dict[str, Option] = {
    "block_type": BasicBlock,
    "groups": 1,
    "width_per_group": 64,
    "stride_in_first_conv": False,
}


def _imagenet(name: str, block: dict[str, Option], stage_sizes: tuple[int, ...], *published: Published) -> Variant:
    arguments = {**block, "stage_sizes": stage_sizes, "width": 64, "stem": "imagenet", "shortcut": "projection"}
    return Variant(name, "resnet", ResNet, arguments, published=published, rules=_RULES)


def _bottleneck(groups: int = 1, width_per_group: int = 64) -> dict[str, Option]:
    return {"block_type": Bottleneck, "groups": groups, "width_per_group": width_per_group}


def _cifar(depth: int, top1_error: float) -> Variant:
    arguments = {**_BASIC, "stage_sizes": ((depth - 2) // 6,) * 3, "width": 16}
    return Variant(
        f"resnet{depth}_cifar",
        "resnet",
        ResNet,
        {**arguments, "stem": "cifar", "shortcut": "identity"},
        input_size=32,
        num_classes=10,
        published=(Published(top1_error, None, "CIFAR-10 test set", "arXiv:1512.03385, table 6"),),
        rules=_RULES,
    )


def _paper(top1_error: float, top5_error: float | None, where: str) -> Published:
    return Published(top1_error, top5_error, "10-crop, ILSVRC-2012 validation", f"arXiv:1512.03385, {where}")


def _resnext_paper(top1_error: float, top5_error: float | None, where: str) -> Published:
    return Published(top1_error, top5_error, "centre crop 224, ILSVRC-2012 validation", f"arXiv:1611.05431, {where}")


VARIANTS = (
    _imagenet("resnet18", _BASIC, (2, 2, 2, 2), _paper(27.88, None, "table 2, option A")),
    _imagenet("resnet34", _BASIC, (3, 4, 6, 3), _paper(24.52, 7.46, "table 3, option B")),
    _imagenet("resnet50", _bottleneck(), (3, 4, 6, 3), _paper(22.85, 6.71, "table 3")),
    _imagenet("resnet101", _bottleneck(), (3, 4, 23, 3), _paper(21.75, 6.05, "table 3")),
    _imagenet("resnet152", _bottleneck(), (3, 8, 36, 3), _paper(21.43, 5.71, "table 3")),
    _imagenet("wide_resnet50_2", _bottleneck(1, 128), (3, 4, 6, 3)),
    _imagenet("wide_resnet101_2", _bottleneck(1, 128), (3, 4, 23, 3)),
    _imagenet(
        "resnext50_32x4d",
        _bottleneck(32, 4),
        (3, 4, 6, 3),
        _resnext_paper(22.2, None, "table 3"),
    ),
    _imagenet("resnext101_32x8d", _bottleneck(32, 8), (3, 4, 23, 3)),
    _imagenet(
        "resnext101_64x4d",
        _bottleneck(64, 4),
        (3, 4, 23, 3),
        _resnext_paper(20.4, 5.3, "table 4"),
    ),
    _cifar(20, 8.75),
    _cifar(32, 7.51),
    _cifar(44, 7.17),
    _cifar(56, 6.97),
    _cifar(110, 6.43),
)
"""The networks of the family."""
