"""The result of measuring a network on a split."""

import dataclasses
from collections.abc import Mapping, Sequence

from jaxcnn.types import Json


@dataclasses.dataclass(frozen=True)
class Result:
    """The errors of a network on a split."""

    images: int
    loss: float
    """The mean cross-entropy in nats."""
    errors: dict[int, float]
    """The top-k error in percent, by k."""
    ema: "Result | None" = None
    """The result of the moving average of the parameters, where one is kept."""

    def __str__(self) -> str:
        errors = "  ".join(f"top-{k} error {error:.2f} %" for k, error in self.errors.items())
        return f"{errors}  ({self.images} images)" + (f"  EMA: {self.ema}" if self.ema else "")

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Json]) -> "Result":
        """Returns the result from which `metrics` made this mapping."""
        errors = {int(name[3:-6]): value for name, value in metrics.items() if name.startswith("top")}
        averaged = {name.removeprefix("ema_"): value for name, value in metrics.items() if name.startswith("ema_")}
        ema = cls.from_metrics(averaged) if averaged else None
        return cls(int(metrics["images"]), metrics["loss"], dict(sorted(errors.items())), ema)

    def metrics(self) -> dict[str, float]:
        """Returns a flat mapping for logs: ``{"loss": ..., "top1_error": ..., "images": ..., "ema_loss": ...}``."""
        own = {"loss": self.loss, **{f"top{k}_error": e for k, e in self.errors.items()}, "images": self.images}
        return own | ({f"ema_{name}": value for name, value in self.ema.metrics().items()} if self.ema else {})


def ranked_metrics(top_k: Sequence[int]) -> tuple[str, str]:
    """Returns the names in `Result.metrics` of the errors that rank checkpoints: those of the first k of all.

    The first is of the parameters themselves, the second of their moving average.

    Examples:
        >>> ranked_metrics((5, 1))
        ('top5_error', 'ema_top5_error')
    """
    name = f"top{top_k[0]}_error"
    return name, f"ema_{name}"
