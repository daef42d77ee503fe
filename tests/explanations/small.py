"""A small trained network, and a picture of a bright square for it."""

import flax.linen as nn
import jax
import numpy as np

from jaxcnn.config import CenterCrop, DataConfig, Normalization
from jaxcnn.layers.conv import Conv
from jaxcnn.models.network import Network
from jaxcnn.trained import Trained

SIZE = 12
NAMES = ("dark", "bright", "other")


class Two(Network):
    """Two convolutions, of which a dense layer sees the means."""

    sharpness: float = 1.0
    """What the last map is multiplied by before its activation, and divided by after it."""

    @nn.compact
    def __call__(self, images, *, train=False):
        x = nn.silu(Conv(4, (3, 3), padding="same", name="stem_conv")(images))
        x = self.last_map(nn.silu(Conv(5, (3, 3), strides=(2, 2), padding="same", name="stage1_conv")(x)))
        return nn.Dense(self.num_classes, name="head")((nn.silu(self.sharpness * x) / self.sharpness).mean((1, 2)))


def network(model=None, **data):
    """Returns a network with random weights for images of 12x12 in colour."""
    model = Two(num_classes=len(NAMES)) if model is None else model
    variables = jax.device_get(model.init(jax.random.key(3), np.zeros((1, SIZE, SIZE, 3), np.float32)))
    options = DataConfig(**{"name": "digits", "channels": 3, "evaluation_crop": CenterCrop(size=SIZE), **data})
    return Trained(model, variables, len(NAMES), NAMES, options, Normalization(mean=(0.4, 0.5, 0.6), std=(0.2,)))


def square():
    """Returns an image of noise with a bright square."""
    image = np.random.RandomState(0).randint(0, 100, (SIZE, SIZE, 3)).astype(np.uint8)
    image[3:8, 4:9] += 150
    return image
