"""Networks as they are before training, for what takes the same time with any weights."""

import jax
import jax.numpy as jnp

from jaxcnn.config import DataConfig, Normalization, Resize
from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.trained import Trained

ELEVEN = (
    "alexnet",
    "vgg16",
    "googlenet",
    "inception_v3",
    "resnet50",
    "densenet121",
    "resnext50_32x4d",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "nasnet_a_mobile",
)
"""The networks that speed is compared on: one of each family, as far as it has convolutions of its own."""


def untrained(name: str) -> Trained:
    """Returns a network with its initial variables, for images of its own size.

    Args:
        name: a name of ``jaxcnn.list_models()``.

    Raises:
        ModelError: the name is unknown.
    """
    model, variant = create_model(name), get_variant(name)
    images = jnp.zeros((1, variant.input_size, variant.input_size, variant.channels))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    data = DataConfig(channels=variant.channels, evaluation_crop=Resize(size=variant.input_size))
    normalization = Normalization() if variant.channels == 3 else Normalization(mean=(0.5,), std=(0.5,))
    return Trained(model, variables, model.num_classes, None, data, normalization)
