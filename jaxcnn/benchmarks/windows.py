"""The sliding window's one pass beside cropping every window, in operations and in seconds."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np

from jaxcnn.augment.compose import normalize
from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.benchmarks.timing import take_turns
from jaxcnn.data.resize import resize
from jaxcnn.detection.sliding import Sliding
from jaxcnn.trained import Trained
from jaxcnn.types import Variables


@dataclasses.dataclass(frozen=True)
class Windows:
    """One scale of an image, whose windows are scored in one pass and as crops."""

    shape: tuple[int, int]
    """The height and width of the scaled image, in pixels."""
    windows: int
    operations: float
    """How many times as many operations the crops take, as XLA counts them without any lowering of ours."""
    seconds: Rounds[str]
    """The seconds of ``one pass`` and of the network on all ``crops``, which are cut before, in each round."""


def compare_windows(trained: Trained, image: np.ndarray, *, at_once: int, rounds: int) -> Windows:
    """Times the windows of an image at its own scale.

    Args:
        trained: the network.
        image: uint8 (height, width, channels), with as many channels as the network takes.
        at_once: the number of crops that the network takes together.
        rounds: see `take_turns`.
    """
    sliding = Sliding(trained, scales=(1,))
    (level,) = sliding.levels(*image.shape[:2])
    picture = resize(image, level.height, level.width, "bilinear")
    window = sliding.window
    corners = np.mgrid[: level.rows, : level.columns].reshape(2, -1).T * sliding.stride
    crops = np.stack([picture[top : top + window, left : left + window] for top, left in corners])

    def answer(model: nn.Module, variables: Variables, images: jax.Array) -> jax.Array:
        logits = model.apply(variables, normalize(images, trained.normalization), train=False)
        assert isinstance(logits, jax.Array)  # auxiliary heads have logits in training alone
        return logits

    plain = dataclasses.replace(trained, model=trained.model.clone(lowering="xla"))
    shared = _operations(Sliding(plain, scales=(1,)).window_logits, trained.variables, picture[None])
    cropped = _operations(functools.partial(answer, plain.model), trained.variables, crops)
    network = jax.jit(functools.partial(answer, trained.model))
    variables = jax.device_put(trained.variables)
    batches = [jax.device_put(crops[start : start + at_once]) for start in range(0, len(crops), at_once)]
    seconds = take_turns(
        {
            "one pass": functools.partial(jax.jit(sliding.window_logits), variables, jax.device_put(picture[None])),
            "crops": lambda: [network(variables, batch) for batch in batches],
        },
        rounds=rounds,
    )
    return Windows(picture.shape[:2], len(crops), cropped / shared, seconds)


def _operations(function: Callable[..., jax.Array], variables: Variables, images: np.ndarray) -> float:
    """Returns the number of operations, without compiling anything."""
    cost = jax.jit(function).lower(variables, images).cost_analysis()
    assert cost is not None  # XLA counts what is not compiled yet on every platform
    return cost["flops"]
