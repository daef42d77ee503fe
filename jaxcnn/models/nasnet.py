"""NASNet-A: Zoph, Vasudevan, Shlens and Le (arXiv:1707.07012), and the scheduled drop-path that it is trained with."""

import functools
import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxcnn.errors import UserError
from jaxcnn.layers.blocks import Classifier, StochasticDepth
from jaxcnn.layers.dense import Dense
from jaxcnn.layers.layer import Layer
from jaxcnn.models.nasnet_cells import NORMAL, REDUCTION, Cell, Genotype
from jaxcnn.models.network import BatchNormNetwork, Epsilon, Momentum, Rate
from jaxcnn.models.scanned import Repeating
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.ops.pool import average_pool
from jaxcnn.types import Option


class AuxiliaryHead(nn.Module):
    """A classifier on the middle of the network: 5x5 pooling, a 1x1 convolution and one that covers the whole map."""

    num_classes: int
    conv: Layer
    norm: Layer
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits, (batch, num_classes), for a map (batch, height, width, channels) of 5x5 at least.

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
        return Dense(self.num_classes, dtype=self.dtype, name="dense")(x[:, 0, 0]).astype(jnp.float32)


class CellSpec(NamedTuple):
    """One cell of a network."""

    name: str
    stage: int
    genotype: Genotype
    features: int
    back: int
    """The distance, in cells, to the one whose output is its ``previous`` input."""
    repeats: int = 1
    """The number of equal cells that this one begins, which are a loop where there are more than one."""


