"""A recipe that brings everything: a family of networks, an augmentation, a data source, an optimizer, a protocol.

A module beside it, which it imports, is brought too.
"""

from typing import Literal

import flax.linen as nn
import jax
import numpy as np
import optax
from ramp_classes import CLASSES

from jaxcnn.augment import register_augmentation
from jaxcnn.config import (
    Augmentation,
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    FixedViews,
    ModelConfig,
    Normalization,
    Optimizer,
    Resize,
    ScheduleConfig,
    TrainConfig,
    option_group,
)
from jaxcnn.config.options import NonNegativeFloat, PositiveInt
from jaxcnn.data.sources import Source, SourceRequest, register_source
from jaxcnn.data.views import register_protocol
from jaxcnn.models.network import Network
from jaxcnn.models.registry import register
from jaxcnn.models.variant import Published, Rule, Variant
from jaxcnn.training.optimizer import register_optimizer

SIZES = {"train": 192, "test": 60}


class Ramp(Network):
    """One convolution and a mean."""

    features: int = 8

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits (batch, num_classes)."""
        images = self.check(images, stages=1)
        x = nn.relu(self.conv()(self.features, (3, 3), padding=((1, 1), (1, 1)), name="conv")(images))
        return nn.Dense(self.num_classes, name="head")(x.mean((1, 2)))


@option_group
class Tilt(Augmentation):
    """Adds a grey ramp from left to right, of a random height."""

    levels: PositiveInt = 8
    """The greatest height in grey levels."""
    kind: Literal["tilt"] = "tilt"


def tilt(keys: jax.Array, images: jax.Array, *, levels: int) -> jax.Array:
    """Returns uint8 images (batch, height, width, channels)."""
    heights = jax.vmap(lambda key: jax.random.uniform(key, maxval=levels))(keys)
    ramp = jax.numpy.linspace(0.0, 1.0, images.shape[2])[None, None, :, None]
    tilted = images.astype(jax.numpy.float32) + heights[:, None, None, None] * ramp
    return jax.numpy.clip(tilted, 0, 255).astype(jax.numpy.uint8)


@option_group
class SignSGD(Optimizer):
    """The sign of the gradient times the learning rate."""

    learning_rate: NonNegativeFloat = 0.01
    weight_decay: NonNegativeFloat = 0.0
    kind: Literal["sign_sgd"] = "sign_sgd"


def sign_sgd(config: SignSGD, learning_rate, mask):
    """Returns one transformation."""
    return optax.sign_sgd(learning_rate)


@option_group
class Quarters(FixedViews):
    """The four quarters of an image, each scaled by repeating pixels."""

    size: PositiveInt = 12
    kind: Literal["quarters"] = "quarters"


def quarters(image: np.ndarray, views: Quarters) -> np.ndarray:
    """Returns uint8 (4, size, size, channels)."""
    height, width = (length // 2 for length in image.shape[:2])
    rows, columns = (np.arange(views.size) * length // views.size for length in (height, width))
    return np.stack([image[top + rows][:, left + columns] for top in (0, height) for left in (0, width)])


def open_ramps(request: SourceRequest) -> Source:
    """Opens noisy ramps that fall, stay or rise from top to bottom."""
    seed = tuple(SIZES).index(request.split)

    def read(index: int) -> tuple[np.ndarray, int]:
        label = index % 3
        noise = np.random.RandomState((seed << 16) + index).randint(-40, 41, (12, 12, 1))
        slope = (label - 1) * np.linspace(-80, 80, 12)[:, None, None]
        return np.clip(128 + slope + noise, 0, 255).astype(np.uint8), label

    return Source(
        request.name,
        request.split,
        class_names=CLASSES,
        size=SIZES[request.split],
        read=read,
        describe=lambda index: f"ramp {index}",
    )


published = (Published(12.5, None, "60 ramps", "nobody: a test"),)
rules = (Rule("body", "conv"), Rule("fc", "head"))
register(Variant("ramp_small", "ramp", Ramp, {"features": 4}, 12, 1, 3, published, rules))
register_augmentation(Tilt, tilt, on="pixels")
register_source("ramps", open=open_ramps, splits=lambda rest, data_dir: tuple(SIZES))
register_optimizer(SignSGD, sign_sgd)
register_protocol(Quarters, quarters)

config = TrainConfig(
    name="mine",
    epochs=4.0,
    log_every_steps=5,
    model=ModelConfig(name="ramp_small"),
    data=DataConfig(
        name="ramps", channels=1, batch_size=16, train_crop=Resize(size=12), evaluation_crop=Resize(size=12)
    ),
    augmentations=(Tilt(levels=4),),
    normalization=Normalization(mean=(0.5,), std=(0.25,)),
    optimizer=SignSGD(schedule=ScheduleConfig(kind="constant")),
    evaluation=EvaluationConfig(batch_size=30, top_k=(1,), every_epochs=2),
    checkpoint=CheckpointConfig(every_steps=6),
)
