"""Inception v3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.errors import UserError
from jaxcnn.layers.activation import Activation, activation
from jaxcnn.layers.blocks import Classifier
from jaxcnn.layers.conv import ConvNormAct
from jaxcnn.layers.layer import Layer
from jaxcnn.models.googlenet import to_half_normalization
from jaxcnn.models.network import BatchNormNetwork, Momentum, Rate
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.pool import average_pool, max_pool
from jaxcnn.ops.symbolic import at_most

Step = tuple[int, int, int]
"""A convolution: its features and its kernel's height and width."""
Branch = tuple[str, tuple[Step | tuple[Step, Step], ...]]
"""A name, and convolutions one after another. Two convolutions in a pair take the same input, and their outputs are
concatenated."""


def _grid35(projection: int) -> tuple[tuple[Branch, ...], int]:
    """Returns the branches of figure 5, the last of which has two 3x3 convolutions in place of a 5x5."""
    return (
        ("branch1x1", ((64, 1, 1),)),
        ("branch5x5", ((48, 1, 1), (64, 5, 5))),
        ("branch3x3_double", ((64, 1, 1), (96, 3, 3), (96, 3, 3))),
    ), projection


def _grid17(width: int) -> tuple[tuple[Branch, ...], int]:
    """Returns the branches of figure 6, which have 1x7 and 7x1 convolutions in place of 7x7."""
    row, column = (width, 1, 7), (width, 7, 1)
    return (
        ("branch1x1", ((192, 1, 1),)),
        ("branch7x7", ((width, 1, 1), row, (192, 7, 1))),
        ("branch7x7_double", ((width, 1, 1), column, row, column, (192, 1, 7))),
    ), 192


# Figure 7: the coarsest grid, where a 1x3 and a 3x1 convolution side by side take the place of a 3x3.
_GRID8 = (
    (
        ("branch1x1", ((320, 1, 1),)),
        ("branch3x3", ((384, 1, 1), ((384, 1, 3), (384, 3, 1)))),
        ("branch3x3_double", ((448, 1, 1), (384, 3, 3), ((384, 1, 3), (384, 3, 1)))),
    ),
    192,
)

# Figure 10: the modules that halve the resolution. The last convolutions have stride 2, and there is no projection
# after the pooling.
_TO_GRID17 = (
    (
        ("branch3x3", ((384, 3, 3),)),
        ("branch3x3_double", ((64, 1, 1), (96, 3, 3), (96, 3, 3))),
    ),
    None,
)
_TO_GRID8 = (
    (
        ("branch3x3", ((192, 1, 1), (320, 3, 3))),
        ("branch7x7", ((192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3))),
    ),
    None,
)

MODULES = (
    (("mixed5b", _grid35(32)), ("mixed5c", _grid35(64)), ("mixed5d", _grid35(64))),
    (
        ("mixed6a", _TO_GRID17),
        ("mixed6b", _grid17(128)),
        ("mixed6c", _grid17(160)),
        ("mixed6d", _grid17(160)),
        ("mixed6e", _grid17(192)),
    ),
    (("mixed7a", _TO_GRID8), ("mixed7b", _GRID8), ("mixed7c", _GRID8)),
)
"""The modules of stages 2, 3 and 4: the name of each, its branches, and the features of its pooled branch."""


