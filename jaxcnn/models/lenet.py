"""LeNet: the lecture's form, and LeNet-5 as published in 1998."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer

from jaxcnn.errors import UserError
from jaxcnn.layers.activation import Activation, activation, scaled_tanh
from jaxcnn.layers.conv import he_normal, symmetric_uniform
from jaxcnn.layers.dense import Dense
from jaxcnn.models.network import Count, Network, Rate
from jaxcnn.models.variant import Published, Variant
from jaxcnn.ops.conv import conv2d
from jaxcnn.ops.pool import average_pool, max_pool
from jaxcnn.ops.symbolic import is_symbolic


class LeNet(Network):
    """The lecture's LeNet: two 5x5 convolutions, each with ReLU and 2x2 max pooling, and three dense layers.

    The dense layers have 120 and 84 features, and one for each class. Images have any number of channels and at least
    16 pixels a side; 32 give the 400 features of the lecture.
    """

    num_classes: Count = 10
    activation: Activation = "relu"
    """The activation after each convolution and each hidden dense layer."""
    dropout_rate: Rate = 0.0
    """The dropout rate before each of the two hidden dense layers."""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels: one position is left after the second pooling."""
        return 16

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`. Each convolution is one."""
        return {"conv1": 1, "conv2": 2}.get(module)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels).

        Raises:
            UserError: height or width is a symbol, of which the number of features is unknown.
        """
        if is_symbolic(images.shape[1:3]):
            raise UserError(
                f"images of {images.shape[1]}x{images.shape[2]} pixels have no number of features for the dense layers "
                f"of {type(self).__name__}: give their height and width as numbers"
            )
        images = self.check(images, stages=2)
        activate = activation(self.activation)
        x = images
        for index, features in enumerate((6, 16), start=1):

            def convolve_and_pool(network, x, features=features, name=f"conv{index}"):
                x = network.conv(use_bias=True)(features, (5, 5), name=name)(x)
                return max_pool(activate(x), (2, 2))

            x = self.stage(index, convolve_and_pool, x)
        x = self.last_map(x)
        x = x.reshape(x.shape[0], -1)
        for index, features in enumerate((120, 84), start=1):
            x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
            x = activate(Dense(features, kernel_init=he_normal, dtype=self.dtype, name=f"dense{index}")(x))
        return Dense(self.num_classes, dtype=self.dtype, name="dense3")(x).astype(jnp.float32)


C3_INPUTS = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    *((i, i + 1, (i + 3) % 6, (i + 4) % 6) for i in range(3)),
    tuple(range(6)),
)
"""The maps of S2, of six, that each of the sixteen maps of C3 is connected to: 60 of 96 connections (table I)."""


def _pictures(*rows: str) -> np.ndarray:
    """Returns (10, 84) of +-1 for twelve rows of ten digits, each 7 pixels wide, with spaces between them."""
    lines = [row.split() for row in rows]
    return np.array([[1 if pixel == "#" else -1 for line in lines for pixel in line[i]] for i in range(10)], np.float32)


# Figure 3 of the paper, from later transcriptions of it, which were not checked against the print.
DIGIT_PICTURES = _pictures(
    ".#####. ...##.. .#####. ####### .#####. .#####. ..####. ####### .#####. .#####.",
    "....... ..###.. ....... .....## ....... ....... .##.... .....## ##...## ##..###",
    "..###.. .####.. .#####. ....##. ....... ####### ##..... .....## ##...## ##...##",
    ".##.##. ...##.. ##...## ...##.. .##..## ##..... ##..... ....##. ##...## ##...##",
    "##...## ...##.. #....## ..####. .##..## ##..... ######. ...##.. .#####. ##..###",
    "##...## ...##.. ....##. .....## ###..## .####.. ###..## ...##.. ##...## .######",
    "##...## ...##.. ..###.. .....## ##...## ..####. ##...## ..##... ##...## .....##",
    "##...## ...##.. .##.... .....## ##...## .....## ##...## ..##... ##...## .....##",
    ".##.##. ...##.. ##..... ##...## ##..### ##...## ###..## ..##... ##...## ....##.",
    "..###.. .###### ####### .#####. .###### .#####. .#####. ..##... .#####. .####..",
    "....... ....... ....... ....... .....## ....... ....... ....... ....... .......",
    "....... ....... ....... ....... .....## ....... ....... ....... ....... .......",
)
"""The picture of each digit, (10, 84): the targets of F6."""


def fan_in_uniform(fan_in: int) -> Initializer:
    """Returns the paper's initializer, uniform in +-2.4 / fan_in (appendix A)."""
    return symmetric_uniform(2.4 / fan_in)


class LeNet5(Network):
    """LeNet-5 as published: LeCun, Bottou, Bengio and Haffner, Proc. IEEE 1998, section II-B.

    All activations are scaled tanh. Subsampling sums 2x2 pixels, then scales and shifts each map by trainable numbers.
    Each map of C3 takes a part of S2's maps (table I). The output is the squared distance of F6 to one fixed 7x12
    picture for each class. The network returns minus that distance as the logit, so softmax cross-entropy is the
    paper's discriminative criterion (equation 9) without its constant rejection class, and the nearest picture wins.

    The network has 60,000 trainable parameters. Images have 32x32 pixels and any number of channels (the paper's one).
    """

    num_classes: Count = 10

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`. Each convolution with its subsampling is one."""
        return {"c1": 1, "s2": 1, "c3": 2, "s4": 2}.get(module.partition("_")[0])

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for images (batch, 32, 32, channels).

        Raises:
            UserError: the images are not 32x32, or there are more than ten classes.
        """
        del train  # nothing here differs in training
        if images.shape[1:3] != (32, 32):
            raise UserError(
                f"lenet5 takes images of 32x32 pixels, not {images.shape[1]}x{images.shape[2]}: pad or resize them"
            )
        if self.num_classes > len(DIGIT_PICTURES):
            raise UserError(f"lenet5 has pictures of ten digits, not of {self.num_classes} classes: use lenet")
        images = self.check(images, stages=2)
        x = self.stage(1, lambda self, x: self._subsampling(self._convolution(x, 6, "c1"), "s2"), images)
        x = self.stage(2, lambda self, x: self._subsampling(self._sparse_convolution(x, "c3"), "s4"), x)
        x = self._convolution(self.last_map(x), 120, "c5").reshape(-1, 120)
        dense = Dense(84, kernel_init=fan_in_uniform(120), bias_init=fan_in_uniform(120), dtype=self.dtype, name="f6")
        x = scaled_tanh(dense(x)).astype(jnp.float32)
        pictures = jnp.asarray(DIGIT_PICTURES[: self.num_classes])
        return -jnp.square(x[:, None, :] - pictures[None]).sum(-1)

    def _convolution(self, x: jax.Array, features: int, name: str) -> jax.Array:
        init = fan_in_uniform(25 * x.shape[-1])
        conv = self.conv(use_bias=True, kernel_init=init, bias_init=init)
        return scaled_tanh(conv(features, (5, 5), name=name)(x))

    def _subsampling(self, x: jax.Array, name: str) -> jax.Array:
        maps = x.shape[-1:]
        coefficient = self.param(f"{name}_coefficient", fan_in_uniform(4), maps, jnp.float32)
        bias = self.param(f"{name}_bias", fan_in_uniform(4), maps, jnp.float32)
        coefficient, bias = (each.astype(self.dtype).reshape(1, 1, 1, -1) for each in (coefficient, bias))
        return scaled_tanh(4 * average_pool(x, (2, 2)) * coefficient + bias)

    def _sparse_convolution(self, x: jax.Array, name: str) -> jax.Array:
        inputs = np.concatenate([np.array(maps) for maps in C3_INPUTS])
        outputs = np.repeat(np.arange(len(C3_INPUTS)), [len(maps) for maps in C3_INPUTS])
        init = fan_in_uniform(25 * len(inputs) // len(C3_INPUTS))
        # Only the connections that exist have a parameter: (5, 5, 60).
        weights = self.param(f"{name}_kernel", init, (5, 5, len(inputs)), jnp.float32)
        bias = self.param(f"{name}_bias", init, (len(C3_INPUTS),), jnp.float32)
        kernel = jnp.zeros((5, 5, x.shape[-1], len(C3_INPUTS))).at[:, :, inputs, outputs].set(weights)
        return scaled_tanh(
            conv2d(x, kernel.astype(self.dtype), lowering=self.lowering) + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        )


VARIANTS = (
    Variant("lenet", "lenet", LeNet, {}, input_size=32, channels=1, num_classes=10),
    Variant(
        "lenet5",
        "lenet",
        LeNet5,
        {},
        input_size=32,
        channels=1,
        num_classes=10,
        published=(Published(0.95, None, "MNIST test set, no distortions", "LeCun et al. 1998, figure 9"),),
    ),
)
"""The networks of the family."""
