"""RegNet: Radosavovic, Kosaraju, Girshick, He and Dollár, "Designing Network Design Spaces" (arXiv:2003.13678)."""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from jaxcnn.layers.blocks import Classifier, SqueezeExcite
from jaxcnn.layers.layer import Layer
from jaxcnn.models.network import BatchNormNetwork, Rate
from jaxcnn.models.scanned import Repeating
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.relu import kept_relu
from jaxcnn.types import Option

Widths = Literal["torchvision", "paper"]
"""The rule that makes the width of a stage a multiple of its group width."""


class Stage(NamedTuple):
    """Blocks of one shape."""

    blocks: int
    features: int
    """The features of each block; the paper's width."""
    groups: int
    """The number of groups of the 3x3 convolutions."""


def quantized_stages(
    depth: int, initial_width: int, slope: float, ratio: float, group_width: int, widths: Widths
) -> list[Stage]:
    """Returns the stages that five numbers stand for (section 3.3, equations 2 to 4).

    Block j would have the width initial_width + slope * j. It gets the nearest initial_width * ratio^s with s whole,
    rounded to a multiple of 8. Blocks of one width are a stage, whose width is then made a multiple of the group width.

    Examples:
        >>> quantized_stages(13, 24, 36.44, 2.49, 8, "paper")[:2]
        [Stage(blocks=1, features=24, groups=3), Stage(blocks=1, features=56, groups=7)]

    Args:
        depth: the number of blocks.
        initial_width: w_0, the width of the first block.
        slope: w_a, by which the width grows from block to block.
        ratio: w_m, the ratio of the widths of two stages.
        group_width: the channels of each group; a stage that is narrower has one group.
        widths: see `RegNet`.
    """

    def quantized(block: int) -> int:
        power = round(math.log((initial_width + slope * block) / initial_width) / math.log(ratio))
        return round(initial_width * ratio**power / 8) * 8

    stages = []
    for width, blocks in itertools.groupby(map(quantized, range(depth))):
        group = min(group_width, width)
        if widths == "paper":
            groups = round(width / group)
        else:
            groups = math.floor(width / group + 0.5)
            groups += groups * group < 0.9 * width
        stages.append(Stage(len(list(blocks)), groups * group, groups))
    return stages


