"""From a `DataConfig` to host batches, each a pure function of (seed, step).

Training walks one endless line of positions: step s takes positions s * batch_size to (s + 1) * batch_size - 1, and
position p is place p % size in the order of epoch p // size. So an epoch shows every image once, nothing is dropped
at its end, and a run goes on from any step without any state of an iterator.

With repeated augmentation, place p % size shows image (p % size) // repeats of the order instead, which is also how
timm's and torchvision's samplers line images up. Those deal the line out to processes like cards, so that an image's
copies are on different ones. Here a batch holds the first copies of all its images, then the second ones, and so on
(see `position_of`), so that copies are far apart for any number of devices: mixing blends an image with its neighbour,
and must not meet a copy. Two more things differ from theirs. An epoch is all of ``size`` places, theirs are cut to
whole multiples of 256. And a copy's augmentation is its place's, not a worker's.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from jaxcnn.config import Crop, DataConfig, Dense, FixedViews, SingleCrop, Views
from jaxcnn.data.crop import CropError, carry_out, is_random, plan
from jaxcnn.data.decode import DecodeError, decode, jpeg_size, with_channels
from jaxcnn.data.numbering import image_numbers, valid_labels, without
from jaxcnn.data.sources import Source, check_same_classes, evaluation_split, open_source, random_state, refuse_bad
from jaxcnn.data.stream import Batch, available_cores, stream
from jaxcnn.data.views import cut_views, scaled_images, view_count
from jaxcnn.data.whole import by_shape, read_ahead
from jaxcnn.errors import UserError


@functools.lru_cache(maxsize=2)  # a batch may span the end of one epoch and the start of the next
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Returns the order in which an epoch visits the images: int32 of shape ``(size,)``, a permutation, read-only.

    The same in every release of NumPy: see `sources.random_state`.
    """
    order = random_state(seed, epoch).permutation(size).astype(np.int32)
    order.flags.writeable = False
    return order


def image_rng(seed: int, epoch: int, place: int) -> np.random.RandomState:
    """Returns the generator of the host's crop of the image at this place of this epoch.

    Philox counts: a generator costs a tenth of what seeding the Mersenne twister of `epoch_order` does. NEP 19 freezes
    this stream too.
    """
    # The lowest 64 bits of the counter are the generator's own: they count its draws.
    return np.random.RandomState(np.random.Philox(key=seed, counter=place << 64 | epoch << 128))


def position_of(slot: int, step: int, batch_size: int, repeats: int) -> int:
    """Returns which position of the line a slot of a step's batch shows.

    The batch's positions by their remainder by ``repeats``, each remainder's in order: copies of an image, which are at
    positions side by side, come to lie about ``batch_size / repeats`` slots apart.

    >>> [position_of(slot, step=1, batch_size=6, repeats=3) for slot in range(6)]
    [6, 9, 7, 10, 8, 11]
    """
    start, stop = step * batch_size, (step + 1) * batch_size
    for remainder in range(repeats):
        positions = range(start + (remainder - start) % repeats, stop, repeats)
        if slot < len(positions):
            return positions[slot]
        slot -= len(positions)
    raise IndexError(f"there is no such slot in a batch of {batch_size}")


