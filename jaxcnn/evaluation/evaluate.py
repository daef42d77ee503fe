"""One pass over a split: every image counted once, whatever the batch size or the number of devices."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.evaluation.metrics import rank_of_label

Totals = dict[str, jax.Array]
BATCHES_IN_FLIGHT = 2
"""How far the host may run ahead of the devices; without a bound a fast reader would pile up the whole split."""


class Interrupted(Exception):
    """The pass was asked to stop before its end."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a pass over a split found."""

    images: int
    loss: float
    """Mean cross-entropy in nats."""
    errors: dict[int, float]
    """Top-k error in percent, for each k."""
    ema: "Result | None" = None
    """The same of the moving average of the parameters, where one is kept."""

    def __str__(self) -> str:
        errors = "  ".join(f"top-{k} error {error:.2f} %" for k, error in self.errors.items())
        return f"{errors}  ({self.images} images)" + (f"  EMA: {self.ema}" if self.ema else "")

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, float]) -> "Result":
        """Reads what `metrics` made."""
        errors = {int(name[3:-6]): value for name, value in metrics.items() if name.startswith("top")}
        of_ema = {name.removeprefix("ema_"): value for name, value in metrics.items() if name.startswith("ema_")}
        ema = cls.from_metrics(of_ema) if of_ema else None
        return cls(int(metrics["images"]), metrics["loss"], dict(sorted(errors.items())), ema)

    def metrics(self) -> dict[str, float]:
        """Returns a flat mapping for logs: ``{"loss": ..., "top1_error": ..., "images": ..., "ema_loss": ...}``."""
        own = {"loss": self.loss, **{f"top{k}_error": e for k, e in self.errors.items()}, "images": self.images}
        return own | ({f"ema_{name}": value for name, value in self.ema.metrics().items()} if self.ema else {})


def make_evaluation_step(
    apply: Callable[..., jax.Array], prepare: Callable[..., tuple[jax.Array, jax.Array]], top_k: tuple[int, ...]
) -> Callable[[Any, Totals, Any, Any], Totals]:
    """Returns the jitted ``(variables, totals, batch, arrays) -> totals``.

    Args:
        apply: ``apply(variables, images, train=False)`` returns logits (batch, classes).
        prepare: ``prepare(batch, arrays)`` returns normalized images and labels.
        top_k: each k of which errors are counted.
    """

    @jax.jit
    def step(variables, totals, batch, arrays):
        images, labels = prepare(batch, arrays)
        logits = apply(variables, images, train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        ranks, mask = rank_of_label(logits, labels), batch["mask"]
        sums = {f"top{k}": jnp.sum((ranks >= k) & mask, dtype=jnp.int32) for k in top_k}
        sums["loss"] = jnp.sum(jnp.where(mask, losses, 0))
        sums["images"] = jnp.sum(mask, dtype=jnp.int32)
        return jax.tree.map(jnp.add, totals, sums)

    return step


def evaluate(
    step: Callable[[Any, Totals, Any, Any], Totals],
    variables: Any,
    batches: Iterable[dict[str, np.ndarray]],
    arrays: Any,
    *,
    top_k: tuple[int, ...],
    put: Callable[[Any], Any] = jax.device_put,
    stop: Callable[[], bool] = lambda: False,
    over_processes: Callable[[int], int] = int,
    ema: Any = None,
) -> Result:
    """Runs once over the batches and returns errors.

    Args:
        step: what `make_evaluation_step` returned.
        variables: ``{"params": ..., "batch_stats": ...}``.
        batches: with a ``mask`` that is False where a batch is padded.
        arrays: the split's images and labels where they live on the device, else None.
        top_k: as given to `make_evaluation_step`.
        put: places a host batch on the devices.
        stop: asked before each batch.
        over_processes: sums a count over the processes, where each is given only its rows of the batches.
        ema: the moving average of ``variables``, if it is to be measured beside them.

    Raises:
        Interrupted: ``stop`` said so.
    """
    nothing = {f"top{k}": jnp.zeros((), jnp.int32) for k in top_k}
    nothing |= {"loss": jnp.zeros(()), "images": jnp.zeros((), jnp.int32)}
    measured = [variables, ema] if ema else [variables]
    totals, expected, in_flight = [nothing] * len(measured), 0, collections.deque()
    for batch in batches:
        if stop():
            raise Interrupted
        expected += int(batch["mask"].sum())
        placed = put(batch)
        totals = [step(each, so_far, placed, arrays) for each, so_far in zip(measured, totals, strict=True)]
        in_flight.append(totals)
        if len(in_flight) > BATCHES_IN_FLIGHT:
            jax.block_until_ready(in_flight.popleft())
    expected = over_processes(expected)
    result, *of_ema = (_result(found, top_k, expected) for found in jax.device_get(totals))
    return dataclasses.replace(result, ema=of_ema[0]) if of_ema else result


def _result(found: Totals, top_k: tuple[int, ...], expected: int) -> Result:
    count = int(found["images"])
    if count != expected or not count:
        raise RuntimeError(f"evaluation counted {count} images and was given {expected}")
    return Result(count, float(found["loss"]) / count, {k: 100 * int(found[f"top{k}"]) / count for k in top_k})
