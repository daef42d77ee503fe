"""AlexNet: the network published in 2012, and its one-column form of 2014.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (NIPS 2012);
Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (arXiv:1404.5997).
"""

import functools
from typing import Literal, NamedTuple

import flax.linen as nn
import jax

from jaxcnn.layers.activation import Activation, activation
from jaxcnn.layers.blocks import FullyConnectedClassifier, Initializers
from jaxcnn.layers.conv import symmetric_uniform
from jaxcnn.models.network import Network, Rate
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.pool import max_pool
from jaxcnn.ops.response_norm import local_response_norm

Initialization = Literal["paper", "pytorch"]
"""The origin of the initial weights."""

STAGES = ((1,), (2,), (3, 4, 5))
"""The numbers of the convolutions of each stage; a pooling ends each."""

# The biases of these layers start at 1, so that their ReLUs have positive inputs at first (section 5 of the paper).
_BIASED = ("conv2", "conv4", "conv5", "fc6", "fc7")


class Convolution(NamedTuple):
    """One convolution, its activation, and what follows it before the pooling."""

    features: int
    kernel: int
    strides: int = 1
    padding: int = 0
    groups: int = 1
    normalized: bool = False
    """Whether local response normalization follows."""


class AlexNet(Network):
    """AlexNet: five convolutions, three overlapping poolings, three dense layers.

    ``alexnet`` is torchvision's, the network of "One weird trick" (2014): one column, 64 to 384 features, no local
    response normalization. Dropout acts on the inputs of the first two dense layers, and weights start as those of
    PyTorch's own layers do, kernels and biases uniform in +-1 / sqrt(inputs of each output). Both are torchvision's,
    whose weights `load_pretrained` reads. Activations then shrink from layer to layer (images of deviation 1 leave the
    fifth convolution with 0.04), and the biases keep them from vanishing.

    ``alexnet_2012`` is the paper's. Convolutions 2, 4 and 5 take only the features of their own GPU, which makes two
    groups. Local response normalization comes after the ReLU of convolutions 1 and 2 and before the pooling, with the
    paper's constants. Dropout acts on the outputs of the first two dense layers (section 4.2). Kernels start from a
    normal distribution of deviation 0.01, biases at 1 in convolutions 2, 4 and 5 and in the hidden dense layers, and at
    0 elsewhere (section 5). The paper's 224 pixels do not fit its 11x11 kernels at stride 4, which would make 54.25
    outputs and not its 55. Here the first convolution has no padding and images have 227 pixels, as in Caffe.

    ``fully_convolutional`` says what happens to images of other sizes, of which the paper says nothing; at 227 pixels
    it changes nothing. Images of 224 pixels leave ``alexnet_2012`` a map of 5x5, which is then pooled up to the 6x6 of
    the dense layers.
    """

    convolutions: tuple[Convolution, ...]
    hidden_features: int
    """The features of each of the first two dense layers."""
    dropped: Literal["inputs", "outputs"]
    """What dropout drops: the inputs of the first two dense layers, or their outputs."""
    initialization: Initialization
    activation: Activation = "relu"
    """The activation after each convolution and each hidden dense layer."""
    dropout_rate: Rate = 0.5
    """The dropout rate of the inputs or the outputs of the two hidden dense layers, as the network has it."""
    fully_convolutional: bool = False
    """Whether images of other sizes than the network's own pass through the dense layers at every position of the map,
    and the logits are averaged. Otherwise the map is pooled to the 6x6 that the dense layers are made for, as in
    torchvision."""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels: three poolings need 15 after the first convolution."""
        first = self.convolutions[0]
        return first.kernel + 14 * first.strides - 2 * first.padding

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`."""
        stages = {f"conv{layer}": number for number, layers in enumerate(STAGES, 1) for layer in layers}
        return stages.get(module)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels)."""
        images = self.check(images, stages=len(STAGES))
        x = images
        for number, layers in enumerate(STAGES, 1):
            x = self.stage(number, lambda network, x, layers=layers: network._convolve_and_pool(x, layers), x)
        return FullyConnectedClassifier(
            self.num_classes,
            self.hidden_features,
            size=(6, 6),
            train=train,
            fully_convolutional=self.fully_convolutional,
            dropout_rate=self.dropout_rate,
            dropped=self.dropped,
            initializers=functools.partial(_initializers, self.initialization),
            activation=self.activation,
            dtype=self.dtype,
            lowering=self.lowering,
            name="classifier",
        )(self.last_map(x))

    def _convolve_and_pool(self, x: jax.Array, layers: tuple[int, ...]) -> jax.Array:
        for layer in layers:
            row, name = self.convolutions[layer - 1], f"conv{layer}"
            inputs = row.kernel**2 * x.shape[-1] // row.groups
            conv = self.conv(use_bias=True, **_initializers(self.initialization, name, inputs))
            x = conv(
                row.features,
                (row.kernel, row.kernel),
                strides=(row.strides, row.strides),
                padding=((row.padding, row.padding),) * 2,
                groups=row.groups,
                name=name,
            )(x)
            x = activation(self.activation)(x)
            if row.normalized:
                x = local_response_norm(x)
        return max_pool(x, (3, 3), strides=(2, 2))


def _initializers(initialization: Initialization, name: str, inputs: int) -> Initializers:
    """Returns the initializers of the layer of that name, each of whose outputs has this many inputs."""
    if initialization == "paper":
        bias_init = nn.initializers.constant(1.0 if name in _BIASED else 0.0)
        return {"kernel_init": nn.initializers.normal(0.01), "bias_init": bias_init}
    uniform = symmetric_uniform(inputs**-0.5)
    return {"kernel_init": uniform, "bias_init": uniform}


# The names are torchvision's, which counts convolutions, activations and poolings together.
_RULES = (
    *(Rule(rf"features\.{index}", f"conv{number}") for number, index in enumerate((0, 3, 6, 8, 10), 1)),
    Rule(r"classifier\.1", "classifier/fc6", kernel="dense"),
    Rule(r"classifier\.4", "classifier/fc7"),
    Rule(r"classifier\.6", "classifier/fc8"),
)


def _validation(top1_error: float, top5_error: float, crop: str, source: str) -> Published:
    return Published(top1_error, top5_error, f"{crop}, ILSVRC-2012 validation", source)


VARIANTS = (
    Variant(
        "alexnet",
        "alexnet",
        AlexNet,
        {
            "convolutions": (
                Convolution(64, 11, strides=4, padding=2),
                Convolution(192, 5, padding=2),
                Convolution(384, 3, padding=1),
                Convolution(256, 3, padding=1),
                Convolution(256, 3, padding=1),
            ),
            "hidden_features": 4096,
            "dropped": "inputs",
            "initialization": "pytorch",
        },
        rules=_RULES,
    ),
    Variant(
        "alexnet_2012",
        "alexnet",
        AlexNet,
        {
            "convolutions": (
                Convolution(96, 11, strides=4, normalized=True),
                Convolution(256, 5, padding=2, groups=2, normalized=True),
                Convolution(384, 3, padding=1),
                Convolution(384, 3, padding=1, groups=2),
                Convolution(256, 3, padding=1, groups=2),
            ),
            "hidden_features": 4096,
            "dropped": "outputs",
            "initialization": "paper",
        },
        input_size=227,
        published=(
            _validation(40.7, 18.2, "10-crop", "Krizhevsky et al. 2012, table 2"),
            Published(37.5, 17.0, "10-crop, ILSVRC-2010 test", "Krizhevsky et al. 2012, table 1"),
            Published(39.0, 18.3, "one crop, ILSVRC-2010 test", "Krizhevsky et al. 2012, section 6"),
            _validation(42.9, 19.8, "centre crop 227", "Caffe's bvlc_alexnet: biases start at 0.1, LRN with k = 1"),
        ),
    ),
)
"""The networks of the family."""
