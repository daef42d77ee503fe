"""The time that each augmentation takes on the device, beside that of a training step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxcnn.augment import AUGMENTATIONS
from jaxcnn.augment.compose import augment, check_order
from jaxcnn.benchmarks.rounds import Ratio
from jaxcnn.benchmarks.timing import take_turns
from jaxcnn.benchmarks.training import Job, jax_step
from jaxcnn.config import Augmentation, CutMix, MixUp, Normalization, RandAugment, RandomErasing


@dataclasses.dataclass(frozen=True)
class Timing:
    """The median seconds that a list of augmentations takes for one batch."""

    name: str
    seconds: float
    """The time of the augmentations and of normalization, which always follows them."""
    share: Ratio
    """The same time as a share of the training step's."""


def usual_lists() -> dict[str, tuple[Augmentation, ...]]:
    """Returns the lists of augmentations that are worth timing, by a name.

    They are normalization alone, each augmentation alone with its default options, by its kind, and four that recipes
    combine.
    """
    together = (RandAugment(), RandomErasing(probability=1.0), MixUp(), CutMix())
    # The kind of each class is its field's default, which the role's class does not know.
    alone = {kind: (group(),) for kind, group in AUGMENTATIONS.groups.items()}  # ty: ignore[missing-argument]
    return {"normalization": (), **alone, "RandAugment, erasing, MixUp and CutMix": together}


def time_augmentations(
    augmentations: dict[str, tuple[Augmentation, ...]],
    *,
    model: str,
    batch: int,
    size: int,
    dtype: str = "float32",
    rounds: int,
) -> tuple[float, list[Timing]]:
    """Times lists of augmentations, each jitted alone, and one network's training step, in turn.

    Args:
        augmentations: the lists to time, by a name.
        model: the network whose training step is the measure.
        batch: the number of images.
        size: the height and width of the images in pixels.
        dtype: the data type of the step's computation; augmentation is in float32.
        rounds: see `take_turns`.

    Returns:
        The training step's median seconds, without augmentation, and a row for each list.
    """
    images = jax.random.bits(jax.random.key(0), (batch, size, size, 3), jnp.uint8)
    keys, labels = jax.random.split(jax.random.key(1), batch), jnp.arange(batch) % 1000
    step = jax_step(Job(model, batch, size, dtype), keep_memory=True, use_plain_flax=False, lowering="auto")
    calls = {"step": functools.partial(step, 1)}
    for name, steps in augmentations.items():
        check_order(steps)
        call = functools.partial(augment, augmentations=steps, normalization=Normalization(), num_classes=1000)
        calls[name] = functools.partial(jax.jit(call), keys, images, labels)
    seconds = take_turns(calls, rounds=rounds)
    return seconds["step"], [Timing(name, seconds[name], seconds.ratio(name, "step")) for name in augmentations]
