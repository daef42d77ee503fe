"""The splits of a `DataConfig` as host batches, each a pure function of (seed, step).

`jaxcnn.data.order` says which image a training step shows, and in which slot of the batch.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from jaxcnn.config import Dense, SingleCrop, Views
from jaxcnn.data.crop import is_random
from jaxcnn.data.cutter import Draw, Uncut
from jaxcnn.data.fingerprint import Fingerprint, fingerprint
from jaxcnn.data.loader import Loader
from jaxcnn.data.numbering import image_numbers, valid_labels
from jaxcnn.data.order import epoch_order, sample_of
from jaxcnn.data.stream import Batch, Load, stream
from jaxcnn.data.whole import by_shape, read_ahead
from jaxcnn.errors import UserError
from jaxcnn.text import escaped

SINGLE_CROP = SingleCrop()
"""The protocol of one view an image: the config's ``evaluation_crop``."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One split, cut to one size, which is resident in memory or read as it is needed."""

    name: str
    class_names: tuple[str, ...]
    size: int
    """The number of images; a resident split to train on has only those that can be read."""
    image_shape: tuple[int, ...]
    """The height, width and channels; before them the number of views, where there are several. The channels alone
    where every image has its own height and width."""
    images: np.ndarray | None
    """The images, uint8 of shape ``(size, height, width, channels)`` where resident, else None; those that cannot be
    read are black."""
    labels: np.ndarray | None
    """The labels, int32 of shape ``(size,)`` where resident, else None."""
    _loader: Loader = dataclasses.field(repr=False)
    repeats: int = 1
    """The number of times that a training batch holds each of its images."""
    views: Views = SINGLE_CROP
    """The views of an image over which an evaluation of this split averages."""
    readable: np.ndarray | None = None
    """Whether each image can be read, bool of shape ``(size,)`` where resident, else None: a stream finds out."""

    @property
    def resident(self) -> bool:
        """Whether the images are in memory, and batches hold indices into them."""
        return self.images is not None

    @property
    def unreadable(self) -> tuple[int, ...]:
        """The indices, below ``size``, of the images that this process has found to be unreadable so far."""
        return self._loader.unreadable if self.readable is None else tuple(np.flatnonzero(~self.readable).tolist())

    @property
    def views_per_image(self) -> int:
        """The number of views that the network takes of each image of an evaluation batch."""
        if isinstance(self.views, Dense):
            return 2 if self.views.flip else 1
        return self.image_shape[0] if len(self.image_shape) == 4 else 1

    @property
    def appearances(self) -> int:
        """How often `evaluation_batches` yields each image: once for each scale of `Dense`, else once."""
        return len(self.views.short_sides) if isinstance(self.views, Dense) else 1

    @property
    def bad(self) -> list[tuple[str, str]]:
        """The images found to be unreadable, each as (path or record, reason); a stream finds them as it reads."""
        return self._loader.bad

    def image_name(self, index: int) -> str:
        """Returns a text by which a person finds an image: a file's path in the data set's folder, a record's number.

        It is the same wherever the data set lies, and has no line breaks.
        """
        place = escaped(str(Path(self._loader.source.name.partition(":")[2])))
        return self._loader.source.describe(index).removeprefix(f"{place}/")

    def reason(self, index: int) -> str | None:
        """Returns why an image cannot be read, which is tried unless it is known; None where it can be.

        Raises:
            UserError: too many images cannot be read.
        """
        return self._loader.reason(index)

    def fingerprint(self) -> Fingerprint:
        """Returns what can be known of all the split's images without reading them."""
        return fingerprint(self._loader.source)

    def refuse_bad(self, bad: Sequence[tuple[str, str]]) -> None:
        """Refuses the split if these images, which several processes may have found, are too many.

        Raises:
            UserError: they are more than ``max_bad_share`` of the split.
        """
        self._loader.refuse(bad)

    def numbers(self) -> np.ndarray:
        """Returns the `image_numbers` of all images, those that cannot be read included.

        Raises:
            UserError: some file is not an image at all, or they are not numbered.
        """
        if bad := self._loader.source.bad:
            path, reason = bad[0]
            raise UserError(f"{len(bad)} images of {self.name} have no answer, among them {path}, which {reason}")
        return image_numbers(self._loader.source)

    def valid_labels(self) -> list[Sequence[int]] | None:
        """Returns the `valid_labels` of all images."""
        return valid_labels(self._loader.source)

    def training_batches(
        self, seed: int, batch_size: int, first_step: int, last_step: int, rows: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Yields the batches of steps ``first_step`` to ``last_step - 1``.

        Each holds ``epoch`` and ``position`` (in the epoch's order), int32 of shape ``(batch_size,)``. Where the split
        is resident, it also holds ``index`` into the split's images, int32; where not, ``image``, uint8 of shape
        ``(batch_size, height, width, channels)``, and ``label``, int32. In a stream, the next image of the split that
        can be read replaces one that cannot.

        Args:
            seed: the seed of the order, and of the host's crops.
            batch_size: the number of images in a batch.
            first_step: the step to begin with.
            last_step: the step to end before.
            rows: the rows of each batch that are yielded, such as those of one of several processes; no others are
                read. By default all.

        Raises:
            UserError: more than ``max_bad_share`` of a streamed split cannot be read.
        """
        rows = np.arange(batch_size) if rows is None else rows
        if not self.resident:
            yield from self._stream(
                functools.partial(self._training_element, seed, batch_size),
                ("epoch", "position"),
                first_step,
                last_step,
                batch_size,
                rows,
            )
            return
        for step in range(first_step, last_step):
            sample = np.arange(step * batch_size, (step + 1) * batch_size)
            sample = sample[np.argsort(sample % self.repeats, kind="stable")][rows]  # as `sample_of`
            epoch, position = np.divmod(sample, self.size)
            index = np.empty(len(rows), np.int32)
            for each in np.unique(epoch):
                index[epoch == each] = epoch_order(seed, int(each), self.size)[position[epoch == each] // self.repeats]
            yield {"index": index, "epoch": epoch.astype(np.int32), "position": position.astype(np.int32)}

    def evaluation_batches(self, batch_size: int, rows: np.ndarray | None = None, first: int = 0) -> Iterator[Batch]:
        """Yields every image as often as `appearances` says, the last batch padded to ``batch_size``.

        Each batch holds ``mask``, bool of shape ``(batch_size,)``, False for padding and for images that cannot be
        read, and ``index``, int32, the images' indices in the split. A stream's also holds ``image``, uint8 of shape
        ``(batch_size, *image_shape)``, and ``label``, int32. Images come in the split's order; those of a split opened
        for `Dense` come as `by_shape` groups them.

        Args:
            batch_size: the number of images in a batch.
            rows: as for `training_batches`. Where images are grouped by shape, every process reads all of them, because
                it must know which batch each image is in.
            first: the index of the image that the first batch begins with. Where images are grouped by shape, it must
                be 0.

        Raises:
            UserError: more than ``max_bad_share`` of a streamed split cannot be read.
        """
        rows = np.arange(batch_size) if rows is None else rows
        batches = -(-(self.size - first) // batch_size)
        if isinstance(self.views, Dense):
            assert not first
            yield from ({name: value[rows] for name, value in batch.items()} for batch in self._whole(batch_size))
        elif not self.resident:
            load = functools.partial(self._evaluation_element, first)
            yield from self._stream(load, ("index", "mask"), 0, batches, batch_size, rows)
        else:
            for step in range(batches):
                index = first + step * batch_size + rows
                mask = index < self.size
                index = np.where(mask, index, 0).astype(np.int32)
                yield {"index": index, "mask": mask if self.readable is None else mask & self.readable[index]}

    def _whole(self, batch_size: int) -> Iterator[Batch]:
        """Yields every readable image once for each scale, in batches of one shape."""

        def elements() -> Iterator[tuple[np.ndarray, int, int]]:
            for index, loaded in enumerate(read_ahead(self._loader.load, self.size, self._loader.workers)):
                if loaded is not None:
                    images, label = loaded
                    yield from ((image, index, label) for image in images)

        return by_shape(elements(), batch_size)

    def _stream(
        self,
        load: Load,
        names: tuple[str, ...],
        first_step: int,
        last_step: int,
        batch_size: int,
        rows: np.ndarray,
    ) -> Iterator[Batch]:
        numbers = {name: ((), bool if name == "mask" else np.int32) for name in ("label", *names)}
        return stream(
            load,
            {"image": (self.image_shape, np.uint8), **numbers},
            first_step,
            last_step,
            batch_size=batch_size,
            rows=rows,
            workers=self._loader.workers,
            processes=self._loader.processes,
        )

    def _training_element(
        self, seed: int, batch_size: int, number: int, *, uncut: bool
    ) -> dict[str, ArrayLike | Uncut]:
        step, slot = divmod(number, batch_size)
        epoch, position = divmod(sample_of(slot, step, batch_size, self.repeats), self.size)
        index = int(epoch_order(seed, epoch, self.size)[position // self.repeats])
        # The crop does not depend on draws for another image.
        load = self._loader.load_uncut if uncut else self._loader.load
        draw = Draw(seed, epoch, position) if is_random(self._loader.crop) else None
        for shift in range(self.size):
            loaded = load((index + shift) % self.size, draw)
            if loaded is not None:
                image, label = loaded
                return {"image": image, "label": label, "epoch": epoch, "position": position}
        raise UserError(f"no image of {self.name} can be read, which max_bad_share allows: give other images")

    def _evaluation_element(self, first: int, number: int, *, uncut: bool) -> dict[str, ArrayLike | Uncut]:
        index = first + number
        load = self._loader.load_uncut if uncut else self._loader.load
        loaded = load(index) if index < self.size else None
        image, label = loaded or (np.zeros(self.image_shape, np.uint8), 0)
        index = index if index < self.size else 0
        return {"image": image, "label": label, "index": index, "mask": loaded is not None}


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """The splits that a run trains on and is measured on."""

    train: Split
    evaluation: Split
    class_names: tuple[str, ...]
