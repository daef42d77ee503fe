"""What each augmentation costs on the device, beside a training step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxcnn.analysis.timing import take_turns
from jaxcnn.analysis.training_speed import Job, jax_step
from jaxcnn.augment import AUGMENTATIONS
from jaxcnn.augment.compose import augment, check_order
from jaxcnn.config import Augmentation, Normalization


@dataclasses.dataclass(frozen=True)
class Timing:
    """Median seconds of one batch."""

    name: str
    seconds: float
    """Of the augmentations, and of normalization, which comes with them."""
    share: float
    """Of the training step."""


def every_augmentation() -> dict[str, tuple[Augmentation, ...]]:
    """Returns one list of a single augmentation, as it is by default, for each there is, by its kind."""
    return {kind: (group(),) for kind, group in AUGMENTATIONS.groups.items()}


def time_augmentations(
    augmentations: dict[str, tuple[Augmentation, ...]], *, model: str, batch: int, size: int, rounds: int
) -> tuple[float, list[Timing]]:
    """Times lists of augmentations, jitted by themselves, and one network's training step, in turn.

    Args:
        augmentations: lists, by a name.
        model: whose training step is the measure.
        batch: images.
        size: of the square images, in pixels.
        rounds: as for `take_turns`.

    Returns:
        The training step's median seconds, without augmentation, and a row for each list.
    """
    images = jax.random.bits(jax.random.key(0), (batch, size, size, 3), jnp.uint8)
    keys, labels = jax.random.split(jax.random.key(1), batch), jnp.arange(batch) % 1000
    step = jax_step(Job(model, batch, size, "float32"), keep_memory=True, plain_flax=False, lowering="auto")
    calls = {"step": functools.partial(step, 1)}
    for name, steps in augmentations.items():
        check_order(steps)
        call = functools.partial(augment, augmentations=steps, normalization=Normalization(), num_classes=1000)
        calls[name] = functools.partial(jax.jit(call), keys, images, labels)
    seconds = take_turns(calls, rounds=rounds)
    whole = seconds.pop("step")
    return whole, [Timing(name, each, each / whole) for name, each in seconds.items()]
