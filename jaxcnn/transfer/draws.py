"""The images of a study: a pool of all that some split draws, and each split as a folder data set of links into it."""

import dataclasses
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from jaxcnn.config import DataConfig
from jaxcnn.config.study import StudyConfig
from jaxcnn.data.sources import Source, evaluation_split, open_source, split_names
from jaxcnn.errors import UserError, writing
from jaxcnn.paths import replace_whole
from jaxcnn.work_folder import OTHER_FOLDER

POOL = "all"
"""The one split of the folder data set of all images."""


class Image(NamedTuple):
    """An image, by its place in the sources."""

    source: int
    index: int


@dataclasses.dataclass(frozen=True)
class Drawn:
    """The training and the test images of a split, as indices into the pool's images of each class."""

    train: tuple[tuple[int, ...], ...]
    """The images to train on, for each class, in the order in which they are taken."""
    test: tuple[tuple[int, ...], ...]
    """The images to measure on, for each class."""

    def of(self, per_class: int) -> tuple[tuple[int, ...], ...]:
        """Returns the first training images of each class.

        Args:
            per_class: the number of images of each class.
        """
        return tuple(images[:per_class] for images in self.train)


def open_sources(data: DataConfig) -> list[Source]:
    """Opens the splits whose images are drawn from: the training split, and the one to measure on if there is one.

    Raises:
        UserError: there is no such data set, or its splits have different classes.
    """
    names = [data.train_split or "train"]
    if data.evaluation_split or len(split_names(data.name, data.data_dir)) > 1:
        names.append(data.evaluation_split or evaluation_split(data.name, data.data_dir))
    sources = [open_source(data.name, each, data.data_dir) for each in dict.fromkeys(names)]
    first, *others = sources
    for other in others:
        if other.class_names != first.class_names:
            raise UserError(
                f"{first.title} and {other.title} have different classes, so they cannot be drawn from together: name "
                "two splits of the same classes"
            )
    return sources


def images_by_class(sources: Sequence[Source]) -> tuple[tuple[Image, ...], ...]:
    """Returns the images of each class, in order; where a source must read an image for its label, it reads all."""
    found: dict[int, list[Image]] = defaultdict(list)
    for number, source in enumerate(sources):
        for index in range(source.size):
            found[source.label_of(index)].append(Image(number, index))
    return tuple(tuple(found[label]) for label in range(len(sources[0].class_names)))


def draw(images: Sequence[Sequence[Image]], class_names: Sequence[str], split: int, config: StudyConfig) -> Drawn:
    """Draws a split: a pure function of the seed, the number of the split, and the images of each class.

    Args:
        images: the images of each class.
        class_names: the names of the classes, for the message.
        split: the number of the split, counted from 0.
        config: the options of the study.

    Raises:
        UserError: a class has too few images.
    """
    most, train, test = max(config.images_per_class), [], []
    for label, found in enumerate(images):
        order = np.random.default_rng([config.seed + split, label]).permutation(len(found)).tolist()
        if config.keeps_splits:
            tested = [image for image, place in enumerate(found) if place.source > 0]
            rest = [image for image in order if found[image].source == 0]
        else:
            tested, rest = order[: config.tested_per_class], order[config.tested_per_class :]
        if len(rest) < most or not tested:
            _refuse_few(found, class_names[label], config, most)
        train.append(tuple(rest))
        test.append(tuple(tested))
    return Drawn(tuple(train), tuple(test))


def _refuse_few(found: Sequence[Image], name: str, config: StudyConfig, most: int) -> NoReturn:
    if config.keeps_splits:
        own = sum(place.source == 0 for place in found)
        raise UserError(
            f"the class {name!r} has {own} images to train on and {len(found) - own} to measure on, and a split takes "
            f"{most} to train on: give fewer with --images-per-class, or more images"
        )
    raise UserError(
        f"the class {name!r} has {len(found)} images, and a split takes {config.tested_per_class} to measure on and "
        f"{most} to train on: give fewer with --tested-per-class and --images-per-class"
    )


@dataclasses.dataclass(frozen=True)
class Pool:
    """The folder data set of the images that some split draws; its one split is `POOL`.

    Args:
        folder: its folder.
        sources: the splits that the images are taken from.
        images: the images of each class.
    """

    folder: Path
    sources: Sequence[Source]
    images: tuple[tuple[Image, ...], ...]

    def path(self, label: int, image: int) -> Path:
        """Returns the path of an image of a class in the data set's folder, ``CLASS/NAME``."""
        place = self.images[label][image]
        source = self.sources[place.source]
        suffix = Path(source.file_name(place.index)).suffix if source.file_name else ".png"
        return Path(self.sources[0].class_names[label].replace("/", "_"), f"{place.source}-{place.index:07}{suffix}")

    def fill(self, chosen: Iterable[tuple[int, int]]) -> None:
        """Writes those of the chosen images (class, image) that are not there yet.

        Raises:
            UserError: an image cannot be read, or the folder cannot be written.
            MachineError: the disk is full, or fails.
        """
        for label, image in sorted(set(chosen)):
            path, place = self.folder / POOL / self.path(label, image), self.images[label][image]
            if path.exists():
                continue
            source = self.sources[place.source]
            try:
                content, _ = source.read(place.index)
            except OSError as error:
                what = source.describe(place.index)
                raise UserError(
                    f"{what} cannot be read ({error.strerror or error}): mend it, or take it away"
                ) from None
            with writing(self.folder, OTHER_FOLDER):
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_whole(path, content if isinstance(content, bytes) else _as_png(content))

    def link(self, drawn: Drawn, per_class: int, folder: Path) -> None:
        """Makes a folder data set of links to the images of a split, which are in the pool, unless it is there.

        Args:
            drawn: the split; its training images go to ``train``, its test images to ``test``.
            per_class: the number of training images of each class.
            folder: the folder of the data set.

        Raises:
            UserError: the folder cannot be written.
            MachineError: the disk is full, or fails.
        """
        with writing(folder, OTHER_FOLDER):
            for name, images in (("train", drawn.of(per_class)), ("test", drawn.test)):
                for label, chosen in enumerate(images):
                    for image in chosen:
                        path = self.path(label, image)
                        link, target = folder / name / path, self.folder / POOL / path
                        link.parent.mkdir(parents=True, exist_ok=True)
                        if not link.is_symlink():
                            link.symlink_to(os.path.relpath(target, link.parent))


def _as_png(pixels: np.ndarray) -> bytes:
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "png")
    return file.getvalue()
