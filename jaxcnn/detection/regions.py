"""Features of regions: what a network's layers say of each box of each image, on the disk, a row for each region.

Regions are warped on the device from their image, which goes there once for each group of `regions_at_once` of its
regions. The groups are the same on any number of devices, so that the bits do not depend on it (see
`jaxcnn.features.extraction`), nor on where an extraction was interrupted.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import strict_json
from jaxcnn.config.features import FeaturesConfig, Pooling
from jaxcnn.data.stream import available_cores
from jaxcnn.data.threads import map_ahead
from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.boxes import check_boxes
from jaxcnn.detection.pictures import Pictures
from jaxcnn.detection.warp import CONTEXT, Canvases, canvases, check_context, outside, warped
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.processes import check_same
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError, writing
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.extraction import sha256_of
from jaxcnn.features.layers import Layer, choose, extractor, layers_of
from jaxcnn.features.store import KNOWN, LABEL, Features, Writer, file_of
from jaxcnn.features.streaming import PRESENT, over_devices, write_rows
from jaxcnn.networks import check_image_shape, check_normalization
from jaxcnn.paths import replace_whole
from jaxcnn.trained import Trained
from jaxcnn.training.lock import FolderLock
from jaxcnn.types import PyTree, Variables
from jaxcnn.work_folder import OTHER_FOLDER, by_writer

_LOG = logging.getLogger(__name__)
BOX = "box"
"""The name of the tensor of the regions' boxes beside those of the layers."""
_DIGITS = 16
"""The number of digits of a file's name that tell its features from others."""
_IMAGES_AHEAD = 4


class Regions(Features):
    """The features of the regions of a split's images, which are read as they are asked for.

    Args:
        path: the file; beside it lies its index, as `extract_regions` writes both.
        name: the name of the file's split, as the file has it.

    Raises:
        UserError: there are no such files, or they are damaged.
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, name)
        try:
            images = json.loads(_index_of(path).read_text())["images"]
            self._starts = np.array([0, *(each["regions"] for each in images)], np.int64).cumsum()
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{_index_of(path)} cannot be read: remove {path}, and extract the regions again") from None
        if self._starts[-1] != len(self):
            raise UserError(f"{_index_of(path)} is not the index of {path}: remove both, and extract the regions again")

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the network's layers; `layers` has the boxes, too."""
        return tuple(name for name in self.layers if name != BOX)

    def rows_of(self, image: int) -> slice:
        """Returns the rows of an image's regions, which are in the order of its boxes; none where it has no box.

        Args:
            image: the index of the image in its split.
        """
        return slice(int(self._starts[image]), int(self._starts[image + 1]))

    def values(self, layer: str | None = None, rows: slice = slice(None)) -> np.ndarray:
        """Returns the features of regions, float32 (regions, values): a map's values one after the other.

        Args:
            layer: the name of the layer; by default the only one.
            rows: the regions; by default all. Others than those of a slice can be taken from `mapped`.

        Raises:
            UserError: there is no such layer in the file, or there are several and none is named.
        """
        return super().values(self._named(layer), rows)

    def mapped(self, layer: str | None = None) -> np.ndarray:
        """Returns all features of a layer as `values` does, of which only what is looked at is read from the disk.

        Args:
            layer: the name of the layer; by default the only one.

        Raises:
            UserError: there is no such layer in the file, or there are several and none is named.
        """
        return super().mapped(self._named(layer))

    def boxes(self, rows: slice = slice(None)) -> np.ndarray:
        """Returns the boxes of regions, float32 (regions, 4): left, top, right and bottom, in pixels of their image."""
        return super().values(BOX, rows)

    def _named(self, layer: str | None) -> str:
        names = self.layer_names
        if layer is None and len(names) > 1:
            raise UserError(f"{self.path} holds the layers {', '.join(names)}: name one")
        return names[0] if layer is None else layer