class Mixed(nn.Module):
    """Branches side by side, the last of which pools; their outputs are concatenated in this order."""

    branches: tuple[Branch, ...]
    projection: int | None
    """The features of the 1x1 convolution after the average pooling. None in a module that halves the resolution, by
    max pooling without a projection and by a stride in the last convolution of each branch."""
    unit: Layer
    """The network's `ConvNormAct`."""
    count_padding: bool
    """Whether the average pooling counts the zeros at the border."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns (batch, height, width, features), or with (height - 1) // 2 and (width - 1) // 2."""
        outputs = [self._branch(name, steps, x) for name, steps in self.branches]
        if self.projection is None:
            outputs.append(max_pool(x, (3, 3), strides=(2, 2)))
        else:
            pooled = average_pool(x, (3, 3), strides=(1, 1), padding="same", count_padding=self.count_padding)
            outputs.append(self.unit(self.projection, (1, 1), name="branch_pool")(pooled))
        return jnp.concatenate(outputs, -1)

    def _branch(self, name: str, steps: tuple[Step | tuple[Step, Step], ...], x: jax.Array) -> jax.Array:
        for number, step in enumerate(steps, 1):
            halves = self.projection is None and number == len(steps)
            strides, padding = ((2, 2), "valid") if halves else ((1, 1), "same")
            forks = {"a": step[0], "b": step[1]} if isinstance(step[0], tuple) else {"": step}
            x = jnp.concatenate(
                [
                    self.unit(features, (height, width), strides, padding, name=f"{name}_{number}{fork}")(x)
                    for fork, (features, height, width) in forks.items()
                ],
                -1,
            )
        return x


