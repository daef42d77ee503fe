"""Losses, one number an image."""

import jax
import optax


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0) -> jax.Array:
    """Softmax cross-entropy against hard labels.

    Args:
        logits: (batch, classes), float32.
        labels: (batch,), int32.
        label_smoothing: epsilon of arXiv:1512.00567, section 7: the target is 1 - epsilon on the label plus epsilon
            spread evenly over all classes, the label included (as in PyTorch).

    Returns:
        (batch,) losses in nats.
    """
    if not label_smoothing:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(logits, targets)
