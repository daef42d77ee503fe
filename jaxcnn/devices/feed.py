"""The feed: a split of a data set on its way to the devices."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from typing import TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.data.pipeline import Split
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.processes import check_same, gather
from jaxcnn.types import PyTree


class Resident(TypedDict):
    """A whole split on every device."""

    image: jax.Array
    """uint8 (images, height, width, channels)."""
    label: jax.Array
    """int32 (images,)."""


class Batch(TypedDict, total=False):
    """A batch on the devices, each of its arrays split over them by the leading axis: see `Feed`."""

    image: jax.Array
    """uint8 (batch, height, width, channels), or (batch, views, height, width, channels); absent where resident."""
    label: jax.Array
    """int32 (batch,); absent where resident."""
    index: jax.Array
    """int32 (batch,), which images of the split these are; absent in training where the split is streamed."""
    mask: jax.Array
    """bool (batch,), False for what does not count; in evaluation."""
    epoch: jax.Array
    """int32 (batch,); in training."""
    position: jax.Array
    """int32 (batch,), where the image is in its epoch's order; in training."""
    resident: Resident
    """The arrays that ``index`` picks from, whole on every device."""


@dataclasses.dataclass(frozen=True, eq=False)
class Feed:
    """Yields the batches of a split on the devices, for training from any step, and for evaluation.

    A batch holds what `Split.training_batches` or `Split.evaluation_batches` yields, each array split over the devices
    by its leading axis. Where the split is resident it also holds, under ``resident``, all of the split's images
    (images, height, width, channels) and labels (images,), which live on every device from one batch to the next;
    `images_and_labels` picks the batch's own. Each process reads only its own rows.
    """

    split: Split
    parallel: DataParallel
    """The devices, and how a batch is spread over them."""
    batch_size: int
    """Images a batch, over all devices."""
    seed: int = 0
    """The seed of the order of training images, and of the host's crops."""

    @classmethod
    def for_evaluation(cls, split: Split, parallel: DataParallel, views: int) -> "Feed":
        """Returns a feed whose batches have about so many views, and at least one image for each device.

        A batch has no more images than the split, since what pads a batch is computed too.

        Args:
            split: what to evaluate on.
            parallel: the devices.
            views: views of images that the network takes together, over all devices. They do not change the result.
        """
        devices = parallel.mesh.size
        images = max(1, min(views // split.views_per_image, split.size))
        return cls(split, parallel, -(-images // devices) * devices)

    @property
    def size(self) -> int:
        """How many images the split has."""
        return self.split.size

    @property
    def appearances(self) -> int:
        """How often `evaluation` yields each image."""
        return self.split.appearances

    def training(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Yields the batches of steps ``first_step`` to ``last_step - 1``.

        Raises:
            UserError: too many images cannot be read.
        """
        rows = self.parallel.rows(self.batch_size)
        batches = self.split.training_batches(self.seed, self.batch_size, first_step, last_step, rows)
        return map(self._put, batches)

    def evaluation(self) -> Iterator[Batch]:
        """Yields every image `appearances` times, with ``mask`` False for padding and for what cannot be read.

        Raises:
            UserError: too many images cannot be read.
        """
        return map(self._put, self.split.evaluation_batches(self.batch_size, self.parallel.rows(self.batch_size)))

    def unreadable(self) -> int:
        """Returns how many images of the split some process has found to be unreadable; all processes must call it."""
        return len({index for found in gather(self.split.unreadable) for index in found})

    def check_same(self) -> None:
        """Makes sure that all processes have the same split: every byte where it is resident, since each keeps a copy.

        Raises:
            UserError: they have not; raised in all of them.
        """
        if jax.process_count() == 1:
            return
        split, digest = self.split, hashlib.sha256()
        if split.resident:
            for array in self._host_arrays().values():
                digest.update(array.data)
        check_same("data set", [split.name, list(split.class_names), split.size, digest.hexdigest()])

    @functools.cached_property
    def abstract(self) -> dict[str, PyTree]:
        """The shapes, dtypes and shardings of a training batch; nothing is read or allocated for them."""
        split, sharding = self.split, self.parallel.split
        numbers = ("index", "epoch", "position") if split.resident else ("label", "epoch", "position")
        batch = {name: jax.ShapeDtypeStruct((self.batch_size,), jnp.int32, sharding=sharding) for name in numbers}
        if not split.resident:
            shape = (self.batch_size, *split.image_shape)
            return batch | {"image": jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=sharding)}
        resident = {
            name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=self.parallel.replicated)
            for name, array in self._host_arrays().items()
        }
        return batch | {"resident": resident}

    def _put(self, batch: dict[str, np.ndarray]) -> Batch:
        placed = self.parallel.put_batch(batch)
        return placed | {"resident": self._resident} if self.split.resident else placed

    @functools.cached_property
    def _resident(self) -> Resident:
        return self.parallel.put_everywhere(self._host_arrays())

    def _host_arrays(self) -> dict[str, np.ndarray]:
        images, labels = self.split.images, self.split.labels
        assert images is not None  # this is asked of resident splits alone
        assert labels is not None
        return {"image": images, "label": labels}


def images_and_labels(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Returns the uint8 images and int32 labels of a batch; pure.

    They are the batch's own or, where the split is resident, those that ``index`` picks.
    """
    if "resident" not in batch:
        return batch["image"], batch["label"]
    pick = functools.partial(jnp.take, indices=batch["index"], axis=0, mode="clip")
    return pick(batch["resident"]["image"]), pick(batch["resident"]["label"])