def _next_outputs(
    progress: jax.Array | float, cell: Callable[..., jax.Array], outputs: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Returns the output of a cell and the one that it took, which the next cell takes."""
    current, previous = outputs
    return cell(current, previous, progress), current


class Defaults(NamedTuple):
    """The values of a variant's options that are None."""

    dropout_rate: float
    drop_path_rate: float
    batch_norm_epsilon: float
    batch_norm_momentum: float


class NASNet(BatchNormNetwork, Repeating):
    """NASNet-A: two cells found by search on CIFAR-10, stacked.

    There are three stages of normal cells, a reduction cell before the second and third, and for ImageNet also two
    reduction cells after the first convolution. Each cell takes the outputs of the two before it, the older one at half
    its resolution if there is a reduction between them.

    Windows are padded as TensorFlow's ``same``, so that any size is halved and rounded up, and average pools do not
    count the padding: as in TF-Slim, whose authors trained the published weights. The ports differ: Cadene's NASNet-A
    mobile pads by hand, as is right for 224 pixels, and timm's ``nasnetalarge`` counts padding in the average pools at
    stride 2 (``count_padding``; the weights load either way). Both expect images scaled to [-1, 1].

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
    """The number of normal cells in each stage; the paper's N."""
    features: int
    """The features of a normal cell's combinations in the first stage; the network ends with 24 times as many."""
    stem: Literal["imagenet", "cifar"]
    """The layers before the first stage: a 3x3 convolution at stride 2 and two reduction cells, or a 3x3 convolution
    alone; neither convolution has an activation."""
    stem_features: int
    skip_reduction_input: bool
    """Whether the cell after a reduction takes as its previous input what the reduction cell took (large), or the
    output of the cell before the reduction (mobile and CIFAR)."""
    defaults: Defaults
    """The variant's own values of the options that are None."""
    auxiliary_heads: bool = False
    """Whether there is an auxiliary head, at the end of the second stage."""
    count_padding: bool = False
    """Whether average pools at stride 2 divide by the padding too, as timm's port of the large network does."""
    dropout_rate: Rate | None = None
    """The dropout rate before the classifier; None is the variant's own."""
    drop_path_rate: Rate | None = None
    """The drop-path rate of every operation of the last cell at the end of training; it grows by equal steps from the
    first cell. None is the variant's own."""
    batch_norm_epsilon: Epsilon | None = None
    """The number that batch normalization adds to a variance; None is the variant's own."""
    batch_norm_momentum: Momentum | None = None
    """The share of the running statistics that each step keeps, 1 minus PyTorch's momentum; None is the variant's
    own."""

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of an image, in pixels: the first convolution or the auxiliary head sets it."""
        if self.stem == "imagenet":
            return 67 if self.auxiliary_heads else 3
        return 9 if self.auxiliary_heads else 1

    @nn.nowrap
    def stage_of(self, module: str) -> int | None:
        """Returns the stage of a module: see `Network.stage_of`. The two first cells belong to the first stage."""
        return 1 if module.startswith("stem_cell") else super().stage_of(module)

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, drop_path_progress: jax.Array | float = 1.0
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Computes the logits, and in training with ``auxiliary_heads`` the auxiliary logits too.

        Args:
            images: (batch, height, width, channels).
            train: whether to drop, and to normalize by the batch's own statistics.
            drop_path_progress: the part of training that is done, 0 to 1, which multiplies ``drop_path_rate``. Passing
                ``step / steps`` makes the paper's schedule (it may be traced); the default is the rate at the end of
                training throughout.

        Returns:
            float32 (batch, num_classes), or a pair of these.
        """
        images = self.check(images, stages=3)
        settings = self.resolve(self.defaults)
        norm = self.norm(train, epsilon=settings.batch_norm_epsilon, momentum=settings.batch_norm_momentum)
        strides, padding = ((2, 2), "valid") if self.stem == "imagenet" else ((1, 1), "same")
        x = self.conv()(self.stem_features, (3, 3), strides=strides, padding=padding, name="stem_conv")(images)
        x = norm(name="stem_norm")(x)

        specs, auxiliary_logits = self.cell_specs(), None
        cells = sum(spec.repeats for spec in specs)
        rates = iter([settings.drop_path_rate * number / cells for number in range(1, cells + 1)])
        # Each output, and how many reductions came before it.
        outputs: list[tuple[jax.Array | None, int]] = [(None, 0), (x, 0)]
        for spec in specs:
            previous, fewer_halvings = outputs[-spec.back]
            halvings = outputs[-1][1]
            strides = 2 if spec.genotype is REDUCTION else 1
            cell = functools.partial(
                self.block(Cell, spec.stage),
                genotype=spec.genotype,
                features=spec.features,
                strides=strides,
                reduce_previous=fewer_halvings < halvings,
                count_padding=self.count_padding,
                conv=self.conv(),
                norm=norm,
            )
            if spec.repeats > 1:
                own_rates = list(itertools.islice(rates, spec.repeats))
                run = functools.partial(_next_outputs, drop_path_progress)
                x, previous = self.loop(f"stage{spec.stage}_cell", 2, cell, run, (x, previous), own_rates, train)
                outputs.append((previous, halvings))
            else:
                drop_path = functools.partial(StochasticDepth, next(rates), train)
                x = cell(drop_path=drop_path, name=spec.name)(x, previous, drop_path_progress)
            outputs.append((x, halvings + strides - 1))
            ends_stage_2 = spec == [each for each in specs if each.stage == 2][-1]
            if ends_stage_2 and self.auxiliary_heads and (train or self.is_initializing()):
                head = AuxiliaryHead(self.num_classes, self.conv(), norm, self.dtype, name="auxiliary_head")
                auxiliary_logits = head(x)
        classifier = Classifier(self.num_classes, train, settings.dropout_rate, self.dtype, name="classifier")
        logits = classifier(self.last_map(nn.relu(x)))
        return logits if auxiliary_logits is None or not train else (logits, auxiliary_logits)

    def cell_specs(self) -> list[CellSpec]:
        """Returns the cells, in order; those that are in a loop are one.

        Equal are the normal cells of a stage whose inputs both come from normal cells of that stage.
        """
        specs = []
        if self.stem == "imagenet":
            specs += [CellSpec(f"stem_cell{i}", 1, REDUCTION, self.features // (4 >> i), 2) for i in (0, 1)]
        for stage in (1, 2, 3):
            features = self.features * 2 ** (stage - 1)
            if stage > 1:
                specs.append(CellSpec(f"stage{stage}_reduction", stage, REDUCTION, features, 2))
            alone = 2 if self.scans(self.cells - 2) else self.cells
            for index in range(alone):
                back = 3 if self.skip_reduction_input and stage > 1 and not index else 2
                specs.append(CellSpec(f"stage{stage}_cell{index}", stage, NORMAL, features, back))
            if alone < self.cells:
                specs.append(CellSpec(f"stage{stage}_cell2", stage, NORMAL, features, 2, self.cells - alone))
        return specs


def _rules(cells: int) -> tuple[Rule, ...]:
    """Returns the rules of timm and Cadene, whose names are the same and count six cells a stage, whatever it has."""
    # The cells whose other input has twice their resolution.
    halving = {"stem_cell1", "stage1_cell0", "stage2_cell0", "stage3_cell0"}
    names = {
        "cell_stem_0": "stem_cell0",
        "cell_stem_1": "stem_cell1",
        "reduction_cell_0": "stage2_reduction",
        "reduction_cell_1": "stage3_reduction",
        **{f"cell_{6 * i + index}": f"stage{i + 1}_cell{index}" for i in range(3) for index in range(cells)},
    }
    in_cell = (
        (r"conv_1x1\.conv", "current_conv"),
        (r"conv_1x1\.bn", "current_norm"),
        (r"comb_iter_(\d)_(left|right)\.separable_(\d)\.(depthwise|pointwise)_conv2d", r"combination\1_\2/\4_conv\3"),
        (r"comb_iter_(\d)_(left|right)\.bn_sep_(\d)", r"combination\1_\2/norm\3"),
    )
    halved = (
        (r"path_1\.conv", "previous_even_conv"),
        (r"path_2\.conv", "previous_odd_conv"),
        (r"final_path_bn", "previous_norm"),
    )
    same = ((r"conv_prev_1x1\.conv", "previous_conv"), (r"conv_prev_1x1\.bn", "previous_norm"))
    return (
        Rule(r"conv0\.conv", "stem_conv"),
        Rule(r"conv0\.bn", "stem_norm"),
        *(
            Rule(rf"{cell}\.{theirs}", f"{name}/{ours}")
            for cell, name in names.items()
            for theirs, ours in (*in_cell, *(halved if name in halving else same))
        ),
        Rule(r"last_linear", "classifier/dense"),
    )


def _variant(name: str, size: int, *published: Published, num_classes: int = 1000, **arguments: Option) -> Variant:
    # The others have no network with the stem for small images, whose first cell has a convolution of its own.
    rules = _rules(arguments["cells"]) if arguments["stem"] == "imagenet" else ()
    return Variant(
        f"nasnet_a_{name}", "nasnet", NASNet, arguments, size, 3, num_classes, published=published, rules=rules
    )


def _paper(top1_accuracy: float, top5_accuracy: float, crop: int, table: int) -> Published:
    errors = round(100 - top1_accuracy, 3), round(100 - top5_accuracy, 3)
    protocol = f"centre crop {crop}, ILSVRC-2012 validation"
    return Published(*errors, protocol, f"arXiv:1707.07012, table {table}")


VARIANTS = (
    _variant(
        "mobile",
        224,
        _paper(74.0, 91.6, 224, table=3),
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
        _paper(82.7, 96.2, 331, table=2),
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
        num_classes=10,
        cells=6,
        features=32,
        stem="cifar",
        stem_features=96,
        skip_reduction_input=False,
        defaults=Defaults(0.0, 0.4, 1e-5, 0.9),
    ),
)
"""The networks of the family."""
