"""What the figures are drawn from that other parts of the package hold."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Material:
    """What is given to each figure, which takes of it what it shows."""

    depth: Callable[[str], int]
    """A function from a network's name to the number of its layers, counted by tracing it."""
    baselines: Mapping[str, Mapping[int, float]]
    """The published errors in percent by what was measured and by k, of networks and of what came before."""
    baselines_source: str
    """The source of these errors."""
    photograph: np.ndarray
    """The pixels that are cropped, uint8 of shape ``(height, width, 3)``."""
    credit: str
    """The line that says whose photograph it is; empty where nothing is known."""
