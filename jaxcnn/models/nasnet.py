"""NASNet-A: Zoph, Vasudevan, Shlens and Le (arXiv:1707.07012), and the scheduled drop-path it is trained with."""

import functools
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.errors import UserError
from jaxcnn.layers.blocks import Classifier, StochasticDepth
from jaxcnn.models.network import BatchNormNetwork
from jaxcnn.models.variant import Layer, Published, Variant
from jaxcnn.ops.pool import average_pool, max_pool

Operation = Literal["identity", "separable3", "separable5", "separable7", "average3", "max3"]

CURRENT, PREVIOUS, FIRST, SECOND = range(4)
"""What a combination can take: the outputs of the last cell and of the one before it, and earlier combinations."""


class Genotype(NamedTuple):
    """What the search found of one kind of cell: five sums of two operations each, and what of them is put out."""

    combinations: tuple[tuple[tuple[Operation, int], tuple[Operation, int]], ...]
    """(operation, input) of the two sides of each sum."""
    outputs: tuple[int, ...]
    """What is concatenated, counted as the inputs are."""


NORMAL = Genotype(
    (
        (("separable5", CURRENT), ("separable3", PREVIOUS)),
        (("separable5", PREVIOUS), ("separable3", PREVIOUS)),
        (("average3", CURRENT), ("identity", PREVIOUS)),
        (("average3", PREVIOUS), ("average3", PREVIOUS)),
        (("separable3", CURRENT), ("identity", CURRENT)),
    ),
    outputs=(1, 2, 3, 4, 5, 6),
)
"""Figure 4, the normal cell."""

REDUCTION = Genotype(
    (
        (("separable5", CURRENT), ("separable7", PREVIOUS)),
        (("max3", CURRENT), ("separable7", PREVIOUS)),
        (("average3", CURRENT), ("separable5", PREVIOUS)),
        (("identity", SECOND), ("average3", FIRST)),
        (("separable3", FIRST), ("max3", CURRENT)),
    ),
    outputs=(3, 4, 5, 6),
)
"""Figure 4, the reduction cell."""


