"""The regions of training steps: which are shown, and how they become images of one size."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import TypedDict

import jax
import numpy as np

from jaxcnn.augment.compose import normalize
from jaxcnn.augment.geometric import horizontal_flip
from jaxcnn.config import Normalization
from jaxcnn.config.detection import TuningConfig
from jaxcnn.data.order import epoch_order
from jaxcnn.detection.matching import LabelledRegions
from jaxcnn.detection.pictures import Pictures
from jaxcnn.detection.warp import Canvases, outside, warped
from jaxcnn.devices.parallel import DataParallel

OTHER_ORDER = 1 << 20
"""The number that is added to the seed for the order of the background, and of what is measured."""


class RegionBatch(TypedDict, total=False):
    """The regions of a training step, and the images that they are cut from."""

    picture: jax.Array
    """The index of each region's image among ``pictures`` or ``resident``, int32 (batch,)."""
    box: jax.Array
    """The boxes, float32 (batch, 4)."""
    label: jax.Array
    """The labels, int32 (batch,); the background comes after all classes."""
    step: jax.Array
    """The step, int32 (batch,)."""
    slot: jax.Array
    """The place of each region in the batch, int32 (batch,)."""
    pictures: Canvases
    """An image for each region, spread over the devices with them; absent where all images are resident."""
    resident: Canvases
    """All images, whole on every device."""


@dataclasses.dataclass(frozen=True, eq=False)
class RegionFeed:
    """Yields the regions of training steps: so many that show objects, and so many of the background.

    Either kind is shown in an endless sequence of orders, each of which holds every region once. So a step is a
    function of the seed and of its number alone.
    """

    pictures: Pictures
    regions: LabelledRegions
    config: TuningConfig
    parallel: DataParallel
    num_classes: int
    """The number of classes, without the background."""
    examples: np.ndarray
    """The indices of the regions that show an object."""
    background: np.ndarray
    """The indices of the regions that show none."""
    seed: int

    def training(self, first_step: int, last_step: int) -> Iterator[RegionBatch]:
        """Yields the batches of steps ``first_step`` to ``last_step - 1``."""
        rows = self.parallel.rows(self.config.objects + self.config.backgrounds)
        resident = self.pictures.resident(self.parallel)
        for step in range(first_step, last_step):
            chosen = np.concatenate(
                [
                    self._in_order(self.examples, step, self.config.objects, self.seed),
                    self._in_order(self.background, step, self.config.backgrounds, self.seed + OTHER_ORDER),
                ]
            )[rows]
            shows = rows < self.config.objects
            picture = self.regions.image[chosen]
            batch = {
                "picture": picture,
                "box": self.regions.boxes[chosen],
                "label": np.where(shows, self.regions.label[chosen], self.num_classes).astype(np.int32),
                "step": np.full(len(rows), step, np.int32),
                "slot": rows.astype(np.int32),
            }
            if resident is not None:
                yield self.parallel.put_batch(batch) | {"resident": resident}
                continue
            own = {"picture": rows.astype(np.int32), "pictures": self.pictures.read(picture)}
            yield self.parallel.put_batch(batch | own)

    @staticmethod
    def _in_order(indices: np.ndarray, step: int, count: int, seed: int) -> np.ndarray:
        samples = np.arange(step * count, (step + 1) * count)
        epochs, positions = np.divmod(samples, len(indices))
        found = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            found[now] = indices[epoch_order(seed, int(epoch), len(indices))[positions[now]]]
        return found


def make_region_preparation(
    config: TuningConfig, normalization: Normalization, size: int, channels: int, context: int, key: jax.Array
) -> Callable[[RegionBatch], tuple[jax.Array, jax.Array]]:
    """Returns the pure function from a batch to warped, normalized regions and their labels.

    Args:
        config: the options.
        normalization: the normalization of the network's images.
        size: the height and width of a warped region, in pixels.
        channels: the number of its channels.
        context: the pixels around the box in it.
        key: the key by which regions are mirrored.
    """

    def prepare(batch: RegionBatch) -> tuple[jax.Array, jax.Array]:
        pictures = batch["resident"] if "resident" in batch else batch["pictures"]
        fill = outside(normalization, channels)
        found = warped(pictures, batch["picture"], batch["box"], size=size, context=context, fill=fill)
        found = normalize(found, normalization)
        if config.mirror:
            keys = jax.vmap(lambda step, slot: jax.random.fold_in(jax.random.fold_in(key, step), slot))(
                batch["step"], batch["slot"]
            )
            found = horizontal_flip(keys, found)
        return found, batch["label"]

    return prepare
