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
    """The arrays of a whole split, a copy of which is on every device."""

    image: jax.Array
    """The images, uint8 (images, height, width, channels)."""
    label: jax.Array
    """The labels, int32 (images,)."""


class Batch(TypedDict, total=False):
    """A batch on the devices, each of its arrays split over them by the leading axis: see `Feed`."""

    image: jax.Array
    """The images, uint8 (batch, height, width, channels) or (batch, views, height, width, channels); absent where the
    split is resident."""
    label: jax.Array
    """The labels, int32 (batch,); absent where the split is resident."""
    index: jax.Array
    """The images' indices in the split, int32 (batch,); absent in training where the split is streamed."""
    mask: jax.Array
    """Whether each image counts, bool (batch,); only in evaluation."""
    epoch: jax.Array
    """The epoch of each image, int32 (batch,); only in training."""
    position: jax.Array
    """Each image's position in its epoch's order, int32 (batch,); only in training."""
    resident: Resident
    """The arrays that ``index`` picks from, whole on every device; only where the split is resident."""


@dataclasses.dataclass(frozen=True, eq=False)
class Feed:
    """Yields the batches of a split on the devices, for training from any step, and for evaluation.

    A batch holds what `Split.training_batches` or `Split.evaluation_batches` yields, each array split over the devices
    by its leading axis. Where the split is resident, a batch also holds, under ``resident``, all of the split's images
    (images, height, width, channels) and labels (images,), which stay on every device from one batch to the next;
    `images_and_labels` picks those of the batch. Each process reads only its own rows.
    """

    split: Split
    parallel: DataParallel
    """The devices, and how a batch is spread over them."""
    batch_size: int
    """The number of images in a batch, over all devices."""
    seed: int = 0
    """The seed of the order of training images, and of the host's crops."""

    @classmethod
    def for_evaluation(cls, split: Split, parallel: DataParallel, views: int, *, whole_batches: bool = False) -> "Feed":
        """Returns a feed whose batches have about this many views, and at least one image for each device.

        A batch has no more images than the split, because its padding is computed too, unless whole batches are asked
        for.

        Args:
            split: the split to evaluate on.
            parallel: the devices.
            views: the number of views that the network takes together, over all devices; it does not change the result.
            whole_batches: whether all splits get batches of one shape, for which nothing is compiled again.
        """
        devices = parallel.mesh.size
        images = max(1, views // split.views_per_image)
        images = images if whole_batches else min(images, split.size)
        return cls(split, parallel, -(-images // devices) * devices)

    @property
    def size(self) -> int:
        """The number of images in the split."""
        return self.split.size

    @property
    def appearances(self) -> int:
        """The number of times that `evaluation` yields each image."""
        return self.split.appearances

    def training(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Yields the batches of steps ``first_step`` to ``last_step - 1``.

        Raises:
            UserError: too many images cannot be read.
        """
        rows = self.parallel.rows(self.batch_size)
        batches = self.split.training_batches(self.seed, self.batch_size, first_step, last_step, rows)
        return map(self._put, batches)

    def evaluation(self, first: int = 0) -> Iterator[Batch]:
        """Yields every image `appearances` times; ``mask`` is False for padding and for images that cannot be read.

        Args:
            first: the index of the image to begin with; see `Split.evaluation_batches`.

        Raises:
            UserError: too many images cannot be read.
        """
        rows = self.parallel.rows(self.batch_size)
        return map(self._put, self.split.evaluation_batches(self.batch_size, rows, first))

    def unreadable(self) -> int:
        """Returns the number of images that some process has found to be unreadable; all processes must call it."""
        return len({index for found in gather(self.split.unreadable) for index in found})

    def check_same(self) -> None:
        """Makes sure that all processes have the same split.

        Where it is resident every byte is compared, because each process keeps a copy.

        Raises:
            UserError: the splits differ; all processes raise it.
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
        """The shapes, dtypes and shardings of a training batch, for which nothing is read or allocated."""
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
    """Returns the uint8 images and int32 labels of a batch, by a pure function.

    They are in the batch itself or, where the split is resident, ``index`` picks them from its arrays.
    """
    if "resident" not in batch:
        return batch["image"], batch["label"]
    pick = functools.partial(jnp.take, indices=batch["index"], axis=0, mode="clip")
    return pick(batch["resident"]["image"]), pick(batch["resident"]["label"])
