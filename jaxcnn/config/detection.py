"""The options of detection by R-CNN (Girshick et al., arXiv:1311.2524), part by part."""

from typing import Annotated, Literal

from pydantic import Field

from jaxcnn.config.augmentation import Normalization
from jaxcnn.config.finetune import FinetuneConfig
from jaxcnn.config.optimizer import SGD, Optimizer, ScheduleConfig
from jaxcnn.config.options import (
    IS_PATH,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    option_group,
)
from jaxcnn.config.proposals import ProposalsConfig


@option_group
class ScenesOf:
    """Images with annotated objects: which, and which splits of them."""

    name: str = ""
    """The data set, which must be named: ``voc:FOLDER``, ``coco:FOLDER``, ``tfds:voc/2007``, or another kind that is
    registered."""
    data_dir: Annotated[str | None, IS_PATH] = None
    """The folder where tfds keeps its prepared data sets."""
    train_split: str = "train"
    """The split that the detector learns from."""
    evaluation_split: str = "validation"
    """The split that it is measured on."""


@option_group
class TuningConfig:
    """How the network is trained on regions: its new head tells the classes, and the background, apart."""

    steps: Annotated[int, Field(ge=0)] = 500
    """The number of training steps; with 0 the network stays as it is."""
    objects: PositiveInt = 32
    """The number of regions in a step that show an object."""
    backgrounds: PositiveInt = 96
    """The number of regions in a step that show none."""
    min_overlap: Probability = 0.5
    """The intersection over union with an object from which on a region shows it; below it is background."""
    mirror: bool = True
    """Whether every other region, by chance, is mirrored."""
    optimizer: Optimizer = SGD(
        learning_rate=0.001, momentum=0.9, weight_decay=5e-4, schedule=ScheduleConfig(kind="cosine")
    )
    """The optimizer. For its schedule an epoch is as many steps as show each object once."""
    finetune: FinetuneConfig = FinetuneConfig(freeze_statistics=True)
    """Which part of the network is trained. Statistics of batch normalization stay as they are by default: three
    quarters of a batch are background."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The seed of the head, of the order of regions, and of dropout."""


@option_group
class MachinesConfig:
    """One linear support vector machine a class, as the paper's code trains them."""

    regularization: PositiveFloat = 0.001
    """The factor of the loss beside half the squared length of the weights: liblinear's C."""
    positive_weight: PositiveFloat = 2.0
    """The factor of the loss of objects."""
    bias: PositiveFloat = 10.0
    """The value of the constant feature whose weight is the bias: liblinear's B."""
    length: PositiveFloat = 20.0
    """The mean length that features are scaled to, all by one factor."""
    max_overlap: Probability = 0.3
    """The intersection over union with every object of a class below which a region is a negative of it."""
    negatives: PositiveInt = 1000
    """The number of negatives of each class that are drawn by chance to begin with."""
    passes: Annotated[int, Field(ge=0)] = 3
    """The most passes over all regions that look for hard negatives: those that are scored above the margin. It ends
    sooner where a pass finds none. With 0 there are only those that were drawn."""
    hardest: PositiveInt = 5000
    """The most hard negatives of each class that one pass adds; the hardest are taken."""
    max_iterations: PositiveInt = 5000
    """The most iterations of a fit."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The seed of the draws and of the solver."""


@option_group
class RegressionConfig:
    """Ridge regression of each class from a region's features to the box of the object (appendix C)."""

    used: bool = True
    """Whether boxes are moved."""
    regularization: NonNegativeFloat = 1000.0
    """The factor of the squared length of the weights, beside the squared error."""
    min_overlap: Probability = 0.6
    """The intersection over union with an object from which on a region is learned from."""


@option_group
class AnswersConfig:
    """Which of the scored regions become answers."""

    max_overlap: Probability = 0.3
    """The intersection over union with a better one of the same class above which a region is left out."""
    limit: PositiveInt = 100
    """The most answers of an image."""


@option_group
class WarpConfig:
    """How the region of a box becomes an image of the network's size."""

    context: Annotated[int, Field(ge=0)] | None = None
    """The number of pixels around the box, counted in the warped image; by default the paper's 16 of 227, rounded."""
    regions_at_once: PositiveInt = 64
    """The number of regions that a device takes together. The bits of the features may depend on it; they do not
    depend on the number of devices."""

    def context_of(self, size: int) -> int:
        """Returns the pixels of context on each side of a box in a warped image of this height and width."""
        return round(size * 16 / 227) if self.context is None else self.context


@option_group
class RCNNConfig:
    """What a person chooses of a detector, beside the network and the images."""

    layer: str | None = None
    """A regular expression that the whole name of a layer matches, whose values are the features; by default the input
    of the last dense layer."""
    proposals: ProposalsConfig = ProposalsConfig()
    warp: WarpConfig = WarpConfig()
    tuning: TuningConfig = TuningConfig()
    classifier: Literal["svm", "softmax"] = "svm"
    """What scores regions: support vector machines on the features, or the softmax of the tuned network."""
    machines: MachinesConfig = MachinesConfig()
    regression: RegressionConfig = RegressionConfig()
    answers: AnswersConfig = AnswersConfig()


@option_group
class SlidingConfig:
    """How the tuned network is slid over an image."""

    scales: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (2.0, 2.0**0.5, 1.0, 0.5**0.5, 0.5)
    """The factors by which an image is scaled; an object fills a window at one of them."""
    stride: PositiveInt | None = None
    """The distance of neighbouring windows in the scaled image, in pixels; by default the network's total stride."""
    shared: bool = True
    """Whether windows share one pass, in which each sees beyond its border what is there; else each is a crop."""
    min_score: Probability = 0.05
    """The least probability of a class that makes its window an answer."""


@option_group
class NetworkSource:
    """Where the network comes from."""

    network: str
    """The name of the network, or its run folder."""
    weights: str | None = None
    """The weights of a named network, as `jaxcnn.load` takes them."""
    checkpoint: Literal["latest", "best"] = "latest"
    """Which of a run's checkpoints is taken."""
    weights_of: Literal["raw", "ema"] = "raw"
    """A run's parameters themselves, or their moving average."""
    ignore: tuple[str, ...] = ()
    """Patterns of the names of tensors that are left out of the weights."""


@option_group
class DetectorConfig:
    """Everything that a detector depends on."""

    source: NetworkSource
    weights_sha256: str
    """The SHA-256 of the network's variables, by which others are noticed under the same name."""
    size: PositiveInt
    """The height and width that regions are warped to, in pixels."""
    channels: Literal[1, 3]
    normalization: Normalization
    layer: str
    """The name of the layer whose values are the features."""
    data: ScenesOf
    rcnn: RCNNConfig = RCNNConfig()
