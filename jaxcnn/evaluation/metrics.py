"""The rank of a label among the scores, by which top-k errors are counted."""

import logging
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32

from jaxcnn.errors import UserError

_LOG = logging.getLogger(__name__)


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


def telling_top_k(top_k: Sequence[int], num_classes: int) -> tuple[int, ...]:
    """Returns those k whose top-k error says something about so many classes; the log names the others.

    Where there are no more than k classes, every answer is right.

    Args:
        top_k: each k for which errors are asked.
        num_classes: the number of classes.

    Raises:
        UserError: there is no such k among them.
    """
    telling = tuple(k for k in top_k if k < num_classes)
    silent = " and ".join(f"top-{k}" for k in top_k if k not in telling)
    if not telling:
        way_out = "ask for k = 1" if num_classes > 1 else "give a data set of at least 2 classes"
        raise UserError(f"the {silent} error of {num_classes} {_classes(num_classes)} is always 0: {way_out}")
    if silent:
        _LOG.info("the %s error of %d classes is always 0, and is left out", silent, num_classes)
    return telling


def _classes(count: int) -> str:
    return "class" if count == 1 else "classes"
