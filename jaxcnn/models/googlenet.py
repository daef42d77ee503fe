"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions" (arXiv:1409.4842)."""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.errors import UserError
from jaxcnn.layers.activation import Activation, activation
from jaxcnn.layers.blocks import Classifier
from jaxcnn.layers.conv import ConvNormAct
from jaxcnn.layers.dense import Dense
from jaxcnn.layers.layer import Layer
from jaxcnn.models.network import BatchNormNetwork, Rate
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.pool import adaptive_average_pool, average_pool, max_pool
from jaxcnn.ops.response_norm import local_response_norm
from jaxcnn.ops.symbolic import at_most
from jaxcnn.ops.window import Pair


class Widths(NamedTuple):
    """The features of a module's convolutions: a row of the paper's table 1."""

    conv1x1: int
    """The features of the 1x1 branch; 0 where there is no such branch."""
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    projection: int
    """The features of the 1x1 convolution after the pooling; 0 where there is none."""


MODULES = (
    (
        ("inception3a", Widths(64, 96, 128, 16, 32, 32)),
        ("inception3b", Widths(128, 128, 192, 32, 96, 64)),
    ),
    (
        ("inception4a", Widths(192, 96, 208, 16, 48, 64)),
        ("inception4b", Widths(160, 112, 224, 24, 64, 64)),
        ("inception4c", Widths(128, 128, 256, 24, 64, 64)),
        ("inception4d", Widths(112, 144, 288, 32, 64, 64)),
        ("inception4e", Widths(256, 160, 320, 32, 128, 128)),
    ),
    (
        ("inception5a", Widths(256, 160, 320, 32, 128, 128)),
        ("inception5b", Widths(384, 192, 384, 48, 128, 128)),
    ),
)
"""The modules of stages 2, 3 and 4."""

AUXILIARY = {"inception4a": "auxiliary1", "inception4d": "auxiliary2"}
"""The modules that the auxiliary heads take, and the heads."""


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; 1x1 and 5x5; pooling and 1x1 (figure 2b).

    Their outputs are concatenated in this order. At ``strides`` of 2 it halves the resolution.
    """

    widths: Widths
    unit: Layer
    """The network's `ConvNormAct`."""
    kernels: tuple[int, ...]
    """The kernel sizes of the convolutions of the 5x5 branch: (5,), or those that later networks have in its place."""
    pool: Callable[..., jax.Array] = max_pool
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns (batch, ceil(height / strides), ceil(width / strides), features of all branches)."""
        widths, strides = self.widths, (self.strides, self.strides)
        branches = []
        if widths.conv1x1:
            branches.append(self.unit(widths.conv1x1, (1, 1), name="conv1x1")(x))
        y = self.unit(widths.reduce3x3, (1, 1), name="reduce3x3")(x)
        branches.append(self.unit(widths.conv3x3, (3, 3), strides, "same", name="conv3x3")(y))
        y = self.unit(widths.reduce5x5, (1, 1), name="reduce5x5")(x)
        for number, kernel in enumerate(self.kernels, 1):
            last = number == len(self.kernels)
            unit = self.unit(
                widths.conv5x5, (kernel, kernel), strides if last else (1, 1), "same", name=f"conv5x5_{number}"
            )
            y = unit(y)
        branches.append(y)
        y = self.pool(x, (3, 3), strides=strides, padding="same")
        branches.append(self.unit(widths.projection, (1, 1), name="projection")(y) if widths.projection else y)
        return jnp.concatenate(branches, -1)


class AuxiliaryHead(nn.Module):
    """A small classifier on a middle layer, used only in training: pooling, 1x1, two dense layers (section 5)."""

    num_classes: int
    pool: Callable[[jax.Array], jax.Array]
    unit: Layer
    hidden: Layer
    """The first dense layer: a `ConvNormAct` without normalization, whose kernel covers the pooled map."""
    dropout: Layer
    dense: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits, (batch, num_classes)."""
        x = self.unit(128, (1, 1), name="conv")(self.pool(x))
        x = self.hidden(1024, x.shape[1:3], name="hidden")(x)
        x = self.dropout()(x.reshape(x.shape[0], -1))
        return self.dense(self.num_classes, name="dense")(x).astype(jnp.float32)


