"""Losses, one number an image."""

import jax
import optax


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