class Separable(nn.Module):
    """ReLU, depthwise convolution, 1x1 convolution and normalization, twice; the first depthwise one has the stride."""

    features: int
    kernel: int
    strides: int
    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns (batch, height / strides, width / strides, features), rounded up."""
        for number, strides in ((1, self.strides), (2, 1)):
            channels, kernel = x.shape[-1], (self.kernel, self.kernel)
            depthwise = functools.partial(self.conv, channels, kernel, strides=(strides, strides), groups=channels)
            x = depthwise(padding="same", name=f"depthwise_conv{number}")(nn.relu(x))
            x = self.conv(self.features, (1, 1), name=f"pointwise_conv{number}")(x)
            x = self.norm(name=f"norm{number}")(x)
        return x


class Cell(nn.Module):
    """A cell of either kind: two projections, the combinations of its genotype, and a concatenation."""

    genotype: Genotype
    features: int
    """Of each combination; the output has as many times these as there are in ``genotype.outputs``."""
    strides: int
    """Of the operations on the inputs, not on other combinations."""
    reduce_previous: bool
    """Whether the previous cell's output has twice the resolution of the last one's."""
    count_padding: bool
    conv: Layer
    norm: Layer
    drop_path: Layer

    @nn.compact
    def __call__(self, current: jax.Array, previous: jax.Array | None, drop_path_progress: jax.Array) -> jax.Array:
        """Returns (batch, height / strides, width / strides, channels), rounded up.

        Args:
            current: the last cell's output, (batch, height, width, channels).
            previous: that of the cell before it, of this resolution or twice it; None in the network's first cell,
                which takes the last one's, as it is, in its place.
            drop_path_progress: () float32.
        """
        states = [self._project("current", nn.relu(current))]
        if previous is None:
            states.append(current)
        elif self.reduce_previous:
            states.append(self._reduce(nn.relu(previous)))
        else:
            states.append(self._project("previous", nn.relu(previous)))
        for number, sides in enumerate(self.genotype.combinations):
            left, right = (
                self._operation(f"combination{number}_{side}", operation, states[taken], taken, drop_path_progress)
                for side, (operation, taken) in zip(("left", "right"), sides, strict=True)
            )
            states.append(left + right)
        outputs = [self._fit(f"output{index}", states[index]) for index in self.genotype.outputs]
        return jnp.concatenate(outputs, axis=-1)

    def _operation(
        self, name: str, operation: Operation, x: jax.Array, taken: int, drop_path_progress: jax.Array
    ) -> jax.Array:
        strides = self.strides if taken in (CURRENT, PREVIOUS) else 1
        match operation:
            case "identity":
                # A path without operation is never dropped.
                return x if x.shape[-1] == self.features else self._project(name, nn.relu(x))
            case "max3":
                y = self._fit(name, max_pool(x, (3, 3), strides=(strides, strides), padding="same"))
            case "average3":
                counted = self.count_padding and strides > 1
                y = average_pool(x, (3, 3), strides=(strides, strides), padding="same", count_padding=counted)
                y = self._fit(name, y)
            case _:
                y = Separable(self.features, int(operation[-1]), strides, self.conv, self.norm, name=name)(x)
        return self.drop_path()(y, drop_path_progress)

    def _project(self, name: str, x: jax.Array) -> jax.Array:
        return self.norm(name=f"{name}_norm")(self.conv(self.features, (1, 1), name=f"{name}_conv")(x))

    def _fit(self, name: str, x: jax.Array) -> jax.Array:
        """A projection where the channels are not the cell's own: those of a stem without cells."""
        return x if x.shape[-1] == self.features else self._project(name, x)

    def _reduce(self, x: jax.Array) -> jax.Array:
        """Half the resolution: half the features from pixels at even rows and columns, half from those at odd ones.

        Beyond the last pixel of an odd size there are zeros. (TF-Slim's "factorized reduction".)
        """
        even = x[:, ::2, ::2]
        odd = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1::2, 1::2]
        halves = (
            self.conv(self.features // 2, (1, 1), name=f"previous_{name}_conv")(half)
            for name, half in (("even", even), ("odd", odd))
        )
        return self.norm(name="previous_norm")(jnp.concatenate(list(halves), axis=-1))


class AuxiliaryHead(nn.Module):
    """Logits from the middle of the network: 5x5 pooling, a 1x1 convolution and one that covers the whole map."""

    num_classes: int
    conv: Layer
    norm: Layer
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for (batch, height, width, channels), 5x5 at least.

        Raises:
            UserError: the map has another size than when the parameters were made.
        """
        x = average_pool(nn.relu(x), (5, 5), strides=(3, 3))
        x = nn.relu(self.norm(name="norm1")(self.conv(128, (1, 1), name="conv1")(x)))
        made = self.get_variable("params", "conv2")
        if made is not None and made["kernel"].shape[:2] != x.shape[1:3]:
            raise UserError(
                f"the auxiliary head was made for pooled maps of {made['kernel'].shape[:2]}, not {x.shape[1:3]}: train "
                "on images of the size that the network was initialized with, or without auxiliary heads"
            )
        x = nn.relu(self.norm(name="norm2")(self.conv(768, x.shape[1:3], name="conv2")(x)))
        return nn.Dense(self.num_classes, dtype=self.dtype, name="dense")(x[:, 0, 0]).astype(jnp.float32)


class Place(NamedTuple):
    """Where a cell is."""

    name: str
    stage: int
    genotype: Genotype
    features: int
    back: int
    """How many cells before it its ``previous`` is made."""


class Defaults(NamedTuple):
    """What a variant has where the option of that name is None."""

    dropout_rate: float
    drop_path_rate: float
    batch_norm_epsilon: float
    batch_norm_momentum: float


class NASNet(BatchNormNetwork):
    """NASNet-A: two cells found by search on CIFAR-10, stacked.

    Three stages of normal cells, a reduction cell before the second and third; for ImageNet also two reduction cells
    after the first convolution. Each cell takes the outputs of the two before it, the older one at half its resolution
    if a reduction lies between them.

    Windows are padded as TensorFlow's ``same``, so that any size is halved rounding up, and average pools do not count
    the padding: as in TF-Slim, whose authors trained the published weights. The ports differ: Cadene's NASNet-A mobile
    pads by hand what is right for 224 pixels, and timm's ``nasnetalarge`` counts padding in the average pools at stride
    2 (``count_padding``; the weights load either way). Both expect images scaled to [-1, 1].

    Defaults of dropout, drop-path and batch normalization are TF-Slim's:

    ======= ============ ============== ======= ========
    variant dropout_rate drop_path_rate epsilon momentum
    ======= ============ ============== ======= ========
    mobile  0.5          0              1e-3    0.9997
    large   0.5          0.3            1e-3    0.9997
    cifar   0            0.4            1e-5    0.9
    ======= ============ ============== ======= ========

    The auxiliary head, whose loss TF-Slim weighs 0.4, covers the whole map of its cell: a network that has it trains
    on images of the size that it was initialized with. It evaluates at others too.
    """

    cells: int
    """Normal cells of each stage; the paper's N."""
    features: int
    """Of a normal cell's combinations in the first stage; the network ends with 24 times as many."""
    stem: Literal["imagenet", "cifar"]
    """3x3 convolution at stride 2 and two reduction cells, or a 3x3 convolution alone; neither has an activation."""
    stem_features: int
    skip_reduction_input: bool
    """Whether the cell after a reduction takes as its previous input what the reduction cell took (large), or the
    output of the cell before the reduction (mobile and CIFAR)."""
    defaults: Defaults
    auxiliary_heads: bool = False
    """Whether there is one, at the end of the second stage."""
    count_padding: bool = False
    """Whether average pools at stride 2 divide by the padding too, as timm's port of the large network does."""
    dropout_rate: float | None = None
    """Before the classifier; None is the variant's own, here and below."""
    drop_path_rate: float | None = None
    """Of every operation of the last cell at the end of training; grows by equal steps from the first cell."""
    batch_norm_epsilon: float | None = None
    batch_norm_momentum: float | None = None
    """The share of the running statistics kept at each step: 1 minus PyTorch's momentum."""

    @property
    def smallest_size(self) -> int:
        """Pixels a side that the first convolution needs, or the 5x5 pooling of the auxiliary head."""
        if self.stem == "imagenet":
            return 67 if self.auxiliary_heads else 3
        return 9 if self.auxiliary_heads else 1

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, drop_path_progress: jax.Array | float = 1.0
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Computes logits, and in training with ``auxiliary_heads`` the auxiliary logits too.

        Args:
            images: (batch, height, width, channels).
            train: whether to drop, and to normalize by the batch's own statistics.
            drop_path_progress: the part of training that is done, 0 to 1, which multiplies ``drop_path_rate``: the
                paper's schedule for the caller who passes ``step / steps`` (it may be traced), the rate of the end of
                training, constant, by default.

        Returns:
            float32 (batch, num_classes), or a pair of these.
        """
        self.check(images, stages=3)
        settings = self._settings()
        norm = self.norm(train, epsilon=settings.batch_norm_epsilon, momentum=settings.batch_norm_momentum)
        strides, padding = ((2, 2), "valid") if self.stem == "imagenet" else ((1, 1), "same")
        x = self.conv()(self.stem_features, (3, 3), strides=strides, padding=padding, name="stem_conv")(images)
        x = norm(name="stem_norm")(x)

        places, auxiliary_logits = self.places(), None
        # Each output, and how many reductions are behind it.
        outputs = [(None, 0), (x, 0)]
        for number, place in enumerate(places, 1):
            previous, fewer_halvings = outputs[-place.back]
            current, halvings = outputs[-1]
            strides = 2 if place.genotype is REDUCTION else 1
            x = self.block(Cell, place.stage)(
                genotype=place.genotype,
                features=place.features,
                strides=strides,
                reduce_previous=fewer_halvings < halvings,
                count_padding=self.count_padding,
                conv=self.conv(),
                norm=norm,
                drop_path=functools.partial(StochasticDepth, settings.drop_path_rate * number / len(places), train),
                name=place.name,
            )(current, previous, drop_path_progress)
            outputs.append((x, halvings + strides - 1))
            ends_stage_2 = place.name == f"stage2_cell{self.cells - 1}"
            if ends_stage_2 and self.auxiliary_heads and (train or self.is_initializing()):
                head = AuxiliaryHead(self.num_classes, self.conv(), norm, self.dtype, name="auxiliary_head")
                auxiliary_logits = head(x)
        classifier = Classifier(self.num_classes, train, settings.dropout_rate, self.dtype, name="classifier")
        logits = classifier(nn.relu(x))
        return (logits, auxiliary_logits) if self.auxiliary_heads and train else logits

    def _settings(self) -> Defaults:
        """The options that were given, and the variant's own for the others."""
        options = Defaults(*(getattr(self, name) for name in Defaults._fields))
        chosen = zip(options, self.defaults, strict=True)
        return Defaults(*(default if option is None else option for option, default in chosen))

    def places(self) -> list[Place]:
        """Returns where the cells are, in order."""
        places = []
        if self.stem == "imagenet":
            places += [Place(f"stem_cell{i}", 1, REDUCTION, self.features // (4 >> i), 2) for i in (0, 1)]
        for stage in (1, 2, 3):
            features = self.features * 2 ** (stage - 1)
            if stage > 1:
                places.append(Place(f"stage{stage}_reduction", stage, REDUCTION, features, 2))
            for index in range(self.cells):
                back = 3 if self.skip_reduction_input and stage > 1 and not index else 2
                places.append(Place(f"stage{stage}_cell{index}", stage, NORMAL, features, back))
        return places


def _variant(name: str, size: int, num_classes: int, published: tuple[Published, ...], **arguments: Any) -> Variant:
    return Variant(f"nasnet_a_{name}", "nasnet", NASNet, arguments, size, num_classes=num_classes, published=published)


def _published(top1_accuracy: float, top5_accuracy: float, crop: str, source: str) -> Published:
    errors = round(100 - top1_accuracy, 3), round(100 - top5_accuracy, 3)
    return Published(*errors, f"centre crop {crop}, ILSVRC-2012 validation", source)


VARIANTS = (
    _variant(
        "mobile",
        224,
        1000,
        (_published(74.0, 91.6, "224", "arXiv:1707.07012, table 3"),),
        cells=4,
        features=44,
        stem="imagenet",
        stem_features=32,
        skip_reduction_input=False,
        defaults=Defaults(0.5, 0.0, 1e-3, 0.9997),
    ),
    _variant(
        "large",
        331,
        1000,
        (
            _published(82.7, 96.2, "331", "arXiv:1707.07012, table 2"),
            _published(82.638, 96.066, "331 of 363", "timm 1.0.31, the authors' weights, count_padding"),
        ),
        cells=6,
        features=168,
        stem="imagenet",
        stem_features=96,
        skip_reduction_input=True,
        defaults=Defaults(0.5, 0.3, 1e-3, 0.9997),
    ),
    _variant(
        "cifar",
        32,
        10,
        (),
        cells=6,
        features=32,
        stem="cifar",
        stem_features=96,
        skip_reduction_input=False,
        defaults=Defaults(0.0, 0.4, 1e-5, 0.9),
    ),
)
"""Networks by name."""
