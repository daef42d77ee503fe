"""Greedy non-maximum suppression, exact, jitted, and of fixed shape."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32


@functools.partial(jax.jit, static_argnames="limit")
def suppress(
    boxes: Float[Array, "boxes 4"], scores: Float[Array, " boxes"], threshold: float | Float[Array, ""], limit: int
) -> tuple[Int32[Array, " {limit}"], Bool[Array, " {limit}"]]:
    """Returns the boxes that non-maximum suppression keeps, best first.

    The box of the highest score is kept, and all boxes go whose intersection over union with it is above the threshold;
    then the same with what is left, until nothing is left or enough is kept. Of equal scores, that of the lower index
    comes first. Scores may be negative, as those of support vector machines are. A degenerate box suppresses none and
    is suppressed by none.

    Each step compares one box with all, so that memory grows with the number of boxes and not with its square, and the
    number of steps is that of the boxes that are kept.

    Args:
        boxes: (boxes, 4), left, top, right and bottom.
        scores: (boxes,). A box whose score is minus infinity or not a number is never kept: such rows are padding.
        threshold: the largest intersection over union of two boxes that are both kept.
        limit: the number of boxes that are kept at most.

    Returns:
        indices: (limit,) int32, the rows of ``boxes``, by descending score; 0 where fewer are kept.
        valid: (limit,) bool, whether an index is that of a kept box.
    """
    rows = jnp.arange(scores.shape[0], dtype=jnp.int32)
    left, top, right, bottom = boxes.T
    areas = (right - left) * (bottom - top)

    def going_on(state: tuple[Array, Array, Array]) -> Array:
        kept, remaining, _ = state
        return (kept < limit) & (remaining > -jnp.inf).any()

    def keep(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        kept, remaining, indices = state
        best = jnp.argmax(remaining).astype(jnp.int32)
        width = jnp.minimum(right, right[best]) - jnp.maximum(left, left[best])
        height = jnp.minimum(bottom, bottom[best]) - jnp.maximum(top, top[best])
        shared = jnp.maximum(width, 0) * jnp.maximum(height, 0)
        either = areas + areas[best] - shared
        gone = jnp.where(either > 0, shared / jnp.where(either > 0, either, 1), 0) > threshold
        remaining = jnp.where(gone | (rows == best), -jnp.inf, remaining)
        return kept + 1, remaining, indices.at[kept].set(best)

    indices = jnp.zeros(limit, jnp.int32)
    if scores.shape[0] == 0 or limit == 0:
        return indices, indices.astype(bool)
    start = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    kept, _, indices = jax.lax.while_loop(going_on, keep, (jnp.int32(0), start, indices))
    return indices, jnp.arange(limit, dtype=jnp.int32) < kept


@functools.partial(jax.jit, static_argnames="limit")
def suppress_each_class(
    boxes: Float[Array, "boxes 4"] | Float[Array, "boxes classes 4"],
    scores: Float[Array, "boxes classes"],
    threshold: float | Float[Array, ""] | Float[Array, " classes"],
    limit: int,
) -> tuple[Int32[Array, "classes {limit}"], Bool[Array, "classes {limit}"]]:
    """Returns what `suppress` keeps of each class by itself, as R-CNN does it.

    Args:
        boxes: (boxes, 4), the same for all classes, or (boxes, classes, 4), where each class has moved them.
        scores: (boxes, classes).
        threshold: as for `suppress`, for all classes or (classes,).
        limit: the number of boxes of a class that are kept at most.

    Returns:
        indices: (classes, limit) int32, the rows of ``boxes``.
        valid: (classes, limit) bool, whether an index is that of a kept box.
    """
    thresholds = jnp.broadcast_to(jnp.asarray(threshold, scores.dtype), scores.shape[1:])
    each = jax.vmap(functools.partial(suppress, limit=limit), in_axes=(1 if boxes.ndim == 3 else None, 1, 0))
    return each(boxes, scores, thresholds)
