"""The splits of a `DataConfig` as host batches, each a pure function of (seed, step).

`jaxcnn.data.order` says which image a training step shows, and in which slot of the batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from jaxcnn.config import Crop, DataConfig, Dense, FixedViews, SingleCrop, Views
from jaxcnn.data.crop import is_random
from jaxcnn.data.fingerprint import Fingerprint, fingerprint
from jaxcnn.data.loader import Loader
from jaxcnn.data.numbering import image_numbers, valid_labels, without
from jaxcnn.data.order import epoch_order, image_rng, sample_of
from jaxcnn.data.sources import Source, check_same_classes, evaluation_split, open_source
from jaxcnn.data.stream import Batch, available_cores, stream
from jaxcnn.data.views import view_count
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
        load: Callable[[int], Mapping[str, ArrayLike]],
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

    def _training_element(self, seed: int, batch_size: int, number: int) -> dict[str, ArrayLike]:
        step, slot = divmod(number, batch_size)
        epoch, position = divmod(sample_of(slot, step, batch_size, self.repeats), self.size)
        index = int(epoch_order(seed, epoch, self.size)[position // self.repeats])
        for shift in range(self.size):
            # The generator is made anew each time, so that the crop does not depend on draws for another image.
            rng = image_rng(seed, epoch, position) if is_random(self._loader.crop) else None
            loaded = self._loader.load((index + shift) % self.size, rng)
            if loaded is not None:
                image, label = loaded
                return {"image": image, "label": label, "epoch": epoch, "position": position}
        raise UserError(f"no image of {self.name} can be read, which max_bad_share allows: give other images")

    def _evaluation_element(self, first: int, number: int) -> dict[str, ArrayLike]:
        index = first + number
        loaded = self._loader.load(index) if index < self.size else None
        image, label = loaded or (np.zeros(self.image_shape, np.uint8), 0)
        index = index if index < self.size else 0
        return {"image": image, "label": label, "index": index, "mask": loaded is not None}


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """The splits that a run trains on and is measured on."""

    train: Split
    evaluation: Split
    class_names: tuple[str, ...]


def _read_all(loader: Loader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns all images of a split, their labels, and whether each can be read, in the split's order."""
    source, config, crop = loader.source, loader.config, loader.crop
    assert not isinstance(crop, Dense)  # whole images have no one size, and so are streamed
    images = np.zeros((source.size, crop.size, crop.size, config.channels), np.uint8)
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
        raise UserError(f"no image of {source.title}, can be read, which max_bad_share allows: give other images")
    return images, labels, good


def _split(
    source: Source,
    crop: Crop | FixedViews | Dense,
    config: DataConfig,
    resident: bool,
    *,
    repeats: int = 1,
    trained_on: bool = False,
) -> Split:
    loader = Loader(source, crop, config)
    images = labels = readable = None
    if resident:
        images, labels, readable = _read_all(loader)
        if trained_on:
            # A step takes no image that cannot be read. To an evaluation, an image's index is its place in the source.
            images, labels, readable = images[readable], labels[readable], None
    count = (view_count(crop),) if isinstance(crop, FixedViews) else ()
    sides = () if isinstance(crop, Dense) else (crop.size, crop.size)
    return Split(
        name=source.title,
        class_names=source.class_names,
        size=source.size if images is None else len(images),
        image_shape=(*count, *sides, config.channels),
        images=images,
        labels=labels,
        _loader=loader,
        repeats=repeats,
        views=crop if isinstance(crop, FixedViews | Dense) else SINGLE_CROP,
        readable=readable,
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
        UserError: ``evaluation_crop`` is random.
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
        config: the data set, and how it is cut.
        split: the name of the split; by default ``config.evaluation_split`` or, where that is None, that of
            `sources.evaluation_split`.
        views: the views of each image, instead of its ``evaluation_crop``; they are always streamed.
        left_out: the images that are left out of the split: see `without`.

    Raises:
        UserError: there is no such data set, split or image; ``evaluation_crop`` is random; several views are to be
            resident; or too many images cannot be read.
    """
    source = _evaluation_source(config, split or config.evaluation_split)
    source = without(source, left_out) if left_out else source
    if not isinstance(views, FixedViews | Dense):
        crop = config.evaluation_crop
        return _split(source, crop, config, _is_resident(config, (source, crop)))
    if config.residence == "device":
        raise UserError(f"residence 'device' keeps one cut of each image, and {views.kind} takes several: use 'stream'")
    return _split(source, views, config, resident=False)


def streamed_split(source: Source, config: DataConfig) -> Split:
    """Returns a split of a source that is already open, cut as for evaluation and streamed.

    Raises:
        UserError: ``evaluation_crop`` is random.
    """
    check_evaluation_crop(config)
    return _split(source, config.evaluation_crop, config, resident=False)


def open_data(config: DataConfig) -> Data:
    """Opens the splits that a run trains on and is measured on; reads all images of both where they are resident.

    Raises:
        UserError: there is no such data set or split, the splits have different classes, a crop is random that must not
            be, or too many images cannot be read.
    """
    train = _source(config, config.train_split or "train")
    evaluation = _evaluation_source(config, config.evaluation_split)
    check_same_classes(train, evaluation)
    resident = _is_resident(config, (train, config.train_crop), (evaluation, config.evaluation_crop))
    return Data(
        train=_split(train, config.train_crop, config, resident, repeats=config.repeats, trained_on=True),
        evaluation=_split(evaluation, config.evaluation_crop, config, resident),
        class_names=train.class_names,
    )


def open_measured(config: DataConfig) -> Data:
    """Opens the splits that something is fitted to and measured on, both streamed and cut as for evaluation.

    Raises:
        UserError: there is no such data set or split, the splits have different classes, or ``evaluation_crop`` is
            random.
    """
    train = _source(config, config.train_split or "train")
    evaluation = _evaluation_source(config, config.evaluation_split)
    check_same_classes(train, evaluation)
    return Data(streamed_split(train, config), streamed_split(evaluation, config), train.class_names)
