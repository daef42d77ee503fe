"""Losses, one number an image."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxcnn.config import LossConfig


def softmax_cross_entropy(logits: jax.Array, targets: jax.Array, *, label_smoothing: float = 0.0) -> jax.Array:
    """Softmax cross-entropy against labels or distributions.

    Args:
        logits: (batch, classes), float32.
        targets: (batch,) labels, int32; or (batch, classes) probabilities, float32.
        label_smoothing: epsilon of arXiv:1512.00567, section 7: 1 - epsilon of the target stays, and epsilon is spread
            evenly over all classes, the label included (as in PyTorch).

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
    """Binary cross-entropy of each class by itself, averaged over the classes: "ResNet strikes back"'s.

    Args:
        logits: (batch, classes), float32.
        targets: as for `softmax_cross_entropy`.
        label_smoothing: as for `softmax_cross_entropy`.
        target_threshold: what is above it after smoothing becomes 1 and the rest 0, as in timm's
            ``BinaryCrossEntropy``: both classes of a blended image are then right answers, unless one has too small a
            share, and any smoothing is gone.

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
    """Returns the ``loss(logits, targets)`` that a config names."""
    smoothing = config.label_smoothing
    if config.kind == "softmax":
        return functools.partial(softmax_cross_entropy, label_smoothing=smoothing)
    return functools.partial(binary_cross_entropy, label_smoothing=smoothing, target_threshold=config.target_threshold)