class _Loader:
    """Reads, decodes and cuts a split's images, and keeps the account of those that cannot be."""

    def __init__(self, source: Source, crop: Crop | FixedViews | Dense, config: DataConfig):
        self.source = source
        self.crop = crop
        self.config = config
        self._reasons: dict[int, str] = {}
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """Threads; 0 for none beside the caller's."""
        return available_cores() if self.config.workers is None else self.config.workers

    @property
    def bad(self) -> list[tuple[str, str]]:
        """(path or record, reason) of each image found to be unreadable so far."""
        with self._lock:
            reasons = sorted(self._reasons.items())
        return [*self.source.bad, *((self.source.describe(index), reason) for index, reason in reasons)]

    def load(self, index: int, rng: np.random.RandomState | None = None) -> tuple[Any, int] | None:
        """One image and its label, or None if it cannot be read; raises `UserError` if too many cannot.

        Of `FixedViews` the views, and of `Dense` the list of scaled images, stand for the image.
        """
        if index not in self._reasons:
            try:
                image, label = self.source[index]
                if isinstance(self.crop, FixedViews):
                    return cut_views(self._whole(image), self.crop), label
                if isinstance(self.crop, Dense):
                    return scaled_images(self._whole(image), self.crop), label
                return self._cut(image, rng), label
            except OSError as error:
                reason = f"cannot be read ({error.strerror or error})"
            except (DecodeError, CropError) as error:
                reason = str(error)
            with self._lock:
                self._reasons[index] = reason
        self.refuse(self.bad)
        return None

    def refuse(self, bad: Sequence[tuple[str, str]]) -> None:
        """Raises `UserError` if these are too many."""
        total = self.source.size + len(self.source.bad)
        refuse_bad(bad, total, self.config.max_bad_share, f"{self.source.name}, split {self.source.split!r}")

    def _whole(self, image: bytes | np.ndarray, rows: int | None = None) -> np.ndarray:
        channels = self.config.channels
        if isinstance(image, bytes):
            image = decode(image, channels, self.config.max_pixels, rows)
        return with_channels(image, channels)

    def _cut(self, image: bytes | np.ndarray, rng: np.random.RandomState | None) -> np.ndarray:
        planned = None
        if isinstance(image, bytes) and (size := jpeg_size(image)):
            planned = plan(self.crop, *size, rng)
        pixels = self._whole(image, planned and planned.box[0] + planned.box[2])
        return carry_out(planned or plan(self.crop, *pixels.shape[:2], rng), pixels, self.crop)


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One split, cut to one size: resident in memory, or read as it is asked for."""

    name: str
    class_names: tuple[str, ...]
    size: int
    """Images; a resident split's are those that could be read."""
    image_shape: tuple[int, ...]
    """Height, width, channels; before them the number of views, where there are several. Channels alone where every
    image has its own height and width."""
    images: np.ndarray | None
    """uint8 of shape ``(size, height, width, channels)`` where resident, else None."""
    labels: np.ndarray | None
    """int32 of shape ``(size,)`` where resident, else None."""
    _loader: _Loader = dataclasses.field(repr=False)
    repeats: int = 1
    """Times a training batch holds each of its images."""

    @property
    def resident(self) -> bool:
        """Whether the images are in memory, and batches hold indices into them."""
        return self.images is not None

    @property
    def bad(self) -> list[tuple[str, str]]:
        """(path or record, reason) of each image found to be unreadable; a stream finds them as it goes."""
        return self._loader.bad

    def refuse_bad(self, bad: Sequence[tuple[str, str]]) -> None:
        """Refuses the split if these images, which several processes may have found, are too many.

        Raises:
            UserError: they are more than ``max_bad_share`` of it.
        """
        self._loader.refuse(bad)

    def numbers(self) -> np.ndarray:
        """Returns `image_numbers`, of every image.

        Raises:
            UserError: some image is missing, or they are not numbered.
        """
        if self.bad:
            path, reason = self.bad[0]
            raise UserError(f"{len(self.bad)} images of {self.name} have no answer, among them {path}, which {reason}")
        return image_numbers(self._loader.source)

    def valid_labels(self) -> list[Sequence[int]] | None:
        """Returns `valid_labels`, of every image.

        Raises:
            UserError: some image is missing.
        """
        if self.resident and self.bad:
            raise UserError(
                f"images of {self.name} cannot be read, so its labels cannot be told: use residence 'stream'"
            )
        return valid_labels(self._loader.source)

    def training_batches(
        self, seed: int, batch_size: int, first_step: int, last_step: int, rows: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Yields the batches of steps ``first_step`` to ``last_step - 1``.

        Each holds ``epoch`` and ``place`` (the image's position in the epoch's order), int32 of shape
        ``(batch_size,)``, and, where the split is resident, ``index`` into its images, int32; else ``image``, uint8 of
        shape ``(batch_size, height, width, channels)``, and ``label``, int32. In a stream, the next good image of the
        split stands in for one that cannot be read.

        Args:
            seed: of the order, and of the host's crops.
            batch_size: images a step.
            first_step: where to begin.
            last_step: where to end.
            rows: which rows of each batch it holds, and nothing else is read: those of one of several processes. By
                default all.

        Raises:
            UserError: more than ``max_bad_share`` of a streamed split cannot be read.
        """
        rows = np.arange(batch_size) if rows is None else rows
        if not self.resident:
            yield from self._stream(
                functools.partial(self._training_element, seed, batch_size),
                ("epoch", "place"),
                first_step,
                last_step,
                batch_size,
                rows,
            )
            return
        for step in range(first_step, last_step):
            line = np.arange(step * batch_size, (step + 1) * batch_size)
            line = line[np.argsort(line % self.repeats, kind="stable")][rows]  # as `position_of`
            epoch, place = np.divmod(line, self.size)
            index = np.empty(len(rows), np.int32)
            for each in np.unique(epoch):
                index[epoch == each] = epoch_order(seed, int(each), self.size)[place[epoch == each] // self.repeats]
            yield {"index": index, "epoch": epoch.astype(np.int32), "place": place.astype(np.int32)}

    def evaluation_batches(self, batch_size: int, rows: np.ndarray | None = None) -> Iterator[Batch]:
        """Yields every image once, in the split's order, the last batch padded to ``batch_size``.

        Each batch holds ``mask``, bool of shape ``(batch_size,)``, False for padding and for images that cannot be
        read, and ``index``, or ``image`` and ``label``, as `training_batches` does.

        Args:
            batch_size: images a batch.
            rows: as for `training_batches`.

        Raises:
            UserError: more than ``max_bad_share`` of a streamed split cannot be read.
        """
        rows = np.arange(batch_size) if rows is None else rows
        batches = -(-self.size // batch_size)
        if not self.resident:
            yield from self._stream(self._evaluation_element, ("mask",), 0, batches, batch_size, rows)
            return
        for step in range(batches):
            index = step * batch_size + rows
            mask = index < self.size
            yield {"index": np.where(mask, index, 0).astype(np.int32), "mask": mask}

    def whole_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields every readable image of a split opened for `Dense` once a scale, in batches of one shape.

        Each batch is as `by_shape` makes it; ``index`` is the image's place in the split.

        Raises:
            UserError: more than ``max_bad_share`` of the split cannot be read.
        """

        def elements() -> Iterator[tuple[np.ndarray, int, int]]:
            for index, loaded in enumerate(read_ahead(self._loader.load, self.size, self._loader.workers)):
                if loaded is not None:
                    images, label = loaded
                    yield from ((image, index, label) for image in images)

        return by_shape(elements(), batch_size)

    def _stream(
        self,
        load: Callable[[int], dict[str, Any]],
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
        )

    def _training_element(self, seed: int, batch_size: int, number: int) -> dict[str, Any]:
        step, slot = divmod(number, batch_size)
        epoch, place = divmod(position_of(slot, step, batch_size, self.repeats), self.size)
        index = int(epoch_order(seed, epoch, self.size)[place // self.repeats])
        for shift in range(self.size):
            # A new generator each time: the stand-in's crop must not depend on what its predecessor drew.
            rng = image_rng(seed, epoch, place) if is_random(self._loader.crop) else None
            loaded = self._loader.load((index + shift) % self.size, rng)
            if loaded is not None:
                image, label = loaded
                return {"image": image, "label": label, "epoch": epoch, "place": place}
        raise UserError(f"no image of {self.name} can be read: see max_bad_share, which allows this")

    def _evaluation_element(self, position: int) -> dict[str, Any]:
        loaded = self._loader.load(position) if position < self.size else None
        image, label = loaded or (np.zeros(self.image_shape, np.uint8), 0)
        return {"image": image, "label": label, "mask": loaded is not None}


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """What a run trains on and is measured on."""

    train: Split
    evaluation: Split
    class_names: tuple[str, ...]


def _read_all(loader: _Loader) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of a split that can be read, in its order."""
    source, config = loader.source, loader.config
    images = np.zeros((source.size, loader.crop.size, loader.crop.size, config.channels), np.uint8)
    labels = np.zeros(source.size, np.int32)
    good = np.zeros(source.size, bool)

    def read(start: int) -> None:
        for index in range(start, min(start + 64, source.size)):
            loaded = loader.load(index)
            if loaded is not None:
                images[index], labels[index] = loaded
                good[index] = True

    with ThreadPoolExecutor(config.workers or available_cores()) as pool:
        for _ in pool.map(read, range(0, source.size, 64)):
            pass
    if not good.any():
        raise UserError(f"no image of {source.name}, split {source.split!r}, can be read: see max_bad_share")
    return (images, labels) if good.all() else (images[good], labels[good])


def _split(
    source: Source, crop: Crop | FixedViews | Dense, config: DataConfig, resident: bool, repeats: int = 1
) -> Split:
    loader = _Loader(source, crop, config)
    images, labels = _read_all(loader) if resident else (None, None)
    views = (view_count(crop),) if isinstance(crop, FixedViews) else ()
    sides = () if isinstance(crop, Dense) else (crop.size, crop.size)
    return Split(
        name=f"{source.name}, split {source.split!r}",
        class_names=source.class_names,
        size=len(images) if resident else source.size,
        image_shape=(*views, *sides, config.channels),
        images=images,
        labels=labels,
        _loader=loader,
        repeats=repeats,
    )


def _source(config: DataConfig, split: str) -> Source:
    return open_source(
        config.name,
        split,
        config.data_dir,
        image_size=config.evaluation_crop.size,
        max_bad_share=config.max_bad_share,
    )


def _is_resident(config: DataConfig, *splits: tuple[Source, Crop]) -> bool:
    random = any(is_random(crop) for _, crop in splits)
    match config.residence:
        case "stream":
            return False
        case "device" if random:
            raise UserError(
                "residence 'device' keeps one cut of each image, but train_crop is random: choose another crop, or "
                "residence 'stream'"
            )
        case "device":
            return True
        case "auto":
            needed = sum(source.size * crop.size**2 * config.channels for source, crop in splits)
            return not random and needed <= config.resident_bytes


def check_evaluation_crop(config: DataConfig) -> None:
    """Refuses to measure on random crops.

    Raises:
        UserError: naming the option.
    """
    if is_random(config.evaluation_crop):
        raise UserError("evaluation_crop is random, and a measurement must not be: choose center_crop or resize")


def _evaluation_source(config: DataConfig, split: str | None) -> Source:
    check_evaluation_crop(config)
    return _source(config, split or evaluation_split(config.name, config.data_dir))


def open_split(
    config: DataConfig, split: str | None = None, views: Views | None = None, left_out: Sequence[str] = ()
) -> Split:
    """Opens one split, cut as for evaluation.

    Args:
        config: which data set, and how it is cut.
        split: by default ``config.evaluation_split``, and where that is None, `sources.evaluation_split`.
        views: of each image, instead of its ``evaluation_crop``; they are always streamed.
        left_out: images that are not to be part of it: see `without`.

    Raises:
        UserError: no such data set, split or image, a random ``evaluation_crop``, views that shall be resident, or too
            many bad images.
    """
    source = _evaluation_source(config, split or config.evaluation_split)
    source = without(source, left_out) if left_out else source
    if views is None or isinstance(views, SingleCrop):
        crop = config.evaluation_crop
        return _split(source, crop, config, _is_resident(config, (source, crop)))
    if config.residence == "device":
        raise UserError(f"residence 'device' keeps one cut of each image, and {views.kind} takes several: use 'stream'")
    return _split(source, views, config, resident=False)


def open_data(config: DataConfig) -> Data:
    """Opens the splits a run trains on and is measured on; reads all of them where they are resident.

    Raises:
        UserError: no such data set or split, splits of different classes, a random crop where there must be none, or
            too many bad images.
    """
    train = _source(config, config.train_split or "train")
    evaluation = _evaluation_source(config, config.evaluation_split)
    check_same_classes(train, evaluation)
    resident = _is_resident(config, (train, config.train_crop), (evaluation, config.evaluation_crop))
    return Data(
        train=_split(train, config.train_crop, config, resident, config.repeats),
        evaluation=_split(evaluation, config.evaluation_crop, config, resident),
        class_names=train.class_names,
    )