class RegNetBlock(nn.Module):
    """1x1, grouped 3x3, squeeze and excitation in RegNetY, 1x1, and a shortcut (figure 4), without a bottleneck."""

    features: int
    groups: int
    strides: int
    conv: Layer
    norm: Layer
    squeeze_excite: Layer | None
    drop_path: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns (batch, height / strides, width / strides, features)."""
        strides = (self.strides, self.strides)
        y = self.conv(self.features, (1, 1), name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.conv(
            self.features, (3, 3), strides=strides, padding=((1, 1), (1, 1)), groups=self.groups, name="conv2"
        )(y)
        y = nn.relu(self.norm(name="norm2")(y))
        if self.squeeze_excite is not None:
            # A quarter of the features that enter the block, not of those that are squeezed.
            y = self.squeeze_excite(round(0.25 * x.shape[-1]), name="squeeze_excite")(y)
        y = self.conv(self.features, (1, 1), name="conv3")(y)
        y = self.norm(name="norm3")(y)
        if x.shape != y.shape:
            x = self.conv(self.features, (1, 1), strides=strides, name="shortcut_conv")(x)
            x = self.norm(name="shortcut_norm")(x)
        return kept_relu(x + self.drop_path(name="drop_path")(y))


class RegNet(BatchNormNetwork, Repeating):
    """RegNetX, and RegNetY with squeeze and excitation.

    ``widths`` says how widths are rounded to whole groups, and is an option where torchvision has the network. It makes
    a difference for three: ``regnet_x_400mf``, ``regnet_y_800mf`` and ``regnet_y_8gf``. The default is ``torchvision``,
    because the names are torchvision's and so are the weights that `load_pretrained` reads; ``paper`` makes the network
    of the paper and of pycls, whose errors are those of its own widths. Networks that torchvision does not have are
    made with the paper's.
    """

    depth: int
    """The number of blocks in all stages; the first of each stage halves the resolution."""
    initial_width: int
    """The width of the first block; the paper's w_0. `quantized_stages` explains it, and the next three."""
    slope: float
    """The growth of the width from block to block; the paper's w_a."""
    ratio: float
    """The ratio of the widths of two stages; the paper's w_m."""
    group_width: int
    """The channels of each group."""
    squeeze_excite: bool
    """Whether blocks have squeeze and excitation, as in RegNetY."""
    dropout_rate: Rate = 0.0
    """The dropout rate before the classifier; the paper has none."""
    drop_path_rate: Rate = 0.0
    """The share of images that skip the last block in training; it grows linearly from 0 at the first. The paper has
    none."""
    widths: Widths = "torchvision"
    """The rounding of a width to the nearest whole number of groups: ``torchvision`` takes halves up and never loses
    over a tenth, ``paper`` takes halves to even."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        conv, norm = self.conv(), self.norm(train)
        squeeze_excite = functools.partial(SqueezeExcite, dtype=self.dtype, lowering=self.lowering)
        stages = quantized_stages(self.depth, self.initial_width, self.slope, self.ratio, self.group_width, self.widths)
        images = self.check(images, stages=len(stages))
        x = conv(32, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)), name="stem_conv")(images)
        x = nn.relu(norm(name="stem_norm")(x))
        rates = iter(np.linspace(0, self.drop_path_rate, self.depth).tolist())
        for number, stage in enumerate(stages, 1):
            block = functools.partial(
                self.block(RegNetBlock, number),
                stage.features,
                stage.groups,
                strides=1,
                conv=conv,
                norm=norm,
                squeeze_excite=squeeze_excite if self.squeeze_excite else None,
            )
            own_rates = list(itertools.islice(rates, stage.blocks))
            x = self.blocks(f"stage{number}_block", block, x, own_rates, train, strides=2)
        return Classifier(self.num_classes, train, self.dropout_rate, self.dtype, name="classifier")(self.last_map(x))


_TORCHVISION_RULES = (
    Rule(r"stem\.0", "stem_conv", "torchvision"),
    Rule(r"stem\.1", "stem_norm", "torchvision"),
    *(
        Rule(rf"trunk_output\.block(\d)\.block\1-(\d+)\.{theirs}", rf"stage\1_block\2/{ours}", "torchvision")
        for theirs, ours in (
            (r"proj\.0", "shortcut_conv"),
            (r"proj\.1", "shortcut_norm"),
            (r"f\.a\.0", "conv1"),
            (r"f\.a\.1", "norm1"),
            (r"f\.b\.0", "conv2"),
            (r"f\.b\.1", "norm2"),
            (r"f\.c\.0", "conv3"),
            (r"f\.c\.1", "norm3"),
        )
    ),
    *(
        Rule(
            rf"trunk_output\.block(\d)\.block\1-(\d+)\.f\.se\.fc{number}",
            rf"stage\1_block\2/squeeze_excite/{ours}",
            "torchvision",
            "convolution",
        )
        for number, ours in enumerate(("reduce", "expand"), 1)
    ),
    Rule(r"fc", "classifier/dense", "torchvision"),
)


def _timm_rules(depth: int) -> Iterator[Rule]:
    """Returns timm's rules for a network of that many blocks; it counts the blocks of a stage from 1."""
    yield Rule(r"stem\.conv", "stem_conv", "timm")
    yield Rule(r"stem\.bn", "stem_norm", "timm")
    for index in range(depth):
        theirs, ours = rf"s(\d)\.b{index + 1}", rf"stage\1_block{index}"
        yield Rule(rf"{theirs}\.downsample\.conv", f"{ours}/shortcut_conv", "timm")
        yield Rule(rf"{theirs}\.downsample\.bn", f"{ours}/shortcut_norm", "timm")
        yield Rule(rf"{theirs}\.conv(\d)\.conv", rf"{ours}/conv\2", "timm")
        yield Rule(rf"{theirs}\.conv(\d)\.bn", rf"{ours}/norm\2", "timm")
        yield Rule(rf"{theirs}\.se\.fc1", f"{ours}/squeeze_excite/reduce", "timm", "convolution")
        yield Rule(rf"{theirs}\.se\.fc2", f"{ours}/squeeze_excite/expand", "timm", "convolution")
    yield Rule(r"head\.fc", "classifier/dense", "timm")


