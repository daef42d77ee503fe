"""The ILSVRC family of convolutional networks as pure functions in JAX and Flax Linen."""

from jaxcnn.models.registry import create_model, list_models
from jaxcnn.weights.load import load_pretrained

__all__ = ["create_model", "list_models", "load_pretrained"]
