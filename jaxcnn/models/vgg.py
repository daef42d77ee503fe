"""VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv:1409.1556).

The networks with batch normalization are torchvision's; the paper has no such networks.
"""

import re

import flax.linen as nn
import jax

from jaxcnn.layers.activation import Activation, activation
from jaxcnn.layers.blocks import FullyConnectedClassifier, Initializers
from jaxcnn.models.network import BatchNormNetwork, Rate
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.pool import max_pool
from jaxcnn.ops.response_norm import local_response_norm
from jaxcnn.types import Option


class VGG(BatchNormNetwork):
    """VGG: five stages of 3x3 convolutions, each ended by a 2x2 max pooling, and three dense layers (table 1).

    ``vgg11``, ``vgg13``, ``vgg16`` and ``vgg19`` are the paper's configurations A, B, D and E, ``vgg11_lrn`` is its
    A-LRN and ``vgg16_1x1`` its C.

    Weights start as torchvision's do: kernels of convolutions from He's normal distribution over the outputs, those of
    dense layers from one of deviation 0.01, biases at 0. So every depth trains from scratch. The paper draws all of A
    from a normal distribution of variance 0.01, as printed, and starts the deeper networks from the first four
    convolutions and the dense layers of a trained A (section 3.1); it adds that Glorot's initialization was found to
    make that needless.

    ``fully_convolutional`` says what happens to images of other sizes.
    """

    stage_sizes: tuple[int, ...]
    """The number of convolutions in each stage."""
    width: int
    """The features of the first stage; they double from stage to stage, up to eight times. The two hidden dense layers
    have 64 times as many."""
    third_kernel: int
    """The kernel size of the third convolution in a stage; all others have 3."""
    local_response_norm: bool
    """Whether local response normalization with AlexNet's constants follows the first convolution and its
    activation."""
    batch_norm: bool
    """Whether batch normalization follows each convolution, which keeps its bias."""
    activation: Activation = "relu"
    """The activation after each convolution and each hidden dense layer."""
    dropout_rate: Rate = 0.5
    """The dropout rate of the outputs of the two hidden dense layers."""
    fully_convolutional: bool = False
    """Whether images of other sizes than 224 pass through the dense layers at every position of the map, and the logits
    are averaged: the dense evaluation of section 3.2, under which the paper's errors were measured. It needs at least
    224 pixels. Otherwise the map is pooled to the 7x7 that the dense layers are made for, as in torchvision."""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels: five poolings halve it."""
        return 32

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`."""
        found = re.match(r"(?:conv|norm)(\d)_", module)
        return int(found[1]) if found else None

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        images = self.check(images, stages=len(self.stage_sizes))
        x = images
        for number in range(1, len(self.stage_sizes) + 1):
            x = self.stage(number, lambda network, x, number=number: network._convolve_and_pool(x, number, train), x)
        return FullyConnectedClassifier(
            self.num_classes,
            64 * self.width,
            size=(7, 7),
            train=train,
            fully_convolutional=self.fully_convolutional,
            dropout_rate=self.dropout_rate,
            dropped="outputs",
            initializers=_dense_initializers,
            activation=self.activation,
            dtype=self.dtype,
            lowering=self.lowering,
            name="classifier",
        )(self.last_map(x))

    def _convolve_and_pool(self, x: jax.Array, stage: int, train: bool) -> jax.Array:
        conv, norm = self.conv(use_bias=True), self.norm(train)
        features = self.width * min(2 ** (stage - 1), 8)
        for index in range(1, self.stage_sizes[stage - 1] + 1):
            kernel = self.third_kernel if index == 3 else 3
            padding = ((kernel // 2, kernel // 2),) * 2
            x = conv(features, (kernel, kernel), padding=padding, name=f"conv{stage}_{index}")(x)
            if self.batch_norm:
                x = norm(name=f"norm{stage}_{index}")(x)
            x = activation(self.activation)(x)
            if self.local_response_norm and stage == index == 1:
                x = local_response_norm(x)
        return max_pool(x, (2, 2))


def _dense_initializers(name: str, inputs: int) -> Initializers:
    del name, inputs  # the three layers have the same
    return {"kernel_init": nn.initializers.normal(0.01), "bias_init": nn.initializers.zeros}


A, B, D, E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
"""The numbers of convolutions in each stage of the paper's configurations; C has those of D."""


def _rules(stage_sizes: tuple[int, ...], batch_norm: bool) -> tuple[Rule, ...]:
    """Returns the rules of torchvision and timm, whose names of the dense layers differ.

    Both count convolutions, normalizations, activations and poolings together.
    """
    rules, index = [], 0
    for stage, size in enumerate(stage_sizes, 1):
        for number in range(1, size + 1):
            rules.append(Rule(rf"features\.{index}", f"conv{stage}_{number}"))
            index += 1
            if batch_norm:
                rules.append(Rule(rf"features\.{index}", f"norm{stage}_{number}"))
                index += 1
            index += 1  # the activation
        index += 1  # the pooling
    return (
        *rules,
        Rule(r"classifier\.0", "classifier/fc6", "torchvision", "dense"),
        Rule(r"classifier\.3", "classifier/fc7", "torchvision"),
        Rule(r"classifier\.6", "classifier/fc8", "torchvision"),
        Rule(r"pre_logits\.fc1", "classifier/fc6", "timm"),
        Rule(r"pre_logits\.fc2", "classifier/fc7", "timm", "convolution"),
        Rule(r"head\.fc", "classifier/fc8", "timm"),
    )


def _variant(
    name: str,
    stage_sizes: tuple[int, ...],
    *published: Published,
    third_kernel: int = 3,
    local_response_norm: bool = False,
    batch_norm: bool = False,
) -> Variant:
    arguments: dict[str, Option] = {
        "stage_sizes": stage_sizes,
        "width": 64,
        "third_kernel": third_kernel,
        "local_response_norm": local_response_norm,
        "batch_norm": batch_norm,
    }
    if not batch_norm:
        # These are fixed, so that nobody can ask for them in vain.
        arguments |= {"batch_norm_axis": None, "batch_norm_groups": 1}
    # torchvision does not have the paper's two other networks.
    rules = () if local_response_norm or third_kernel != 3 else _rules(stage_sizes, batch_norm)
    return Variant(name, "vgg", VGG, arguments, published=published, rules=rules)


def _paper(trained: str, tested: str, top1_error: float, top5_error: float) -> Published:
    """Returns a row of table 3, or of table 4 for several scales, which are the image's shorter side in pixels."""
    protocol = f"dense with flip, shorter side {tested}, trained at {trained}, ILSVRC-2012 validation"
    return Published(top1_error, top5_error, protocol, f"arXiv:1409.1556, table {4 if ', ' in tested else 3}")


VARIANTS = (
    _variant("vgg11", A, _paper("256", "256", 29.6, 10.4)),
    _variant("vgg11_bn", A, batch_norm=True),
    _variant("vgg11_lrn", A, _paper("256", "256", 29.7, 10.5), local_response_norm=True),
    _variant(
        "vgg13",
        B,
        _paper("256", "256", 28.7, 9.9),
        _paper("256", "224, 256 and 288", 28.2, 9.6),
    ),
    _variant("vgg13_bn", B, batch_norm=True),
    _variant(
        "vgg16",
        D,
        _paper("256", "256", 27.0, 8.8),
        _paper("384", "384", 26.8, 8.7),
        _paper("256 to 512", "384", 25.6, 8.1),
        _paper("256", "224, 256 and 288", 26.6, 8.6),
        _paper("384", "352, 384 and 416", 26.5, 8.6),
        _paper("256 to 512", "256, 384 and 512", 24.8, 7.5),
        Published(28.5, 9.9, "centre crop, ILSVRC-2012 validation", "MatConvNet, the authors' weights"),
    ),
    _variant("vgg16_bn", D, batch_norm=True),
    _variant(
        "vgg16_1x1",
        D,
        _paper("256", "256", 28.1, 9.4),
        _paper("384", "384", 28.1, 9.3),
        _paper("256 to 512", "384", 27.3, 8.8),
        _paper("256", "224, 256 and 288", 27.7, 9.2),
        _paper("384", "352, 384 and 416", 27.8, 9.2),
        _paper("256 to 512", "256, 384 and 512", 26.3, 8.2),
        third_kernel=1,
    ),
    _variant(
        "vgg19",
        E,
        _paper("256", "256", 27.3, 9.0),
        _paper("384", "384", 26.9, 8.7),
        _paper("256 to 512", "384", 25.5, 8.0),
        _paper("256", "224, 256 and 288", 26.9, 8.7),
        _paper("384", "352, 384 and 416", 26.7, 8.6),
        _paper("256 to 512", "256, 384 and 512", 24.8, 7.5),
    ),
    _variant("vgg19_bn", E, batch_norm=True),
)
"""The networks of the family."""
