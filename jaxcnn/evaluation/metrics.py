"""The rank of a label among the scores, by which top-k errors are counted."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32

from jaxcnn.errors import UserError


def rank_of_label(
    logits: Float[Array | np.ndarray, "batch classes"], labels: Int[Array | np.ndarray, " batch"]
) -> Int32[Array, " batch"]:
    """Returns how many classes come before the label's, (batch,) int32; 0 is a top-1 hit, below 5 a top-5 hit.

    Of equal logits, that of the lower class comes first, so ties are always broken in the same way. A label whose logit
    is NaN comes last, so that a network that has diverged counts as wrong.

    Args:
        logits: (batch, classes).
        labels: (batch,) int32.
    """
    classes, labels = jnp.arange(logits.shape[-1])[None], labels[:, None]
    own = jnp.take_along_axis(logits, labels, axis=-1)
    not_before = jnp.where(classes < labels, logits < own, logits <= own)
    return jnp.sum(~not_before & (classes != labels), axis=-1, dtype=jnp.int32)


def check_top_k(top_k: tuple[int, ...], num_classes: int) -> None:
    """Refuses a top-k error that is always 0.

    Raises:
        UserError: some k is not below the number of classes.
    """
    for k in top_k:
        if k >= num_classes:
            choices = tuple(other for other in top_k if other < num_classes)
            raise UserError(
                f"top-{k} error of {num_classes} classes is always 0: "
                f"set evaluation.top_k to {choices or (1,)} (--evaluation.top-k {' '.join(map(str, choices or (1,)))})"
            )