Numbers = tuple[int, int, float, float, int]
"""The depth, w_0, w_a, w_m and the group width of each network."""


def _variant(
    name: str, numbers: Numbers, top1_error: float, top5_error: float, in_torchvision: bool = False
) -> Variant:
    """Makes a network from the paper's numbers and errors."""
    arguments: dict[str, Option] = dict(
        zip(("depth", "initial_width", "slope", "ratio", "group_width"), numbers, strict=True)
    )
    arguments["squeeze_excite"] = name.startswith("regnet_y")
    if not in_torchvision:
        arguments["widths"] = "paper"
    protocol = "centre crop 224 of 256, ILSVRC-2012 validation, mean of 5 runs"
    paper = Published(top1_error, top5_error, protocol, "arXiv:2003.13678 and pycls; widths='paper'")
    rules = (*_TORCHVISION_RULES, *_timm_rules(numbers[0]))
    return Variant(name, "regnet", RegNet, arguments, published=(paper,), rules=rules)


VARIANTS = (
    _variant("regnet_x_200mf", (13, 24, 36.44, 2.49, 8), 31.088, 11.342),
    _variant("regnet_x_400mf", (22, 24, 24.48, 2.54, 16), 27.382, 9.076, in_torchvision=True),
    _variant("regnet_x_600mf", (16, 48, 36.97, 2.24, 24), 25.864, 8.198),
    _variant("regnet_x_800mf", (16, 56, 35.73, 2.28, 16), 24.846, 7.592, in_torchvision=True),
    _variant("regnet_x_1_6gf", (18, 80, 34.01, 2.25, 24), 23.038, 6.484, in_torchvision=True),
    _variant("regnet_x_3_2gf", (25, 88, 26.31, 2.25, 48), 21.736, 5.862, in_torchvision=True),
    _variant("regnet_x_4gf", (23, 96, 38.65, 2.43, 40), 21.356, 5.736),
    _variant("regnet_x_6_4gf", (17, 184, 60.83, 2.07, 56), 20.844, 5.434),
    _variant("regnet_x_8gf", (23, 80, 49.56, 2.88, 120), 20.728, 5.42, in_torchvision=True),
    _variant("regnet_x_12gf", (19, 168, 73.36, 2.37, 112), 20.288, 5.284),
    _variant("regnet_x_16gf", (22, 216, 55.59, 2.1, 128), 19.956, 5.022, in_torchvision=True),
    _variant("regnet_x_32gf", (23, 320, 69.86, 2.0, 168), 19.498, 4.878, in_torchvision=True),
    _variant("regnet_y_200mf", (13, 24, 36.44, 2.49, 8), 29.658, 10.378),
    _variant("regnet_y_400mf", (16, 48, 27.89, 2.09, 8), 25.898, 8.07, in_torchvision=True),
    _variant("regnet_y_600mf", (15, 48, 32.54, 2.32, 16), 24.54, 7.28),
    _variant("regnet_y_800mf", (14, 56, 38.84, 2.4, 16), 23.684, 6.846, in_torchvision=True),
    _variant("regnet_y_1_6gf", (27, 48, 20.71, 2.65, 24), 22.066, 6.134, in_torchvision=True),
    _variant("regnet_y_3_2gf", (21, 80, 42.63, 2.66, 24), 21.074, 5.454, in_torchvision=True),
    _variant("regnet_y_4gf", (22, 96, 31.41, 2.24, 64), 20.64, 5.336),
    _variant("regnet_y_6_4gf", (25, 112, 33.22, 2.27, 72), 20.11, 5.1),
    _variant("regnet_y_8gf", (17, 192, 76.82, 2.19, 56), 20.052, 5.06, in_torchvision=True),
    _variant("regnet_y_12gf", (19, 168, 73.36, 2.37, 112), 19.67, 4.856),
    _variant("regnet_y_16gf", (18, 200, 106.23, 2.48, 112), 19.608, 4.944, in_torchvision=True),
    _variant("regnet_y_32gf", (20, 232, 115.89, 2.53, 232), 19.066, 4.568, in_torchvision=True),
)
"""The networks of the family."""
