"""All options of a run, and their JSON."""

import dataclasses
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxcnn.config.augmentation import Augmentation, Normalization
from jaxcnn.config.data import DataConfig
from jaxcnn.config.finetune import FinetuneConfig
from jaxcnn.config.optimizer import SGD, Decay, Optimizer
from jaxcnn.config.options import NonNegativeFloat, PositiveFloat, PositiveInt, Probability, option_group
from jaxcnn.config.stored import group_from_json


@option_group
class ModelConfig:
    """The network, and how it is computed."""

    name: str = "lenet"
    """The name of the network: one of ``jaxcnn.list_models()``."""
    num_classes: PositiveInt | None = None
    """The number of outputs of the network; by default the data set's number of classes."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """The data type of the computation; parameters, statistics, logits and loss are always float32. With ``float16``,
    for devices that lack ``bfloat16``, the loss is scaled so that small gradients do not vanish."""
    lowering: str = "auto"
    """The lowering of convolutions: ``auto``, one of ``xla``, ``gemm``, ``shift``, ``dense``, ``toeplitz``, ``rows``,
    ``winograd``, or a file that ``jaxcnn tune --network`` wrote."""
    remat: tuple[PositiveInt, ...] = ()
    """The stages of the network, counted from 1, that compute their activations again in the backward pass instead of
    keeping them, which takes less memory and more time."""
    scan: bool = False
    """Whether the equal blocks of a stage are one loop over stacked parameters, which compiles in a fraction of the
    time: for networks whose stages repeat blocks. On a CPU a step then takes several times as long."""
    options: dict[str, bool | int | float | str] = dataclasses.field(default_factory=dict)
    """Further options of this family, such as ``dropout_rate``."""


@option_group
class LossConfig:
    """What is minimized in training; evaluation always measures softmax cross-entropy."""

    kind: Literal["softmax", "binary"] = "softmax"
    """The kind of cross-entropy: ``softmax``, or ``binary`` for that of each class, averaged over the classes
    (arXiv:2110.00476)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the target spread evenly over all classes (arXiv:1512.00567, section 7)."""
    target_threshold: Probability | None = None
    """The threshold, with ``binary``, above which smoothed and mixed targets become 1, and the others 0, as with timm's
    ``bce_target_thresh``; by default they stay as they are."""
    auxiliary_weight: NonNegativeFloat = 0.3
    """The weight of the loss of each auxiliary head, where the network's option ``auxiliary_heads`` is set: 0.3 in
    GoogLeNet's paper, 0.4 in the code of Inception v3 and NASNet."""

    @pydantic.field_validator("target_threshold")
    @classmethod
    def _of_binary(cls, threshold: float | None, info: pydantic.ValidationInfo) -> float | None:
        if threshold is not None and info.data.get("kind") == "softmax":
            raise ValueError("is for kind='binary' alone; the targets of softmax are a distribution")
        return threshold


@option_group
class EMAConfig:
    """An exponential moving average of parameters and batch statistics, evaluated beside them."""

    decay: Decay | None = None
    """The share of itself that the average keeps at an update; by default there is no average. 0.9999 in EfficientNet's
    and ConvNeXt's recipes, 0.99998 ``rescaled`` in torchvision's."""
    every_steps: PositiveInt = 1
    """The number of steps from one update to the next: 32 in torchvision's recipes."""
    rescaled: bool = False
    """Whether 1 - decay is first multiplied by ``batch_size * every_steps / epochs``, as in torchvision's reference
    scripts, where 0.99998 is 0.99891 for 600 epochs of 1,024 images a batch."""
    in_warmup: Literal["average", "copy"] = "average"
    """What happens during warm-up: with ``copy`` the average is only set to the parameters until it is over, as in
    torchvision's scripts."""


@option_group
class ParallelConfig:
    """How a step is spread over the devices."""

    wrapper: Literal["jit", "shard_map", "pmap"] = "jit"
    """The transformation that spreads the step. With ``jit`` the compiler splits it over the devices; with
    ``shard_map`` and ``pmap`` each device computes its own part of the batch, and what must be the same is averaged.
    They agree up to rounding, except for the masks of dropout and stochastic depth, which each device then draws."""
    batch_norm: Literal["global", "local"] | PositiveInt = "global"
    """The images that batch normalization takes its statistics from: those of the ``global`` batch, those of one device
    (``local``, as in PyTorch), or those of groups of this many devices. The running statistics are the mean over these
    parts."""
    shard_optimizer: bool = False
    """Whether the optimizer's state is spread over the devices instead of being whole on each (ZeRO-1,
    arXiv:1910.02054): less memory for more communication."""
    micro_batches: PositiveInt = 1
    """The number of parts that a batch is split into, which are computed one after another, and their gradients
    averaged. It takes less memory, but not on a CPU, where XLA plans them all at once. Batch normalization takes its
    statistics from one part at a time, and updates the running ones after each."""


