"""The evaluator: one jitted function from a network's variables and a batch to scores, and the results of these.

Training, ``jaxcnn evaluate``, ``predict`` and ``reproduce``, and the Python API all measure with it.
"""

import functools
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float32, Int32, UInt8

from jaxcnn.config import Average
from jaxcnn.devices.feed import Batch, Feed, images_and_labels
from jaxcnn.devices.memory import settled
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.evaluation.metrics import rank_of_label
from jaxcnn.evaluation.predictions import Collector, Predictions
from jaxcnn.evaluation.result import Result
from jaxcnn.lookahead import ahead
from jaxcnn.types import Variables

BATCHES_IN_FLIGHT = 2
"""The number of batches that the host may run ahead of the devices; without a bound, a fast reader would fill their
memory."""

Totals = dict[str, jax.Array]
T = TypeVar("T")


class Interrupted(Exception):
    """An exception for a pass that was asked to stop before its end."""


class Evaluator:
    """Measures a network on any feed whose images have the views that the evaluator was made for.

    Its function is compiled once for each shape of a batch, however often and with whatever variables it is called.
    Where there are several processes, all must make the same calls; each reads its own rows of a feed, and each gets
    the whole answer.

    Args:
        logits: a pure function: ``logits(variables, images)`` returns float32 logits (batch, classes) for uint8 images
            (batch, height, width, channels).
        parallel: the devices.
        average: what is averaged over the views of an image; the ``scores`` of one view are its logits.
        flip: whether the mirror image of each view is a view too, which the device then makes.
        views_at_once: the most views that the network takes together; a batch with more is computed in turns. By
            default there is no limit.
    """

    def __init__(
        self,
        logits: Callable[[Variables, UInt8[Array, "views height width channels"]], Float32[Array, "views classes"]],
        parallel: DataParallel,
        *,
        average: Average = "scores",
        flip: bool = False,
        views_at_once: int | None = None,
    ) -> None:
        self._logits = logits
        self._parallel = parallel
        self._average: Average = average
        self._flip = flip
        self._views_at_once = views_at_once
        # Replicated results are whole on every process, and totals keep their sharding, so nothing is compiled again.
        replicated = functools.partial(jax.jit, out_shardings=parallel.replicated)
        self._add_sums = replicated(self._sums_added, static_argnames="top_k")
        self._answers = replicated(self._answers_of)

    @own_settings()
    def results(
        self,
        feed: Feed,
        *variables: Variables,
        top_k: tuple[int, ...],
        stop: Callable[[], bool] = lambda: False,
    ) -> list[Result]:
        """Returns the errors for each of several sets of variables, from one pass over the feed.

        Args:
            feed: the images to measure on.
            *variables: the sets of variables, such as the parameters and their moving average.
            top_k: each k for which errors are counted.
            stop: called before each batch; the pass ends where it returns True.

        Raises:
            Interrupted: ``stop`` returned True.
            UserError: no image can be read, or too many cannot.
        """
        totals = [self._parallel.put_everywhere(_no_sums(top_k))] * len(variables)

        def add(batch: Batch) -> list[Totals]:
            totals[:] = [
                self._add_sums(each, so_far, batch, top_k=top_k) for each, so_far in zip(variables, totals, strict=True)
            ]
            return list(totals)

        for so_far in self._run(feed, add, stop):
            jax.block_until_ready(so_far)
        results = []
        for found in jax.device_get(totals):
            images = _check_count(int(found["images"]), feed)
            errors = {k: 100 * int(found[f"top{k}"]) / images for k in top_k}
            results.append(Result(images, float(found["loss"]) / images, errors))
        return results

    @own_settings()
    def predictions(
        self, feed: Feed, *variables: Variables, stop: Callable[[], bool] = lambda: False
    ) -> list[Predictions]:
        """Returns, for each of several sets of variables, the scores of every image of the feed, in the split's order.

        Args:
            feed: the images to measure on.
            *variables: as for `results`.
            stop: as for `results`.

        Raises:
            Interrupted: ``stop`` returned True.
            UserError: no image can be read, or too many cannot.
        """
        collectors = [Collector(feed.size, self._average) for _ in variables]

        def answer(batch: Batch) -> list[dict[str, jax.Array]]:
            return [self.answers(each, batch) for each in variables]

        for answers in self._run(feed, answer, stop):
            for collector, found in zip(collectors, answers, strict=True):
                mask, index, labels, scores = (np.asarray(found[name]) for name in ("mask", "index", "label", "score"))
                collector.add(index[mask], labels[mask], scores[mask])
        found = [collector.predictions(times=feed.appearances) for collector in collectors]
        for each in found:
            _check_count(int(each.known.sum()), feed)
        return found

    def answers(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        """Returns a batch's scores, (batch, classes), with its labels, indices and mask: one step of `predictions`."""
        return self._answers(variables, batch)

    def _run(self, feed: Feed, dispatch: Callable[[Batch], T], stop: Callable[[], bool]) -> Iterator[T]:
        """Dispatches every batch, and yields its result once a few more batches have been dispatched."""

        def dispatched() -> Iterator[T]:
            for batch in feed.evaluation():
                if stop():
                    raise Interrupted
                yield settled(dispatch(batch))

        return ahead(dispatched(), BATCHES_IN_FLIGHT)

    def _sums_added(self, variables: Variables, totals: Totals, batch: Batch, top_k: tuple[int, ...]) -> Totals:
        """Returns the totals with the sums over a batch's images, those aside that the mask leaves out."""
        scores, labels = self._scores(variables, batch)
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
        ranks, mask = rank_of_label(scores, labels), batch["mask"]
        sums = {f"top{k}": jnp.sum((ranks >= k) & mask, dtype=jnp.int32) for k in top_k}
        sums["loss"] = jnp.sum(jnp.where(mask, losses, 0))
        sums["images"] = jnp.sum(mask, dtype=jnp.int32)
        return jax.tree.map(jnp.add, totals, sums)

    def _answers_of(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        scores, labels = self._scores(variables, batch)
        return {"score": scores, "label": labels, "index": batch["index"], "mask": batch["mask"]}

    def _scores(
        self, variables: Variables, batch: Batch
    ) -> tuple[Float32[Array, "batch classes"], Int32[Array, " batch"]]:
        """Returns a batch's averaged scores, float32 (batch, classes), and its labels.

        Where probabilities are averaged, the scores are the logarithms of the averages, so that small probabilities
        keep their order; their softmax gives the averages.
        """
        views, labels = images_and_labels(batch)
        if views.ndim == 4:
            views = views[:, None]
        if self._flip:
            views = jnp.concatenate([views, views[:, :, :, ::-1]], axis=1)
        images, count = views.shape[:2]
        limit = self._views_at_once or images * count
        together = max(n for n in range(1, count + 1) if count % n == 0 and (n == 1 or n * images <= limit))

        def scores(part: jax.Array) -> jax.Array:
            found = self._logits(variables, part.reshape(-1, *part.shape[2:])).reshape(images, together, -1)
            return found if self._average == "scores" else jax.nn.log_softmax(found)

        parts = jnp.moveaxis(views.reshape(images, -1, together, *views.shape[2:]), 1, 0)
        found = jax.lax.map(scores, parts) if len(parts) > 1 else scores(parts[0])[None]
        found = jnp.moveaxis(found, 0, 1).reshape(images, count, -1)
        if self._average == "scores":
            return found.mean(1), labels
        return jax.nn.logsumexp(found, axis=1) - np.log(count), labels


def _no_sums(top_k: tuple[int, ...]) -> dict[str, np.ndarray]:
    counts = {name: np.zeros((), np.int32) for name in (*(f"top{k}" for k in top_k), "images")}
    return counts | {"loss": np.zeros((), np.float32)}


def _check_count(images: int, feed: Feed) -> int:
    """Returns the number of images that were counted, after checking that these are all that can be read."""
    readable = feed.size - feed.unreadable()
    if images != readable:
        raise RuntimeError(f"{images} images were counted of the {readable} of {feed.split.name} that can be read")
    if not images:
        raise UserError(f"no image of {feed.split.name} can be read, so there is nothing to measure")
    return images