def halve(x: jax.Array, window: Pair = (3, 3)) -> jax.Array:
    """Returns the max pooling at stride 2 that leaves no pixel out."""
    return max_pool(x, window, strides=(2, 2), ceil_mode=True)


def _unchanged(x: jax.Array) -> jax.Array:
    return x


def to_half_normalization(images: jax.Array) -> jax.Array:
    """Turns images normalized by ImageNet's mean and deviation into (x - 0.5) / 0.5, for pixels x from 0 to 1.

    Raises:
        UserError: the images, (batch, height, width, channels), do not have three channels.
    """
    if images.shape[-1] != 3:
        raise UserError(f"transform_input is for images of three channels, not {images.shape[-1]}: leave it False")
    mean, deviation = (
        jnp.array(values, images.dtype).reshape(1, 1, 1, 3) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return images * (deviation / 0.5) + (mean - 0.5) / 0.5


class GoogLeNet(BatchNormNetwork):
    """GoogLeNet, in the form of the published weights and in the paper's.

    ==================== ========================================= ==========================================
    form                 ``torchvision``                           ``paper``
    ==================== ========================================= ==========================================
    normalization        batch (epsilon 1e-3)                      local response, after the first pooling
                                                                   and before the second; biases
    5x5 convolutions     3x3: a mistake made once, and kept        5x5
                         because the weights depend on it
    last max pooling     2x2                                       3x3
    pooling in the heads adaptive, to 4x4                          5x5 at stride 3: 4x4 from 224 pixels
    dropout              0.2                                       0.4
    initial kernels      normal, deviation 0.01                    uniform, variance 1 / fan_in; biases 0.2
    ==================== ========================================= ==========================================

    The paper leaves open its padding, its initial weights and the constants of its normalization. Here they are those
    of Caffe's replication, ``bvlc_googlenet``: alpha is 1e-4 over the mean of 5 squares and k is 1, where AlexNet has
    1e-4 over their sum and 2. Torchvision draws its kernels from a "truncated" normal distribution, which it cuts 200
    deviations out; its dense biases start at random, ours at 0.

    The stages are all before the first module; modules 3a and 3b; 4a to 4e; 5a and 5b. The blocks are the modules.
    """

    form: Literal["torchvision", "paper"]
    activation: Activation = "relu"
    """The activation after each convolution."""
    auxiliary_heads: bool = False
    """Whether there are two more classifiers, on modules 4a and 4d. With them, training returns ``(logits, auxiliary1,
    auxiliary2)``; evaluation returns the logits alone. The paper adds their losses with weight 0.3. In the paper's form
    their parameters are for images of one size."""
    dropout_rate: Rate | None = None
    """The dropout rate before the classifier; None is the form's own, 0.2 or the paper's 0.4."""
    auxiliary_dropout_rate: Rate = 0.7
    """The dropout rate before the last layer of an auxiliary head."""
    transform_input: bool = False
    """Whether to take images normalized by ImageNet's mean and deviation, as torchvision's transforms make them, and to
    turn them into the (x - 0.5) / 0.5 that its published weights were trained for. Those weights need it; a network
    trained from the start does not."""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels.

        Every pooling needs a pixel more than its stride, except torchvision's last, of 2x2, which needs one.
        """
        return 31 if self.form == "paper" else 15

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`. The convolutions before the modules are the first."""
        stages = {name: stage for stage, modules in enumerate(MODULES, 2) for name, _ in modules}
        return 1 if module.startswith("conv") else stages.get(module)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array | tuple[jax.Array, ...]:
        """Returns float32 logits, (batch, num_classes), for images (batch, height, width, channels).

        In training with auxiliary heads it returns a tuple: these logits and those of the heads, of the same shape.
        """
        images = self.check(images, stages=1 + len(MODULES))
        heads = self.auxiliary_heads and (train or self.is_initializing())
        if heads and self.form == "paper" and any(at_most(length, 78) for length in images.shape[1:3]):
            raise UserError(
                f"images of {images.shape[1]}x{images.shape[2]} pixels are too small for the auxiliary heads of "
                "GoogLeNet: give at least 79x79, or auxiliary_heads=False"
            )
        if self.transform_input:
            images = to_half_normalization(images)
        paper = self.form == "paper"
        init = nn.initializers.lecun_uniform() if paper else nn.initializers.normal(0.01)
        biased = self.conv(kernel_init=init, use_bias=True, bias_init=nn.initializers.constant(0.2 if paper else 0.0))
        plain = functools.partial(ConvNormAct, conv=biased, norm=None, activation=activation(self.activation))
        normalized = functools.partial(plain, conv=self.conv(kernel_init=init), norm=self.norm(train, epsilon=1e-3))
        if paper:
            unit, kernels, last_window, dropout_rate = plain, (5,), (3, 3), 0.4
            respond = functools.partial(local_response_norm, alpha=1e-4 / 5, k=1.0)
            head_pool = functools.partial(average_pool, window=(5, 5), strides=(3, 3))
        else:
            unit, kernels, last_window, dropout_rate = normalized, (3,), (2, 2), 0.2
            respond = _unchanged
            head_pool = functools.partial(adaptive_average_pool, size=(4, 4))
        head = functools.partial(
            AuxiliaryHead,
            self.num_classes,
            head_pool,
            unit,
            hidden=plain,
            dropout=functools.partial(nn.Dropout, self.auxiliary_dropout_rate, deterministic=not train),
            dense=functools.partial(Dense, kernel_init=init, dtype=self.dtype),
        )

        def stem(network, x):
            del network  # Flax puts each unit into the module that is being computed
            x = respond(halve(unit(64, (7, 7), (2, 2), ((3, 3), (3, 3)), name="conv1")(x)))
            x = unit(64, (1, 1), name="conv2_reduce")(x)
            return halve(respond(unit(192, (3, 3), (1, 1), "same", name="conv2")(x)))

        x = self.stage(1, stem, images)
        auxiliary = []
        for stage, modules in enumerate(MODULES, 2):
            if stage > 2:
                x = halve(x, (3, 3) if stage == 3 else last_window)
            for name, widths in modules:
                x = self.block(Inception, stage)(widths, unit, kernels, name=name)(x)
                if heads and name in AUXILIARY:
                    auxiliary.append(head(name=AUXILIARY[name])(x))
        rate = dropout_rate if self.dropout_rate is None else self.dropout_rate
        logits = Classifier(self.num_classes, train, rate, self.dtype, init, name="classifier")(self.last_map(x))
        return (logits, *auxiliary) if train and auxiliary else logits


# The names are torchvision's.
_RULES = (
    *(
        Rule(rf"{theirs}\.{layer}", f"{ours}/{name}")
        for theirs, ours in (
            ("conv1", "conv1"),
            ("conv2", "conv2_reduce"),
            ("conv3", "conv2"),
            (r"inception(\d\w)\.branch1", r"inception\1/conv1x1"),
            (r"inception(\d\w)\.branch2\.0", r"inception\1/reduce3x3"),
            (r"inception(\d\w)\.branch2\.1", r"inception\1/conv3x3"),
            (r"inception(\d\w)\.branch3\.0", r"inception\1/reduce5x5"),
            (r"inception(\d\w)\.branch3\.1", r"inception\1/conv5x5_1"),
            (r"inception(\d\w)\.branch4\.1", r"inception\1/projection"),
            (r"aux(\d)\.conv", r"auxiliary\1/conv"),
        )
        for layer, name in (("conv", "conv"), ("bn", "norm"))
    ),
    Rule(r"aux(\d)\.fc1", r"auxiliary\1/hidden/conv", kernel="dense"),
    Rule(r"aux(\d)\.fc2", r"auxiliary\1/dense"),
    Rule(r"fc", "classifier/dense"),
)

VARIANTS = (
    Variant("googlenet", "googlenet", GoogLeNet, {"form": "torchvision"}, rules=_RULES),
    Variant(
        "googlenet_2014",
        "googlenet",
        GoogLeNet,
        {"form": "paper", "batch_norm_axis": None, "batch_norm_groups": 1, "transform_input": False},
        published=(
            Published(None, 10.07, "1 crop, ILSVRC-2012 validation", "arXiv:1409.4842, table 3"),
            Published(None, 6.67, "7 networks, 144 crops, ILSVRC-2012 validation", "arXiv:1409.4842, table 3"),
            Published(31.3, 11.1, "centre crop 224, ILSVRC-2012 validation", "Caffe's replication, bvlc_googlenet"),
        ),
        rules=_RULES,
    ),
)
"""The networks of the family."""