@own_settings()
def extract_regions(
    trained: Trained,
    split: AnnotatedSplit,
    boxes: Sequence[np.ndarray],
    folder: Path,
    name: str,
    *,
    layer: str | None = None,
    pooling: Pooling = FeaturesConfig.pooling,
    size: int | None = None,
    context: int = CONTEXT,
    regions_at_once: int = FeaturesConfig.images_at_once,
    stop: Callable[[], bool] = lambda: False,
) -> Regions:
    """Returns the features of the regions of a split's images, which are computed unless the folder has them.

    The file is called by ``name`` and by a SHA-256 of all that its bits depend on: the network's variables, the layers,
    the size and the context of the regions, their boxes, and the fingerprint of the images. So the folder may hold
    features of several networks and boxes, and finds again what it holds. One program at a time writes there.

    Args:
        trained: the network.
        split: the split.
        boxes: for each image, the boxes of its regions, (regions, 4): left, top, right and bottom, in pixels. They may
            be the proposals and the objects' own boxes, one after the other; they may be degenerate or outside of the
            image, which is defined in `jaxcnn.detection.warp.warped`; and there may be none.
        folder: the folder, which is made if need be; a folder of its own, because it is locked meanwhile.
        name: the name of the split in the names of files.
        layer: a regular expression that the whole names of the layers match; by default the input of the last dense
            layer.
        pooling: what becomes of a layer's map.
        size: the height and width to which regions are warped; by default those of the network's images.
        context: the number of pixels around the box in a warped region.
        regions_at_once: the number of regions, of one image, that a device takes together.
        stop: called before each batch; of several processes it must be one that they agree on.

    Raises:
        Interrupted: ``stop`` returned True. What was computed is kept.
        UserError: there is no such layer, the size, the context or a box cannot be; an image cannot be read; or the
            folder is in use or cannot be written.
        MachineError: the disk is full, or fails; what was counted before stays whole.
    """
    channels = trained.data.channels
    size = trained.data.evaluation_crop.size if size is None else size
    check_context(size, context)
    check_normalization(trained.normalization, channels)
    check_image_shape(trained.model, trained.variables, (size, size, channels), "the size of regions")
    if len(boxes) != len(split.images):
        raise ValueError(f"{split.title} has {len(split.images)} images and not {len(boxes)}, as there are boxes of")
    checked = [check_boxes(each, f"the boxes of {image.name}") for each, image in zip(boxes, split.images, strict=True)]
    chosen = choose(layers_of(trained.model, trained.variables, (size, size, channels)), layer)
    facts = {
        "network": _described(trained.model),
        "weights_sha256": sha256_of(trained.variables),
        "normalization": dataclasses.asdict(trained.normalization),
        "channels": channels,
        "layers": [each.name for each in chosen],
        "pooling": pooling,
        "size": size,
        "context": context,
        "regions_at_once": regions_at_once,
        "boxes_sha256": _sha256(checked),
        "images": split.fingerprint().to_json(),
    }
    identity = hashlib.sha256(strict_json.dumps(facts).encode()).hexdigest()
    check_same("regions", identity)
    extraction = _Extraction(trained, split, checked, chosen, pooling, size, context, regions_at_once, stop)
    return extraction.run(folder, f"{name}-{identity[:_DIGITS]}", identity)


def _described(model: nn.Module) -> str:
    """Returns the class of a network and its options, as far as they are the same in every process."""
    assert dataclasses.is_dataclass(model)  # Flax makes every module one
    options = {field.name: repr(getattr(model, field.name)) for field in dataclasses.fields(model) if field.repr}
    told = {name: value for name, value in options.items() if " at 0x" not in value and name not in ("name", "parent")}
    return f"{type(model).__module__}.{type(model).__qualname__} {strict_json.dumps(told)}"


