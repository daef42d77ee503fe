"""Densely connected networks: Huang, Liu, van der Maaten and Weinberger (arXiv:1608.06993)."""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.layers.blocks import Classifier
from jaxcnn.layers.layer import Layer
from jaxcnn.models.network import BatchNormNetwork, Rate
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.pool import average_pool
from jaxcnn.ops.relu import relu_and_max_pool

Features = tuple[jax.Array, ...]
"""The features that a dense block has so far, oldest first, not yet concatenated.

Each layer concatenates for itself, so that a layer which is computed again in the backward pass keeps none of its
input: the features of each layer are then kept once, and not once for each layer after it.
"""

BOTTLENECK_EXPANSION = 4
"""The features of a bottleneck's 1x1 convolution over the growth rate (section 3, "bottleneck layers")."""


class DenseLayer(nn.Module):
    """The composite function H of section 3: normalization, ReLU and a 3x3 convolution of all features so far.

    With a bottleneck, normalization, ReLU and a 1x1 convolution come first ("DenseNet-B").
    """

    growth_rate: int
    bottleneck: bool
    conv: Layer
    norm: Layer
    dropout: Layer

    @nn.compact
    def __call__(self, features: Features) -> jax.Array:
        """Returns the new features alone, (batch, height, width, growth_rate)."""
        x = jnp.concatenate(features, axis=-1)
        if self.bottleneck:
            x = nn.relu(self.norm(name="bottleneck_norm")(x))
            x = self.conv(BOTTLENECK_EXPANSION * self.growth_rate, (1, 1), name="bottleneck_conv")(x)
            x = self.dropout()(x)
        x = nn.relu(self.norm(name="norm")(x))
        x = self.conv(self.growth_rate, (3, 3), padding=((1, 1), (1, 1)), name="conv")(x)
        return self.dropout()(x)


class Transition(nn.Module):
    """A 1x1 convolution between two dense blocks, which may compress ("DenseNet-C"), and 2x2 average pooling."""

    compression: float
    conv: Layer
    norm: Layer
    dropout: Layer

    @nn.compact
    def __call__(self, features: Features) -> jax.Array:
        """Returns (batch, height // 2, width // 2, compression * channels, rounded down)."""
        x = jnp.concatenate(features, axis=-1)
        x = nn.relu(self.norm(name="norm")(x))
        x = self.conv(int(x.shape[-1] * self.compression), (1, 1), name="conv")(x)
        return average_pool(self.dropout()(x), (2, 2))