@option_group
class EvaluationConfig:
    """When and how the network is measured."""

    batch_size: PositiveInt = 500
    """The number of images that the network takes together, over all devices."""
    every_epochs: PositiveInt = 1
    """The number of epochs from one evaluation to the next; the last step is always evaluated."""
    top_k: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 5)
    """Each k for which a top-k error is counted; the first one's makes a checkpoint the best. Those that are not below
    the number of classes are left out, because their error is always 0."""


@option_group
class CheckpointConfig:
    """When the state is saved: after every evaluation, at the end, on SIGTERM or SIGINT, and as asked for here."""

    every_steps: PositiveInt | None = None
    """The number of steps from one further save to the next; by default there are none."""
    keep: PositiveInt = 3
    """The number of the newest checkpoints that stay; those of the lowest error of the first of ``evaluation.top_k``,
    without and with the moving average, stay too."""


Error = Annotated[float, Field(ge=0, le=100)]
"""An error in percent."""


@option_group
class PublishedConfig:
    """The errors that somebody else reports for this recipe, which a run should reach. They are never ours.

    They change nothing in a run.
    """

    top1_error: Error | None = None
    top5_error: Error | None = None
    protocol: str | None = None
    """The images, and the views of each, that were measured; a run itself measures ``data.evaluation_crop``."""
    source: Annotated[str | None, Field(validate_default=True)] = None

    @pydantic.field_validator("source")
    @classmethod
    def _of_every_figure(cls, source: str | None, info: pydantic.ValidationInfo) -> str | None:
        if any(value is not None for value in info.data.values()) and not source:
            raise ValueError("must be given beside a published figure")
        return source

    def __str__(self) -> str:
        figures = {"top-1": self.top1_error, "top-5": self.top5_error}
        errors = ", ".join(f"{name} error {error:g} %" for name, error in figures.items() if error is not None)
        return f"{errors} ({self.protocol}; {self.source})" if errors else "nothing"


@option_group
class TrainConfig:
    """Everything that a run depends on; the run is a pure function of it."""

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)] = "run"
    """The name of the run, whose folder is ``runs/NAME`` unless ``--workdir`` names another. It begins with a letter, a
    digit or ``_``; ``.`` and ``-`` may follow."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    epochs: PositiveFloat = 10.0
    log_every_steps: PositiveInt = 50
    max_bad_steps: PositiveInt = 10
    """The number of steps in a row with a loss or gradient that is not finite at which the run stops. Such a step
    changes nothing and is counted; what is scheduled moves on."""
    init_from: str | None = None
    """The weights that training starts from, instead of random ones: the name of published weights, a file, or a run
    folder. The classifier starts anew where its number of classes differs."""
    ignore: tuple[str, ...] = ()
    """Patterns of the names of tensors that are left out of the weights that ``init_from`` names, as a shell matches:
    ``total_*``. One without a dot is matched with each part of a name."""
    finetune: FinetuneConfig = FinetuneConfig()
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augmentations: tuple[Augmentation, ...] = ()
    """The augmentations that are applied to training images on the device, in this order."""
    normalization: Normalization = Normalization()
    optimizer: Optimizer = SGD()
    loss: LossConfig = LossConfig()
    ema: EMAConfig = EMAConfig()
    parallel: ParallelConfig = ParallelConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    published: PublishedConfig = PublishedConfig()


CHANGES_NO_BITS = frozenset(
    {
        "name",
        "log_every_steps",
        "max_bad_steps",
        "data.workers",
        "data.processes",
        "data.max_bad_share",
        "evaluation.batch_size",
        "evaluation.every_epochs",
        "evaluation.top_k",
        "checkpoint.every_steps",
        "checkpoint.keep",
    }
)
"""The options that change no bit of what a run trains: when and how it reports, measures and saves, and what it puts up
with. ``published`` and where the data set lies are others."""


def from_json(text: str) -> TrainConfig:
    """Reads what `jaxcnn.config.to_json` wrote of a run's options.

    Raises:
        ConfigError: the text is not JSON, or an option in it is unknown or out of its range.
    """
    return group_from_json(TrainConfig, text)
