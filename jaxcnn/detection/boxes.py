"""Boxes: their areas, how much of them is shared, and the offsets from one to another.

A box is four float32 numbers: left, top, right and bottom, in pixels and in continuous coordinates. It covers what lies
from left up to right and from top up to bottom, so its width is right - left, and the whole of an image is the box (0,
0, width, height). A box without width or height is degenerate: it is allowed, its area is 0, and it shares nothing with
any box.
"""

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import ArrayLike

from jaxcnn.errors import UserError

_LARGEST_RATIO = 16.0
"""The logarithm of the ratio of sizes that `moved` goes up to, so that no prediction makes a box of infinite size."""


def check_boxes(boxes: ArrayLike, what: str) -> Float32[np.ndarray, "boxes 4"]:
    """Returns boxes as a float32 array (boxes, 4), once they are known to be boxes; an empty list is (0, 4).

    Args:
        boxes: rows of left, top, right and bottom.
        what: the clause that names them in a message: ``"the objects of image 7"``.

    Raises:
        UserError: the shape is another, or a box has a negative width or height, or coordinates that are not finite.
    """
    with np.errstate(over="ignore"):
        found = np.array(boxes, np.float32)
    if found.size == 0:
        return found.reshape(0, 4)
    if found.ndim != 2 or found.shape[1] != 4:
        raise UserError(f"{what} have the shape {found.shape}: give rows of left, top, right and bottom")
    for wrong, said in (
        (~np.isfinite(found).all(1), "coordinates that are not finite"),
        ((found[:, 2:] < found[:, :2]).any(1), "a negative width or height"),
    ):
        if wrong.any():
            first = int(np.argmax(wrong))
            values = ", ".join(f"{value:g}" for value in found[first])
            raise UserError(f"{what} include box {first}, ({values}), with {said}: give left, top, right and bottom")
    return found


def area(boxes: ArrayLike) -> Float64[np.ndarray, "..."]:
    """Returns the areas (...,) of boxes (..., 4) in square pixels, as float64."""
    found = np.asarray(boxes, np.float64)
    return (found[..., 2] - found[..., 0]) * (found[..., 3] - found[..., 1])


def intersection(a: ArrayLike, b: ArrayLike) -> Float64[np.ndarray, "a b"]:
    """Returns the areas (a, b) that each box of (a, 4) shares with each of (b, 4), in square pixels."""
    first, second = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    return sides.clip(0).prod(-1)


def iou(a: ArrayLike, b: ArrayLike) -> Float64[np.ndarray, "a b"]:
    """Returns the intersection over union (a, b) of each box of (a, 4) with each of (b, 4), as float64.

    It is exactly 0 where either box is degenerate. Numbers are float64 because it is compared with thresholds that it
    often meets: a third of a box of whole pixels is one.
    """
    shared = intersection(a, b)
    either = area(a)[:, None] + area(b)[None] - shared
    return np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)


def covered(a: ArrayLike, b: ArrayLike) -> Float64[np.ndarray, "a b"]:
    """Returns which share (a, b) of each box of (a, 4) lies in each of (b, 4); 0 for a degenerate box."""
    shared = intersection(a, b)
    own = np.broadcast_to(area(a)[:, None], shared.shape)
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)


def clipped(boxes: ArrayLike, width: float, height: float) -> Float32[np.ndarray, "... 4"]:
    """Returns the parts of boxes (..., 4) that lie in an image; a box beside it becomes degenerate, at its border."""
    found = np.asarray(boxes, np.float32)
    return np.clip(found, 0, np.array([width, height, width, height], np.float32))


def offsets(from_: ArrayLike, to: ArrayLike) -> Float32[np.ndarray, "... 4"]:
    """Returns how boxes differ from others, as R-CNN's box regression predicts it (arXiv:1311.2524, appendix C).

    These are the distances of the centres in x and y, in widths and heights of the first box, and the logarithms of the
    ratios of widths and heights. They do not change when an image is scaled.

    Args:
        from_: (..., 4), proposals.
        to: (..., 4), objects.

    Raises:
        UserError: a box is degenerate.
    """
    (centres, sizes), (wanted, wanted_sizes) = _centres_and_sizes(from_), _centres_and_sizes(to)
    if not ((sizes > 0).all() and (wanted_sizes > 0).all()):
        raise UserError("a box without width or height has no offsets from or to others: leave it out")
    found = np.concatenate([(wanted - centres) / sizes, np.log(wanted_sizes / sizes)], axis=-1)
    return found.astype(np.float32)


def moved(boxes: ArrayLike, offsets: ArrayLike) -> Float32[np.ndarray, "... 4"]:
    """Returns boxes (..., 4) moved and scaled by `offsets` (..., 4): ``moved(a, offsets(a, b))`` is ``b``.

    No box becomes more than exp(16) times as wide or high, which keeps all numbers finite. Boxes may end outside of the
    image: see `clipped`.
    """
    centres, sizes = _centres_and_sizes(boxes)
    change = np.asarray(offsets, np.float64)
    middle = centres + change[..., :2] * sizes
    half = sizes * np.exp(change[..., 2:].clip(-_LARGEST_RATIO, _LARGEST_RATIO)) / 2
    return np.concatenate([middle - half, middle + half], axis=-1).astype(np.float32)


def _centres_and_sizes(
    boxes: ArrayLike,
) -> tuple[Float64[np.ndarray, "... 2"], Float64[np.ndarray, "... 2"]]:
    found = np.asarray(boxes, np.float64)
    return (found[..., :2] + found[..., 2:]) / 2, found[..., 2:] - found[..., :2]