class DenseNet(BatchNormNetwork):
    """DenseNet: within a dense block, every layer takes the features of all layers before it.

    With ``remat`` a stage is trained as in the memory-efficient DenseNet (Pleiss et al., arXiv:1707.06990):
    concatenations, normalizations and the bottlenecks' 1x1 convolutions are computed again in the backward pass, and
    memory grows with the depth of the block, not with its square.
    """

    stage_sizes: tuple[int, ...]
    """The number of layers of each dense block; a transition between two blocks halves the resolution."""
    growth_rate: int
    """The features that each layer adds; the paper's k."""
    stem: Literal["imagenet", "cifar"]
    """The layers before the first block: a 7x7 convolution at stride 2, normalization and 3x3 max pooling at stride 2,
    or one 3x3 convolution alone."""
    stem_features: int
    bottleneck: bool
    """Whether each 3x3 convolution has a 1x1 convolution before it."""
    compression: float
    """The features after a transition over those before it; the paper's theta."""
    dropout_rate: Rate = 0.0
    """The dropout rate after each convolution but the first, as the authors have it; there is none before the
    classifier. The paper's is 0.2 on CIFAR without augmentation, and 0 elsewhere. (Torchvision drops only after the 3x3
    convolutions.)"""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels: each transition halves it, and one is left."""
        pooled = 2 ** (len(self.stage_sizes) - 1)
        # The two strides of the stem round up.
        return 4 * (pooled - 1) + 1 if self.stem == "imagenet" else pooled

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        images = self.check(images, stages=len(self.stage_sizes))
        dropout = functools.partial(nn.Dropout, self.dropout_rate, deterministic=not train)
        layers = {"conv": self.conv(), "norm": self.norm(train), "dropout": dropout}
        x = self._stem(images, train)
        for stage, depth in enumerate(self.stage_sizes, 1):
            features = (x,)
            for number in range(1, depth + 1):
                layer = self.block(DenseLayer, stage)
                layer = layer(self.growth_rate, self.bottleneck, **layers, name=f"stage{stage}_layer{number}")
                features = (*features, layer(features))
            if stage < len(self.stage_sizes):
                transition = self.block(Transition, stage)
                x = transition(self.compression, **layers, name=f"stage{stage}_transition")(features)
        x = nn.relu(self.norm(train)(name="final_norm")(jnp.concatenate(features, axis=-1)))
        return Classifier(self.num_classes, train, dtype=self.dtype, name="classifier")(self.last_map(x))

    def _stem(self, images: jax.Array, train: bool) -> jax.Array:
        if self.stem == "cifar":
            return self.conv()(self.stem_features, (3, 3), padding=((1, 1), (1, 1)), name="stem_conv")(images)
        stem = self.conv(strides=(2, 2), padding=((3, 3), (3, 3)))
        x = stem(self.stem_features, (7, 7), name="stem_conv")(images)
        x = self.norm(train)(name="stem_norm")(x)
        return relu_and_max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


# The names are torchvision's, and timm's too. A layer's own modules are ``norm1`` and ``conv2`` in their networks, and
# ``norm.1`` and ``conv.2`` in torchvision's published files.
_RULES = (
    Rule(r"features\.conv0", "stem_conv"),
    Rule(r"features\.norm0", "stem_norm"),
    *(
        Rule(rf"features\.denseblock(\d)\.denselayer(\d+)\.(norm|conv){number}", rf"stage\1_layer\2/{ours}", publisher)
        for publisher, dot in ((None, ""), ("torchvision's old files", r"\."))
        for number, ours in ((f"{dot}1", r"bottleneck_\3"), (f"{dot}2", r"\3"))
    ),
    Rule(r"features\.transition(\d)\.(norm|conv)", r"stage\1_transition/\2"),
    Rule(r"features\.norm5", "final_norm"),
    Rule(r"classifier", "classifier/dense"),
)


def _imagenet(name: str, growth_rate: int, stage_sizes: tuple[int, ...], *published: Published) -> Variant:
    arguments = {
        "stage_sizes": stage_sizes,
        "growth_rate": growth_rate,
        "stem": "imagenet",
        "stem_features": 2 * growth_rate,
        "bottleneck": True,
        "compression": 0.5,
    }
    return Variant(name, "densenet", DenseNet, arguments, published=published, rules=_RULES)


def _cifar(depth: int, stem_features: int, bottleneck: bool, plain_error: float, augmented_error: float) -> Variant:
    arguments = {
        # The first convolution, the two transitions and the classifier are in no dense block.
        "stage_sizes": ((depth - 4) // (6 if bottleneck else 3),) * 3,
        "growth_rate": 12,
        "stem": "cifar",
        "stem_features": stem_features,
        "bottleneck": bottleneck,
        "compression": 0.5 if bottleneck else 1.0,
    }
    errors = ((plain_error, "no augmentation, dropout 0.2"), (augmented_error, "mirrored and shifted images"))
    published = (
        Published(error, None, f"CIFAR-10 test set, {how}", "arXiv:1608.06993, table 2") for error, how in errors
    )
    name = f"densenet{depth}_k12_cifar"
    return Variant(name, "densenet", DenseNet, arguments, 32, num_classes=10, published=tuple(published), rules=_RULES)


def _paper(top1_error: float, top5_error: float, ten_top1_error: float, ten_top5_error: float) -> tuple[Published, ...]:
    source, images = "arXiv:1608.06993, table 3", "ILSVRC-2012 validation"
    return (
        Published(top1_error, top5_error, f"centre crop 224, {images}", source),
        Published(ten_top1_error, ten_top5_error, f"10-crop, {images}", source),
    )


VARIANTS = (
    _imagenet("densenet121", 32, (6, 12, 24, 16), *_paper(25.02, 7.71, 23.61, 6.66)),
    _imagenet(
        "densenet161",
        48,
        (6, 12, 36, 24),
        # Table 3 of the published paper has DenseNet-264 in its place.
        Published(22.2, None, "centre crop 224, ILSVRC-2012 validation", "the authors' README"),
    ),
    _imagenet("densenet169", 32, (6, 12, 32, 32), *_paper(23.8, 6.85, 22.08, 5.92)),
    _imagenet("densenet201", 32, (6, 12, 48, 32), *_paper(22.58, 6.34, 21.46, 5.54)),
    _imagenet("densenet264", 32, (6, 12, 64, 48), *_paper(22.15, 6.12, 20.8, 5.29)),
    # The stem has 16 features, or twice the growth rate in DenseNet-BC (section 3, "implementation details").
    _cifar(40, 16, False, 7.0, 5.24),
    _cifar(100, 24, True, 5.92, 4.51),
)
"""The networks of the family."""
