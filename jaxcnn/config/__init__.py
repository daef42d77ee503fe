"""The options of a run, as frozen dataclasses that are checked when they are made.

A recipe is a Python file that sets ``config = TrainConfig(...)``. Pydantic checks types, ranges and names when a group
of options is made, wherever the values come from (a recipe, the command line, ``config.json``), so a wrong value is
refused before anything is compiled. Nothing is coerced: ``batch_size="64"`` is an error.

A recipe can import everything that it needs from here. `train` holds `TrainConfig` and its small parts, `data` the
data set and its crops on the host, `optimizer` and `evaluation` the optimizers and the protocols, `options` what
groups of options are made of, and `stored` their JSON. Augmentations stand beside their functions in `jaxcnn.augment`,
which needs JAX and is imported when the first of them is asked for. `registry` says how a recipe adds kinds of its
own.
"""

import importlib
from typing import TYPE_CHECKING

from jaxcnn.config.augmentation import Augmentation, Normalization
from jaxcnn.config.data import CenterCrop, Crop, DataConfig, Pad, RandomResizedCrop, Resize, ScaleJitter
from jaxcnn.config.evaluation import (
    Average,
    CenterCrops,
    Dense,
    FixedViews,
    GooglenetCrops,
    SingleCrop,
    TenCrop,
    Views,
)
from jaxcnn.config.finetune import FinetuneConfig
from jaxcnn.config.optimizer import LAMB, SGD, AdamW, Optimizer, RMSProp, ScheduleConfig
from jaxcnn.config.options import ConfigError, option_group
from jaxcnn.config.stored import differences, flatten, to_json
from jaxcnn.config.train import (
    CheckpointConfig,
    EMAConfig,
    EvaluationConfig,
    LossConfig,
    ModelConfig,
    ParallelConfig,
    PublishedConfig,
    TrainConfig,
    from_json,
)

if TYPE_CHECKING:
    from jaxcnn.augment.erase import Cutout, RandomErasing
    from jaxcnn.augment.geometric import (
        HorizontalFlip,
        RandomAffine,
        RandomCrop,
        RandomPerspective,
        RandomRotation,
        VerticalFlip,
    )
    from jaxcnn.augment.mix import CutMix, MixUp, MixUpOrCutMix
    from jaxcnn.augment.policies import AugMix, AutoAugment, RandAugment, TrivialAugmentWide
    from jaxcnn.augment.random_color import (
        ColorJitter,
        GaussianBlur,
        Lighting,
        RandomAdjustSharpness,
        RandomAutocontrast,
        RandomEqualize,
        RandomGrayscale,
        RandomInvert,
        RandomPosterize,
        RandomSolarize,
    )

__all__ = [
    "LAMB",
    "SGD",
    "AdamW",
    "AugMix",
    "Augmentation",
    "AutoAugment",
    "Average",
    "CenterCrop",
    "CenterCrops",
    "CheckpointConfig",
    "ColorJitter",
    "ConfigError",
    "Crop",
    "CutMix",
    "Cutout",
    "DataConfig",
    "Dense",
    "EMAConfig",
    "EvaluationConfig",
    "FinetuneConfig",
    "FixedViews",
    "GaussianBlur",
    "GooglenetCrops",
    "HorizontalFlip",
    "Lighting",
    "LossConfig",
    "MixUp",
    "MixUpOrCutMix",
    "ModelConfig",
    "Normalization",
    "Optimizer",
    "Pad",
    "ParallelConfig",
    "PublishedConfig",
    "RMSProp",
    "RandAugment",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomAutocontrast",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "Resize",
    "ScaleJitter",
    "ScheduleConfig",
    "SingleCrop",
    "TenCrop",
    "TrainConfig",
    "TrivialAugmentWide",
    "VerticalFlip",
    "Views",
    "differences",
    "flatten",
    "from_json",
    "option_group",
    "to_json",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("jaxcnn.augment.registry"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
