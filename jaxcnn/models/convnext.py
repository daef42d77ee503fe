"""ConvNeXt: Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, "A ConvNet for the 2020s" (arXiv:2201.03545)."""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.layers.activation import activation
from jaxcnn.layers.blocks import LayerScale
from jaxcnn.layers.dense import Dense
from jaxcnn.layers.layer import Layer
from jaxcnn.layers.norm import LayerNorm
from jaxcnn.models.network import Rate
from jaxcnn.models.scanned import Repeating
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.precision import wide

# The paper's "truncated normal" distribution is cut at -2 and 2, a hundred deviations out, so it is a normal one. JAX's
# truncated_normal cuts at two deviations and so has a deviation of 0.0176.
small_normal = nn.initializers.normal(0.02)


class Block(nn.Module):
    """A 7x7 depthwise convolution, normalization, a 1x1 expansion by 4, GELU and a 1x1 projection (figure 4)."""

    conv: Layer
    norm: Layer
    dense: Layer
    drop_path: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns an array of the shape of ``x``, (batch, height, width, channels)."""
        channels = x.shape[-1]
        y = self.conv(channels, (7, 7), padding=((3, 3), (3, 3)), groups=channels, name="depthwise_conv")(x)
        y = self.dense(4 * channels, name="expand")(self.norm(name="norm")(y))
        y = self.dense(channels, name="project")(activation("gelu")(y))
        return x + self.drop_path()(LayerScale(name="layer_scale")(y))


class Head(nn.Module):
    """Global average pooling, normalization and one dense layer."""

    num_classes: int
    norm: Layer
    dense: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits, (batch, num_classes)."""
        x = self.norm(name="norm")(wide(x).mean((1, 2)))
        return self.dense(self.num_classes, name="dense")(x).astype(jnp.float32)