def _sha256(boxes: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for each in boxes:
        digest.update(f"{len(each)}\n".encode())
        digest.update(each.tobytes())
    return digest.hexdigest()


def _index_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


class _Group(NamedTuple):
    """Some regions of one image, which a device takes together."""

    image: int
    """The index of the image."""
    first: int
    """The row of the first of them."""
    boxes: np.ndarray
    """Their boxes, at most as many as a device takes."""


@dataclasses.dataclass(frozen=True)
class _Extraction:
    trained: Trained
    split: AnnotatedSplit
    boxes: Sequence[np.ndarray]
    chosen: Sequence[Layer]
    pooling: Pooling
    size: int
    context: int
    regions_at_once: int
    stop: Callable[[], bool]

    def run(self, folder: Path, name: str, identity: str) -> Regions:
        path = file_of(folder, name)
        if by_writer(path.exists):
            return Regions(path, name)
        with self._locked(folder):
            if not by_writer(path.exists):  # another program may have written it meanwhile
                self._extract(folder, name, identity)
        return Regions(path, name)

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Generator[None]:
        lock = FolderLock(folder)

        def acquire() -> None:
            with writing(folder, OTHER_FOLDER):
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire()

        by_writer(acquire)
        try:
            yield
        finally:
            lock.release()

    @functools.cached_property
    def _pictures(self) -> Pictures:
        return Pictures(self.split, self.trained.data.channels)

    def _extract(self, folder: Path, name: str, identity: str) -> None:
        regions = sum(map(len, self.boxes))
        shapes = {each.name: each.pooled(self.pooling) for each in self.chosen} | {BOX: (4,)}
        facts = {
            "format": "jaxcnn regions",
            "split": name,
            "class_names": strict_json.dumps(self.split.class_names),
            "extraction": identity,
        }
        with contextlib.closing(Writer(folder, name, regions, shapes, facts)) as writer:
            counted = by_writer(lambda: writer.open(()))
            # Where a group begins, whatever the file says.
            done = max((group.first for group in self._groups(0) if group.first <= counted), default=0)
            done = regions if counted == regions else done
            if done:
                _LOG.info("%s: going on from region %s of %s", name, f"{done:,}", f"{regions:,}")
            title = f"regions of {self.split.title}"
            write_rows(writer, self._computed(done), done, name=title, size=regions, counted="regions")
            by_writer(lambda: self._finish(writer))

    def _finish(self, writer: Writer) -> None:
        images = [
            {"name": image.name, "image_id": image.image_id, "regions": len(each)}
            for image, each in zip(self.split.images, self.boxes, strict=True)
        ]
        index = _index_of(writer.path)
        with writing(index, OTHER_FOLDER):
            replace_whole(index, strict_json.dumps({"images": images}) + "\n")
        writer.finish()

    def _groups(self, done: int) -> Iterator[_Group]:
        """Yields the groups of all images in order, from the one on that begins with this row."""
        first = 0
        for image, boxes in enumerate(self.boxes):
            for start in range(0, len(boxes), self.regions_at_once):
                if first + start >= done:
                    yield _Group(image, first + start, boxes[start : start + self.regions_at_once])
            first += len(boxes)

    def _with_pixels(self, groups: Iterator[_Group]) -> Generator[tuple[_Group, np.ndarray]]:
        """Yields groups with the pixels of their image, which threads read ahead of the consumer."""
        by_image = [list(some) for _, some in itertools.groupby(groups, lambda group: group.image)]
        images = (some[0].image for some in by_image)
        with contextlib.closing(
            map_ahead(self._pictures.pixels, images, workers=available_cores(), depth=_IMAGES_AHEAD)
        ) as pixels:
            for some, image in zip(by_image, pixels, strict=True):
                yield from ((group, image) for group in some)

    def _computed(self, done: int) -> Iterator[Mapping[str, jax.Array | np.ndarray]]:
        """Yields the rows of batches of regions, computed on all devices, from this row on."""
        parallel, trained = DataParallel.over_all_devices(), self.trained
        variables = parallel.put_everywhere(jax.tree.map(np.asarray, trained.variables))
        compute = over_devices(self._own_rows(), parallel)
        devices, own = parallel.mesh.size, parallel.rows(parallel.mesh.size)
        nothing = np.zeros((1, 1, trained.data.channels), np.uint8)
        with contextlib.closing(self._with_pixels(self._groups(done))) as groups:
            while batch := list(itertools.islice(groups, devices)):
                if self.stop():
                    raise Interrupted
                pixels = [image for _, image in batch] + [nothing] * (devices - len(batch))
                boxes = np.zeros((devices, self.regions_at_once, 4), np.float32)
                label = np.zeros((devices, self.regions_at_once), np.int32)
                present = np.zeros((devices, self.regions_at_once), np.bool_)
                for place, (group, _) in enumerate(batch):
                    count = len(group.boxes)
                    boxes[place, :count], label[place], present[place, :count] = group.boxes, group.image, True
                part = {**canvases([pixels[place] for place in own], self._pictures.shape)._asdict(), BOX: boxes[own]}
                rows = compute(variables, parallel.put_batch(part))
                told = {BOX: boxes, LABEL: label, KNOWN: np.ones_like(present), PRESENT: present}
                yield rows | {name: value.reshape(-1, *value.shape[2:]) for name, value in told.items()}

    def _own_rows(self) -> Callable[[Variables, PyTree], dict[str, jax.Array]]:
        """Returns a pure function from variables and a device's images and boxes to the rows of the layers."""
        fill = outside(self.trained.normalization, self.trained.data.channels)
        names = [each.name for each in self.chosen]
        features = extractor(self.trained.model, self.trained.normalization, names, self.pooling)

        def rows(variables: Variables, part: PyTree) -> dict[str, jax.Array]:
            boxes = part[BOX]
            which = jnp.repeat(jnp.arange(len(boxes), dtype=jnp.int32), boxes.shape[1])
            pictures = Canvases(part["pixels"], part["extents"])
            warp = {"size": self.size, "context": self.context, "fill": fill}
            return features(variables, warped(pictures, which, boxes.reshape(-1, 4), **warp))

        return rows
