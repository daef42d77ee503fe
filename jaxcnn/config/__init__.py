"""A run, written down: frozen dataclasses, checked when they are made.

A recipe is a Python file that sets ``config = TrainConfig(...)``. Types, ranges and names are checked by pydantic at
construction, wherever the value comes from (a recipe, the command line, ``config.json``), so a wrong one is refused
before anything is compiled. Nothing is coerced: ``batch_size="64"`` is an error.
"""

from jaxcnn.config.augmentation import (
    Augmentation,
    CutMix,
    HorizontalFlip,
    MixUp,
    MixUpOrCutMix,
    Normalization,
    RandomCrop,
)
from jaxcnn.config.color import (
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
from jaxcnn.config.geometric import (
    Cutout,
    RandomAffine,
    RandomErasing,
    RandomPerspective,
    RandomRotation,
    VerticalFlip,
)
from jaxcnn.config.optimizer import LAMB, SGD, AdamW, Optimizer, RMSProp, ScheduleConfig
from jaxcnn.config.options import ConfigError
from jaxcnn.config.policies import AugMix, AutoAugment, RandAugment, TrivialAugmentWide
from jaxcnn.config.train import (
    CheckpointConfig,
    EMAConfig,
    EvaluationConfig,
    LossConfig,
    ModelConfig,
    ParallelConfig,
    PublishedConfig,
    TrainConfig,
    differences,
    flatten,
    from_json,
    to_json,
)