class ConvNeXt(Repeating):
    """ConvNeXt: a ResNet's stages with a Transformer's blocks, and no batch normalization."""

    stage_sizes: tuple[int, ...]
    """The number of blocks in each stage; every stage but the first halves the resolution and doubles the features."""
    width: int
    """The features of the first stage."""
    default_drop_path_rate: float
    """The variant's own rate of stochastic depth: the paper's for training on ILSVRC, or for xlarge, which is not
    trained on it alone, the authors' for fine-tuning."""
    drop_path_rate: Rate | None = None
    """The rate of stochastic depth at the last block; it grows from 0 at the first by equal steps. None is the
    variant's own."""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels: the strides divide it by 32."""
        return 32

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        images = self.check(images, stages=len(self.stage_sizes))
        conv = self.conv(use_bias=True, kernel_init=small_normal)
        norm = functools.partial(LayerNorm, dtype=self.dtype)
        dense = functools.partial(Dense, kernel_init=small_normal, dtype=self.dtype)
        rate = self.default_drop_path_rate if self.drop_path_rate is None else self.drop_path_rate

        x = conv(self.width, (4, 4), strides=(4, 4), name="stem_conv")(images)
        x = norm(name="stem_norm")(x)
        done, last = 0, sum(self.stage_sizes) - 1
        for stage, blocks in enumerate(self.stage_sizes, 1):
            if stage > 1:
                x = norm(name=f"stage{stage}_downsample_norm")(x)
                x = conv(2 * x.shape[-1], (2, 2), strides=(2, 2), name=f"stage{stage}_downsample_conv")(x)
            block = functools.partial(self.block(Block, stage), conv, norm, dense)
            rates = [rate * number / last for number in range(done, done + blocks)]
            x = self.blocks(f"stage{stage}_block", block, x, rates, train)
            done += blocks
        return Head(self.num_classes, norm, dense, name="classifier")(self.last_map(x))


def _publishers_rules(
    publisher: str,
    stem: str,
    blocks: Sequence[str],
    layers: Sequence[str],
    downsamples: Sequence[str],
    head: Sequence[str],
) -> tuple[Rule, ...]:
    """Returns the rules of one publisher, whose names are given as patterns.

    Args:
        publisher: the publisher, as in `Rule`.
        stem: the name that the stem's convolution and normalization are numbered below.
        blocks: for each stage, the name that its blocks are numbered below. A block's layer scale is its own.
        layers: the names below a block of its depthwise convolution, its normalization, and its two dense layers.
        downsamples: for each stage but the first, the name that its downsampling's two layers are numbered below.
        head: the names of the classifier's normalization and dense layer.
    """
    ours = ("", "/depthwise_conv", "/norm", "/expand", "/project")
    theirs = ("", *(rf"\.{layer}" for layer in layers))
    return (
        Rule(rf"{stem}\.0", "stem_conv", publisher),
        Rule(rf"{stem}\.1", "stem_norm", publisher),
        *(
            Rule(rf"{block}\.(\d+){layer}", rf"stage{stage}_block\1{path}", publisher)
            for stage, block in enumerate(blocks, 1)
            for layer, path in zip(theirs, ours, strict=True)
        ),
        *(Rule(rf"{name}\.0", f"stage{stage}_downsample_norm", publisher) for stage, name in enumerate(downsamples, 2)),
        *(Rule(rf"{name}\.1", f"stage{stage}_downsample_conv", publisher) for stage, name in enumerate(downsamples, 2)),
        Rule(head[0], "classifier/norm", publisher),
        Rule(head[1], "classifier/dense", publisher),
    )


_RULES = (
    # In torchvision, features 1, 3, 5 and 7 are the stages, and 2, 4 and 6 halve the resolution before them.
    *_publishers_rules(
        "torchvision",
        r"features\.0",
        [rf"features\.{index}" for index in (1, 3, 5, 7)],
        (r"block\.0", r"block\.2", r"block\.3", r"block\.5"),
        [rf"features\.{index}" for index in (2, 4, 6)],
        (r"classifier\.0", r"classifier\.2"),
    ),
    *_publishers_rules(
        "timm",
        "stem",
        [rf"stages\.{index}\.blocks" for index in range(4)],
        ("conv_dw", "norm", r"mlp\.fc1", r"mlp\.fc2"),
        [rf"stages\.{index}\.downsample" for index in (1, 2, 3)],
        (r"head\.norm", r"head\.fc"),
    ),
    *_publishers_rules(
        "the authors",
        r"downsample_layers\.0",
        [rf"stages\.{index}" for index in range(4)],
        ("dwconv", "norm", "pwconv1", "pwconv2"),
        [rf"downsample_layers\.{index}" for index in (1, 2, 3)],
        ("norm", "head"),
    ),
)


def _variant(size: str, stage_sizes: tuple[int, ...], width: int, rate: float, *published: Published) -> Variant:
    arguments = {"stage_sizes": stage_sizes, "width": width, "default_drop_path_rate": rate}
    return Variant(f"convnext_{size}", "convnext", ConvNeXt, arguments, published=published, rules=_RULES)


def _paper(top1_accuracy: float, training: str = "") -> Published:
    protocol = f"{training}centre crop 224 of 256, ILSVRC-2012 validation"
    return Published(round(100 - top1_accuracy, 3), None, protocol, "arXiv:2201.03545, table 1")


VARIANTS = (
    _variant("tiny", (3, 3, 9, 3), 96, 0.1, _paper(82.1)),
    _variant("small", (3, 3, 27, 3), 96, 0.4, _paper(83.1)),
    _variant("base", (3, 3, 27, 3), 128, 0.5, _paper(83.8)),
    _variant("large", (3, 3, 27, 3), 192, 0.5, _paper(84.3)),
    _variant("xlarge", (3, 3, 27, 3), 256, 0.4, _paper(87.0, "trained on ImageNet-22k first, ")),
)
"""The networks of the family."""
