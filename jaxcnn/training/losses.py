"""Losses, each of which gives one number for each image."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxcnn.config import LossConfig


def softmax_cross_entropy(logits: jax.Array, targets: jax.Array, *, label_smoothing: float = 0.0) -> jax.Array:
    """Returns the softmax cross-entropy against labels or distributions.

    Args:
        logits: (batch, classes), float32.
        targets: (batch,) labels, int32; or (batch, classes) probabilities, float32.
        label_smoothing: the epsilon of arXiv:1512.00567, section 7. A share of 1 - epsilon stays with the target, and
            epsilon is spread evenly over all classes, the label included (as in PyTorch).

    Returns:
        (batch,) losses in nats.
    """
    if targets.ndim == 1:
        if not label_smoothing:
            return optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        targets = jax.nn.one_hot(targets, logits.shape[-1])
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, label_smoothing))


def binary_cross_entropy(
    logits: jax.Array, targets: jax.Array, *, label_smoothing: float = 0.0, target_threshold: float | None = None
) -> jax.Array:
    """Returns the binary cross-entropy averaged over the classes, the loss of "ResNet strikes back" (arXiv:2110.00476).

    Args:
        logits: (batch, classes), float32.
        targets: as for `softmax_cross_entropy`.
        label_smoothing: as for `softmax_cross_entropy`.
        target_threshold: targets above it after smoothing become 1 and the others 0, as in timm's
            ``BinaryCrossEntropy``. Then both classes of a blended image are right answers, unless the share of one is
            too small, and no smoothing is left.

    Returns:
        (batch,) losses in nats.
    """
    if targets.ndim == 1:
        targets = jax.nn.one_hot(targets, logits.shape[-1])
    targets = optax.smooth_labels(targets, label_smoothing)
    if target_threshold is not None:
        targets = (targets > target_threshold).astype(logits.dtype)
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1)


def make_loss(config: LossConfig) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns the loss of a config, as ``loss(logits, targets)``."""
    smoothing = config.label_smoothing
    if config.kind == "softmax":
        return functools.partial(softmax_cross_entropy, label_smoothing=smoothing)
    return functools.partial(binary_cross_entropy, label_smoothing=smoothing, target_threshold=config.target_threshold)