class AuxiliaryHead(nn.Module):
    """A small classifier on a middle layer, used only in training (section 4; TF-Slim's where that leaves it open)."""

    unit: Layer
    classifier: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits, (batch, num_classes)."""
        x = average_pool(x, (5, 5), strides=(3, 3))
        x = self.unit(128, (1, 1), name="conv1")(x)
        x = self.unit(768, (5, 5), name="conv2")(x)
        return self.classifier(name="classifier")(x)


class InceptionV3(BatchNormNetwork):
    """Inception v3, as released in TF-Slim and ported to torchvision.

    It is not quite the paper's table 1: one stem convolution is 1x1 where that has 3x3, a max pooling takes the place
    of another, and the stages have 3, 5 and 3 modules, counting those that halve the resolution.

    The two releases differ in one computation: the average pooling in the modules counts the zeros at the border in
    torchvision, and does not in TF-Slim, where the weights were trained. ``count_padding`` chooses; the default is
    torchvision's, because that is how the accuracy that it publishes for its weights was measured.

    Initial kernels are normal with deviation 0.1, and 0.001 for the auxiliary head's last layer, as in torchvision,
    whose "truncated" normal distribution is cut 20 deviations out, and whose 0.01 for the head's 5x5 convolution is set
    where nothing reads it. Its dense biases start at random, ours at 0.

    The stages are all before the first module; modules 5b to 5d; 6a to 6e; 7a to 7c. The blocks are the modules.
    """

    activation: Activation = "relu"
    """The activation after each convolution."""
    auxiliary_heads: bool = False
    """Whether there is one more classifier, on module 6e. With it, training returns ``(logits, auxiliary1)``;
    evaluation returns the logits alone. TF-Slim adds its loss with weight 0.4."""
    dropout_rate: Rate = 0.5
    """The dropout rate before the classifier."""
    batch_norm_momentum: Momentum = 0.9
    """The share of the running statistics that each step keeps: 1 minus torchvision's 0.1. TF-Slim keeps 0.9997."""
    count_padding: bool = True
    """Whether the average pooling in the modules counts the zeros at the border, as in torchvision."""
    transform_input: bool = False
    """Whether to turn ImageNet's normalization into (x - 0.5) / 0.5, as `jaxcnn.models.googlenet.GoogLeNet` does:
    torchvision's weights need it."""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels: the last stage is left one position."""
        return 75

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`. The convolutions before the modules are the first."""
        stages = {name: stage for stage, modules in enumerate(MODULES, 2) for name, _ in modules}
        return 1 if module.startswith("conv") else stages.get(module)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array | tuple[jax.Array, ...]:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels).

        In training with the auxiliary head it returns a pair: these logits and those of the head, of the same shape.
        """
        images = self.check(images, stages=1 + len(MODULES))
        heads = self.auxiliary_heads and (train or self.is_initializing())
        if heads and any(at_most(length, 298) for length in images.shape[1:3]):
            raise UserError(
                f"images of {images.shape[1]}x{images.shape[2]} pixels are too small for the auxiliary head of "
                "InceptionV3: give at least 299x299, or auxiliary_heads=False"
            )
        if self.transform_input:
            images = to_half_normalization(images)
        init = nn.initializers.normal(0.1)
        unit = functools.partial(
            ConvNormAct,
            conv=self.conv(kernel_init=init),
            norm=self.norm(train, epsilon=1e-3, momentum=self.batch_norm_momentum),
            activation=activation(self.activation),
        )
        classifier = functools.partial(Classifier, self.num_classes, train, dtype=self.dtype)

        def stem(network, x):
            del network  # Flax puts each unit into the module that is being computed
            x = unit(32, (3, 3), (2, 2), name="conv1a")(x)
            x = unit(32, (3, 3), name="conv2a")(x)
            x = unit(64, (3, 3), padding="same", name="conv2b")(x)
            x = max_pool(x, (3, 3), strides=(2, 2))
            x = unit(80, (1, 1), name="conv3b")(x)
            x = unit(192, (3, 3), name="conv4a")(x)
            return max_pool(x, (3, 3), strides=(2, 2))

        x = self.stage(1, stem, images)
        auxiliary = []
        for stage, modules in enumerate(MODULES, 2):
            for name, (branches, projection) in modules:
                x = self.block(Mixed, stage)(branches, projection, unit, self.count_padding, name=name)(x)
                if heads and name == "mixed6e":
                    last = functools.partial(classifier, kernel_init=nn.initializers.normal(0.001))
                    auxiliary.append(AuxiliaryHead(unit, last, name="auxiliary1")(x))
        logits = classifier(self.dropout_rate, kernel_init=init, name="classifier")(self.last_map(x))
        return (logits, *auxiliary) if train and auxiliary else logits


# The names are torchvision's, and timm's too.
_RULES = (
    *(
        Rule(rf"{theirs}\.{layer}", f"{ours}/{name}")
        for theirs, ours in (
            (r"Conv2d_(3b)_1x1", r"conv\1"),
            (r"Conv2d_([124][ab])_3x3", r"conv\1"),
            # A branch of one convolution has no number, nor has the pooled one.
            (r"Mixed_(\d[b-e])\.(branch1x1)", r"mixed\1/\2_1"),
            (r"Mixed_(6a)\.(branch3x3)", r"mixed\1/\2_1"),
            (r"Mixed_(\d\w)\.branch_pool", r"mixed\1/branch_pool"),
            (r"Mixed_(\d[b-e])\.(branch[357]x[357])_(\d[ab]?)", r"mixed\1/\2_\3"),
            (r"Mixed_(7a)\.(branch3x3)_(\d)", r"mixed\1/\2_\3"),
            (r"Mixed_(\d\w)\.(branch\dx\d)dbl_(\d[ab]?)", r"mixed\1/\2_double_\3"),
            # This branch has a 7x7 and a 3x3 convolution.
            (r"Mixed_7a\.branch7x7x3_(\d)", r"mixed7a/branch7x7_\1"),
            (r"AuxLogits\.conv0", "auxiliary1/conv1"),
            (r"AuxLogits\.conv1", "auxiliary1/conv2"),
        )
        for layer, name in (("conv", "conv"), ("bn", "norm"))
    ),
    Rule(r"AuxLogits\.fc", "auxiliary1/classifier/dense"),
    Rule(r"fc", "classifier/dense"),
)

VARIANTS = (
    Variant(
        "inception_v3",
        "inception",
        InceptionV3,
        {},
        input_size=299,
        published=(
            Published(21.2, 5.6, "1 crop, 48,238 images of ILSVRC-2012 validation", "arXiv:1512.00567, table 3"),
            Published(22.0, 6.1, "1 crop, ILSVRC-2012 validation", "TF-Slim, inception_v3, 2016_08_28"),
        ),
        rules=_RULES,
    ),
)
"""The networks of the family."""
