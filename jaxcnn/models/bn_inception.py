"""BN-Inception: Ioffe and Szegedy, "Batch Normalization" (arXiv:1502.03167), figure 5."""

import functools
from typing import Literal

import flax.linen as nn
import jax

from jaxcnn.layers.activation import Activation, activation
from jaxcnn.layers.blocks import Classifier
from jaxcnn.layers.conv import ConvNormAct
from jaxcnn.models.googlenet import Inception, Widths
from jaxcnn.models.network import BatchNormNetwork, Momentum, Rate
from jaxcnn.models.variant import Published, Variant
from jaxcnn.ops.pool import average_pool, max_pool

MODULES = (
    (
        ("inception3a", Widths(64, 64, 64, 64, 96, 32)),
        ("inception3b", Widths(64, 64, 96, 64, 96, 64)),
        ("inception3c", Widths(0, 128, 160, 64, 96, 0)),
    ),
    (
        ("inception4a", Widths(224, 64, 96, 96, 128, 128)),
        ("inception4b", Widths(192, 96, 128, 96, 128, 128)),
        ("inception4c", Widths(160, 128, 160, 128, 160, 128)),
        ("inception4d", Widths(96, 128, 192, 160, 192, 128)),
        ("inception4e", Widths(0, 128, 192, 192, 256, 0)),
    ),
    (
        ("inception5a", Widths(352, 192, 320, 160, 224, 128)),
        ("inception5b", Widths(352, 192, 320, 192, 224, 128)),
    ),
)
"""The modules of stages 2, 3 and 4. The 5x5 branch has two 3x3 convolutions; modules without a 1x1 branch halve the
resolution."""

MAX_POOLED = ("inception3c", "inception4e", "inception5b")
"""The modules where the figure has "max" beside the projection."""
SLIM_PROJECTIONS = {"inception4c": 96, "inception4d": 96}
"""The projections of TF-Slim, where they differ from the figure's."""


class BNInception(BatchNormNetwork):
    """The Inception network of the batch normalization paper, sometimes called Inception v2.

    The figure contradicts itself in modules 4c and 4d: their branches add up to 608 features, and it prints 576. The
    authors' later code, TF-Slim's ``inception_v2``, has 96 features after the pooling and so 576; Caffe's replications
    have the figure's 128 and so 608. ``projections`` chooses. The paper counts 13.6 million parameters; the figure's
    widths make 11.3 with the classifier, and the paper does not say what else it counts.

    The first convolution is separable, as in the paper's text: 8 filters for each input channel, then 1x1, and
    normalization as everywhere, where TF-Slim has a bias. The paper has no dropout; TF-Slim has 0.2. What the paper
    leaves open is as in TF-Slim: padding is TensorFlow's, averages do not count it, epsilon is 1e-3. Initial kernels
    are drawn from He's normal distribution.

    The stages are all before the first module; modules 3a to 3c; 4a to 4e; 5a and 5b. The blocks are the modules.
    """

    projections: Literal["paper", "slim"] = "paper"
    """The features of modules 4c and 4d after the pooling: the figure's or TF-Slim's."""
    activation: Activation = "relu"
    """The activation after each convolution."""
    dropout_rate: Rate = 0.0
    """The dropout rate before the classifier."""
    batch_norm_momentum: Momentum = 0.9
    """The share of the running statistics that each step keeps. The paper does not say; TF-Slim keeps 0.9997."""

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`. The convolutions before the modules are the first."""
        stages = {name: stage for stage, modules in enumerate(MODULES, 2) for name, _ in modules}
        return 1 if module.startswith("conv") else stages.get(module)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        images = self.check(images, stages=1 + len(MODULES))
        unit = functools.partial(
            ConvNormAct,
            conv=self.conv(),
            norm=self.norm(train, epsilon=1e-3, momentum=self.batch_norm_momentum),
            activation=activation(self.activation),
        )

        def stem(network, x):
            channels = x.shape[-1]
            depthwise = network.conv(strides=(2, 2), padding="same", groups=channels, name="conv1_depthwise")
            x = unit(64, (1, 1), name="conv1")(depthwise(8 * channels, (7, 7))(x))
            x = max_pool(x, (3, 3), strides=(2, 2), padding="same")
            x = unit(192, (3, 3), padding="same", name="conv2")(unit(64, (1, 1), name="conv2_reduce")(x))
            return max_pool(x, (3, 3), strides=(2, 2), padding="same")

        x = self.stage(1, stem, images)
        for stage, modules in enumerate(MODULES, 2):
            for name, widths in modules:
                if self.projections == "slim":
                    widths = widths._replace(projection=SLIM_PROJECTIONS.get(name, widths.projection))
                pool = max_pool if name in MAX_POOLED else average_pool
                strides = 1 if widths.conv1x1 else 2
                x = self.block(Inception, stage)(widths, unit, (3, 3), pool, strides, name=name)(x)
        return Classifier(self.num_classes, train, self.dropout_rate, self.dtype, name="classifier")(self.last_map(x))


def _paper(top1_error: float, top5_error: float, protocol: str) -> Published:
    return Published(top1_error, top5_error, f"{protocol}, ILSVRC-2012 validation", "arXiv:1502.03167, figure 4")


VARIANTS = (
    Variant(
        "bn_inception",
        "bn_inception",
        BNInception,
        {},
        published=(
            _paper(25.2, 7.82, "1 crop"),
            _paper(21.99, 5.82, "144 crops"),
            Published(26.1, 8.2, "1 crop, ILSVRC-2012 validation", "TF-Slim, inception_v2, 2016_08_28"),
        ),
    ),
)
"""The networks of the family."""
