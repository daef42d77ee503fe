"""Opening the splits of a `DataConfig`: those to train on, and those to measure on."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jaxcnn.config import Crop, DataConfig, Dense, FixedViews, Views
from jaxcnn.data.crop import is_random
from jaxcnn.data.loader import Loader
from jaxcnn.data.numbering import without
from jaxcnn.data.pipeline import SINGLE_CROP, Data, Split
from jaxcnn.data.sources import Source, check_same_classes, evaluation_split, open_source
from jaxcnn.data.stream import available_cores
from jaxcnn.data.views import view_count
from jaxcnn.errors import UserError


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
