"""A run, written down: frozen dataclasses, checked when they are made.

A recipe is a Python file that sets ``config = TrainConfig(...)``. Types, ranges and names are checked by pydantic at
construction, wherever the value comes from (a recipe, the command line, ``config.json``), so a wrong one is refused
before anything is compiled. Nothing is coerced: ``batch_size="64"`` is an error.
"""

import dataclasses
import functools
import typing
from typing import Annotated, Any, Literal

import pydantic
import pydantic.dataclasses
from pydantic import Field

from jaxcnn.errors import UserError, nearest

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _in_order(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("must be the smaller bound, then the larger")
    return interval


Interval = Annotated[tuple[PositiveFloat, PositiveFloat], pydantic.AfterValidator(_in_order)]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class ConfigError(UserError):
    """An option that does not exist, or a value it cannot take."""


def _sentence(cls: type, error: dict[str, Any]) -> str:
    """One pydantic error as a sentence that names the option by its full path."""
    path = [str(part) for part in error["loc"]]
    if error["type"] == "unexpected_keyword_argument":
        parent = cls
        for part in path[:-1]:
            parent = typing.get_type_hints(parent).get(part, parent)
        names = [field.name for field in dataclasses.fields(parent)] if dataclasses.is_dataclass(parent) else []
        return f"{'.'.join(path)} is not an option: {nearest(path[-1], names)}"
    said = error["msg"].replace("Input should be ", "must be ").removeprefix("Value error, ")
    return f"{'.'.join(path) or cls.__name__} {said}, not {error.get('input')!r}"


def _as_config_error(cls: type, error: pydantic.ValidationError) -> ConfigError:
    return ConfigError("; ".join(_sentence(cls, item) for item in error.errors()))


def _option_group(cls: type) -> type:
    """A frozen dataclass whose fields are checked, strictly, when it is made; raises `ConfigError`."""
    checked = pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid", strict=True))(cls)
    construct = checked.__init__

    @functools.wraps(construct)
    def __init__(self, *args, **kwargs):
        try:
            construct(self, *args, **kwargs)
        except pydantic.ValidationError as error:
            raise _as_config_error(cls, error) from None

    checked.__init__ = __init__
    return checked


@_option_group
class Resize:
    """The whole image, scaled to ``size`` by ``size`` pixels (the aspect ratio is not kept)."""

    size: PositiveInt = 224
    interpolation: Interpolation = "bilinear"
    kind: Literal["resize"] = "resize"


@_option_group
class Pad:
    """The image in the middle of a black ``size`` by ``size`` canvas, unscaled: LeNet-5's 28 in 32 (1998, II-B)."""

    size: PositiveInt = 32
    kind: Literal["pad"] = "pad"


@_option_group
class CenterCrop:
    """The short side scaled to ``resize`` pixels, then the ``size`` by ``size`` centre: ILSVRC's single-crop test."""

    size: PositiveInt = 224
    resize: PositiveInt = 256
    interpolation: Interpolation = "bilinear"
    kind: Literal["center_crop"] = "center_crop"


@_option_group
class RandomResizedCrop:
    """A box of random area and aspect ratio, scaled to ``size``: GoogLeNet's crops (arXiv:1409.4842, section 6)."""

    size: PositiveInt = 224
    scale: Interval = (0.08, 1.0)
    """Smallest and largest share of the image's area."""
    ratio: Interval = (3 / 4, 4 / 3)
    """Smallest and largest width over height; drawn log-uniformly."""
    interpolation: Interpolation = "bilinear"
    kind: Literal["random_resized_crop"] = "random_resized_crop"


Crop = Annotated[Resize | Pad | CenterCrop | RandomResizedCrop, Field(discriminator="kind")]


@_option_group
class RandomCrop:
    """A window of the image's own size out of the image padded by ``padding`` pixels on each side."""

    padding: PositiveInt = 4
    fill: Annotated[int, Field(ge=0, le=255)] = 0
    """Grey level of the padding."""
    kind: Literal["random_crop"] = "random_crop"


@_option_group
class HorizontalFlip:
    """Mirrors an image with this probability."""

    probability: Probability = 0.5
    kind: Literal["horizontal_flip"] = "horizontal_flip"


Augmentation = Annotated[RandomCrop | HorizontalFlip, Field(discriminator="kind")]


@_option_group
class Normalization:
    """``(pixel / 255 - mean) / std``, one value a channel, or one for all channels. The defaults are ILSVRC's."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, ...] = (0.229, 0.224, 0.225)


@_option_group
class ModelConfig:
    """Which network."""

    name: str = "lenet"
    """One of ``jaxcnn.list_models()``."""
    num_classes: PositiveInt | None = None
    """Outputs of the network; by default the data set's number of classes."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters, statistics, logits and loss are float32 whatever it is."""
    lowering: str = "auto"
    """How convolutions are said: ``auto``, one of ``xla``, ``gemm``, ``shift``, ``dense``, ``toeplitz``, or a file that
    ``scripts/benchmark.py tune`` wrote."""
    remat: tuple[PositiveInt, ...] = ()
    """Stages of the network, counted from 1, that compute their activations again in the backward pass instead of
    keeping them: less memory for more time."""
    options: dict[str, bool | int | float | str] = dataclasses.field(default_factory=dict)
    """What this family takes besides, such as ``dropout_rate``."""


@_option_group
class DataConfig:
    """Which images, how they are cut on the host, and how they reach the device."""

    name: str = "digits"
    """``digits``, ``tfds:NAME[/CONFIG][:VERSION]``, ``folder:PATH`` or ``synthetic[:CLASSES]``."""
    data_dir: str | None = None
    """Where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``."""
    train_split: str | None = None
    """By default ``train``."""
    evaluation_split: str | None = None
    """By default ``validation`` where the data set has one, else ``test``."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for RGB; images of the other kind are converted."""
    batch_size: PositiveInt = 128
    """Images a training step, over all devices."""
    train_crop: Crop = Resize(size=32)
    evaluation_crop: Crop = Resize(size=32)
    residence: Literal["auto", "device", "stream"] = "auto"
    """``device`` decodes once and keeps all images there as uint8; ``stream`` decodes as it goes; ``auto`` takes the
    first where the crop is not random and both splits fit in ``resident_bytes``."""
    resident_bytes: PositiveInt = 1 << 30
    workers: PositiveInt = 2
    """Threads that decode and crop a stream."""
    max_bad_share: Probability = 0.01
    """The run stops when more than this share of the files cannot be read as images."""
    max_pixels: PositiveInt = 1 << 26
    """An image whose header claims more is never decoded."""


@_option_group
class ScheduleConfig:
    """How the learning rate moves; times are in epochs and may be fractions."""

    kind: Literal["constant", "step", "cosine"] = "cosine"
    warmup_epochs: NonNegativeFloat = 0.0
    """Linear from 0, before the rest."""
    milestones: tuple[PositiveFloat, ...] = (30.0, 60.0, 80.0)
    """``step``: when the rate is multiplied by ``factor``, counted from the start of training."""
    factor: PositiveFloat = 0.1


@_option_group
class OptimizerConfig:
    """Mini-batch SGD: v <- momentum v + (gradient + weight_decay w); w <- w - learning_rate v."""

    learning_rate: PositiveFloat = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 1e-4
    decayed: Literal["all", "kernels"] = "all"
    """``kernels`` leaves biases and normalization's scales alone."""
    schedule: ScheduleConfig = ScheduleConfig()


@_option_group
class LossConfig:
    """Softmax cross-entropy."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the target spread evenly over all classes (arXiv:1512.00567, section 7)."""
    auxiliary_weight: NonNegativeFloat = 0.3
    """Of the loss of each auxiliary head, where the network has the option ``auxiliary_heads`` on: 0.3 in GoogLeNet's
    paper, 0.4 in the code of Inception v3 and NASNet."""


@_option_group
class EvaluationConfig:
    """When and how the network is measured."""

    batch_size: PositiveInt = 500
    every_epochs: PositiveInt = 1
    top_k: tuple[PositiveInt, ...] = (1, 5)


@_option_group
class CheckpointConfig:
    """When the state is saved: after every evaluation, at the end, on SIGTERM or SIGINT, and as asked for here."""

    every_steps: PositiveInt | None = None
    keep: PositiveInt = 3
    """How many of the newest stay; the one of lowest top-1 error stays besides."""


@_option_group
class TrainConfig:
    """Everything a run depends on. The run is a pure function of it."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")] = "run"
    """The run's folder is ``runs/NAME`` unless ``--workdir`` says otherwise."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    epochs: PositiveFloat = 10.0
    log_every_steps: PositiveInt = 50
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augmentations: tuple[Augmentation, ...] = ()
    """Applied to training images on the device, in this order."""
    normalization: Normalization = Normalization()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()


_ADAPTER = pydantic.TypeAdapter(TrainConfig)


def to_json(config: TrainConfig) -> str:
    """Returns everything resolved, as indented JSON that `from_json` reads back."""
    return _ADAPTER.dump_json(config, indent=2).decode() + "\n"


def from_json(text: str) -> TrainConfig:
    """Reads what `to_json` wrote.

    Raises:
        ConfigError: the text is not JSON, or an option in it is unknown or out of its range.
    """
    try:
        return _ADAPTER.validate_json(text)
    except pydantic.ValidationError as error:
        raise _as_config_error(TrainConfig, error) from None


def flatten(config: TrainConfig) -> dict[str, Any]:
    """Returns every option by its full path: ``{"optimizer.learning_rate": 0.1, "augmentations.0.padding": 2}``."""

    def walk(path: str, value: Any) -> dict[str, Any]:
        if dataclasses.is_dataclass(value):
            children = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        elif isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value)):
            children = {str(index): item for index, item in enumerate(value)}
        else:
            return {path: value}
        return {name: leaf for key, child in children.items() for name, leaf in walk(f"{path}.{key}", child).items()}

    return {path.removeprefix("."): value for path, value in walk("", config).items()}


def differences(old: TrainConfig, new: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Returns the options that differ, by full path: ``{"optimizer.learning_rate": (0.1, 0.2)}``; None if absent."""
    a, b = flatten(old), flatten(new)
    return {path: (a.get(path), b.get(path)) for path in a | b if a.get(path) != b.get(path)}
