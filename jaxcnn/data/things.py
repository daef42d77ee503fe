"""The things that scenes show: cut-outs in a folder for each category, or the ink of a data set's grey images.

No thing is in both splits, and each is of one class.
"""

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcnn.config import DataConfig
from jaxcnn.config.scenes import ScenesConfig
from jaxcnn.data.chosen import SPLITS, choose, class_names, divide, file_name
from jaxcnn.data.cut_outs import SEEN, CutOut, find_categories, read_cut_out, trimmed
from jaxcnn.data.decode import DecodeError, decode
from jaxcnn.data.sources import Source, evaluation_split, open_source, source_kinds
from jaxcnn.errors import UserError
from jaxcnn.paths import expanded
from jaxcnn.text import escaped

_EDGE = 96
"""The grey value, of a scaled image of ink, through which the edge of the ink goes."""


@dataclasses.dataclass(frozen=True)
class Thing:
    """One thing that can be shown."""

    name: str
    """The path of the cut-out below its folder; or the split and the index of the image of ink, ``train/17``."""
    class_name: str
    """The name of its class."""
    sha256: str
    """The SHA-256 of the cut-out's file, or of the image's pixels."""


class Things(ABC):
    """All things of both splits that scenes are made of."""

    class_names: tuple[str, ...]
    """The names of the classes, sorted, each such as a file's name can hold."""
    are_ink: bool
    """Whether they are ink, which takes any colour and is never mirrored."""

    @abstractmethod
    def drawn(self, split: int, rng: np.random.RandomState) -> Thing:
        """Returns a random thing of a split, 0 or 1 as in `SPLITS`."""

    @abstractmethod
    def shown(self, thing: Thing, side: int) -> np.ndarray:
        """Returns a thing of a size, without margins.

        Args:
            thing: the thing.
            side: the length of its longer side, in pixels, about which that of ink may be.

        Returns:
            Red, green, blue and alpha, uint8 of shape ``(height, width, 4)``, none longer than ``side``; alpha is 0, or
            at least `SEEN`. Where nothing is to be seen at that size, it has no pixels.
        """


def open_things(things: str, config: ScenesConfig, data_dir: str | None, workers: int) -> Things:
    """Returns the things of a name.

    Args:
        things: a data set's name of a kind that is registered, such as ``digits`` or ``tfds:mnist``; else a folder of
            cut-outs.
        config: the options.
        data_dir: where tfds keeps its prepared data sets.
        workers: the number of threads.

    Raises:
        UserError: there is no such data set or folder, its images are not of ink, or there are too few cut-outs.
    """
    if things.partition(":")[0] in source_kinds():
        return _Inks(things, data_dir)
    return _CutOuts(expanded(things), config, workers)


class _CutOuts(Things):
    """Cut-outs, of which each class is drawn as often as any other."""

    are_ink = False

    def __init__(self, folder: Path, config: ScenesConfig, workers: int) -> None:
        found = find_categories(
            folder, drawings=config.drawings, drawing_folders=config.drawing_folders, workers=workers
        )
        names = class_names(found)
        chosen = {names[each.folder]: each for each in choose(found, config, folder)}
        self._folder = folder
        self._divided: Mapping[str, tuple[Sequence[CutOut], Sequence[CutOut]]] = {
            name: divide(category, config) for name, category in chosen.items()
        }
        self.class_names = tuple(sorted(chosen))

    def drawn(self, split: int, rng: np.random.RandomState) -> Thing:
        name = self.class_names[rng.randint(len(self.class_names))]
        among = self._divided[name][split]
        cut_out = among[rng.randint(len(among))]
        return Thing(cut_out.path, name, cut_out.sha256)

    def shown(self, thing: Thing, side: int) -> np.ndarray:
        pixels = read_cut_out(self._folder, CutOut(thing.name, thing.sha256))
        return _seen(np.asarray(_scaled(Image.fromarray(pixels), side)))


class _Inks(Things):
    """The ink of grey images, light on black, each image drawn as often as any other."""

    are_ink = True

    def __init__(self, name: str, data_dir: str | None) -> None:
        names = ("train", evaluation_split(name, data_dir))
        self._sources = [open_source(name, split, data_dir) for split in names]
        self._names = [file_name(each) for each in self._sources[0].class_names]
        self.class_names = tuple(sorted(self._names))
        if len(set(self._names)) < len(self._names) or self._sources[0].class_names != self._sources[1].class_names:
            raise UserError(
                f"{escaped(name)} has classes whose names are alike, or differ between splits: name another"
            )

    def drawn(self, split: int, rng: np.random.RandomState) -> Thing:
        source = self._sources[split]
        index = rng.randint(len(source))
        pixels, label = _grey(source, index)
        return Thing(f"{SPLITS[split]}/{index}", self._names[label], hashlib.sha256(pixels.tobytes()).hexdigest())

    def shown(self, thing: Thing, side: int) -> np.ndarray:
        split, _, index = thing.name.partition("/")
        grey, _ = _grey(self._sources[SPLITS.index(split)], int(index))
        ink = trimmed(np.repeat(grey[..., None], 4, axis=-1))[..., 3]
        # The margin lets a stroke that ends with the image end as others do.
        factor = side / (max(ink.shape) + 2)
        scaled = np.asarray(_scaled(Image.fromarray(np.pad(ink, 1)), side), np.float32)
        # What was a step between two pixels is one still, and not as wide as the pixels have become.
        alpha = np.clip(127.5 + (scaled - _EDGE) * max(factor, 1), 0, 255).astype(np.uint8)
        return _seen(np.repeat(alpha[..., None], 4, axis=-1))


def _grey(source: Source, index: int) -> tuple[np.ndarray, int]:
    """Returns an image of ink, uint8 of shape ``(height, width)``, and its label."""
    image, label = source[index]
    try:
        pixels = decode(image, 3, DataConfig.max_pixels) if isinstance(image, bytes) else image
    except DecodeError as error:
        raise UserError(f"{source.describe(index)} of {source.title} {error}: name another data set") from None
    if (pixels != pixels[..., :1]).any() or not (pixels >= SEEN).any() or (pixels >= SEEN).all():
        raise UserError(
            f"{source.describe(index)} of {source.title} is not ink on black in grey: name a data set such as digits, "
            "or a folder of cut-outs"
        )
    return pixels[..., 0], label


def _scaled(image: Image.Image, side: int) -> Image.Image:
    factor = side / max(image.size)
    width, height = (min(max(round(factor * length), 1), side) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _seen(pixels: np.ndarray) -> np.ndarray:
    """Returns a thing without what is nearly transparent, and without the margins that this leaves."""
    pixels = np.where(pixels[..., 3:] >= SEEN, pixels, 0)
    return trimmed(pixels) if pixels[..., 3].any() else pixels[:0, :0]
