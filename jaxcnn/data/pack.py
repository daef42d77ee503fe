"""A copy of a data set whose images are already small: decoding them is then a fraction of the work, or none."""

import collections
import dataclasses
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from jaxcnn.config import DataConfig
from jaxcnn.config.options import Interpolation
from jaxcnn.data.crop import CropError, with_short_side
from jaxcnn.data.decode import DecodeError, decode, encoding, with_channels
from jaxcnn.data.folders import check_room, complete_or_absent, data_root, sole_writer
from jaxcnn.data.progress import Progress
from jaxcnn.data.sources import Source, check_same_classes, evaluation_split, open_source
from jaxcnn.errors import UserError

Format = Literal["jpeg", "raw"]

VERSION = "1.0.0"
_SHARD_BYTES = 1 << 29
_SAMPLED = 64
"""Images of each split that are packed to estimate what all will take."""


class _Unreadable(ValueError):
    """Why an image is left out."""


@dataclasses.dataclass(frozen=True)
class PackedSplit:
    """What was written of one split."""

    split: str
    images: int
    size: int
    """In bytes."""
    left_out: tuple[tuple[str, str], ...]
    """(path or record, reason) of what cannot be read."""


@dataclasses.dataclass(frozen=True)
class Packed:
    """What was written."""

    name: str
    """As ``data.name`` takes it."""
    folder: Path
    splits: tuple[PackedSplit, ...]


@dataclasses.dataclass(frozen=True)
class _Packer:
    """How an image becomes small."""

    short_side: int
    format: Format
    quality: int
    interpolation: Interpolation

    def __call__(self, source: Source, index: int) -> tuple[bytes | np.ndarray, int]:
        """One image, as a JPEG file or uint8 (height, width, 3), and its label; raises `_Unreadable`."""
        try:
            original, label = source[index]
            if isinstance(original, bytes):
                pixels = decode(original, 3, DataConfig().max_pixels)
            else:
                pixels = with_channels(original, 3)
            if min(pixels.shape[:2]) > self.short_side:
                pixels = with_short_side(pixels, self.short_side, self.interpolation)
            elif self.format == "jpeg" and isinstance(original, bytes) and encoding(original) == "RGB JPEG":
                return original, label  # coding it again would only lose
        except OSError as error:
            raise _Unreadable(f"cannot be read ({error.strerror or error})") from error
        except (DecodeError, CropError) as error:
            raise _Unreadable(str(error)) from error
        if self.format == "raw":
            return pixels, label
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=self.quality)
        return file.getvalue(), label

    def feature(self) -> Any:
        """What tfds calls such an image."""
        import tensorflow_datasets as tfds

        if self.format == "jpeg":
            return tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        # In bytes: as integers, each pixel would be parsed on its own, and take up to two bytes.
        return tfds.features.Tensor(shape=(None, None, 3), dtype=np.uint8, encoding="bytes")


def pack(
    name: str,
    short_side: int,
    *,
    format: Format = "jpeg",
    quality: int = 95,
    interpolation: Interpolation = "bilinear",
    splits: Sequence[str] = (),
    data_dir: str | None = None,
    packed_name: str | None = None,
    workers: int = 8,
) -> Packed:
    """Writes a copy of a data set with small RGB images, as a tfds data set in ArrayRecord files, without TensorFlow.

    An image is scaled as a `CenterCrop` whose ``resize`` is ``short_side`` scales it, so that from a ``raw`` copy such
    a crop is the same to the bit. Images that are small already are not enlarged. The order stays as it is, so where
    nothing is left out a run visits the images in the same order as from the original.

    Args:
        name: as `sources.open_source` takes it.
        short_side: in pixels.
        format: ``jpeg``, or ``raw`` for uint8 arrays that need no decoding and take several times the room.
        quality: of JPEG files, 1 to 100.
        interpolation: of the scaling.
        splits: by default ``train`` and the one to evaluate on; of tfds also slices, stored as ``train``.
        data_dir: where tfds keeps its prepared data sets; the copy is put there too.
        packed_name: the copy's, by default ``NAME_SIDE_FORMAT``.
        workers: threads.

    Raises:
        UserError: no such data set or split, the copy is there already or being written, or it would not fit.
    """
    packer = _Packer(short_side, format, quality, interpolation)
    packed_name = packed_name or _default_name(name, short_side, format)
    if not re.fullmatch(r"[a-z]\w*", packed_name, re.ASCII):
        raise UserError(f"{packed_name!r} cannot be a data set's name: take letters, digits and _, a letter first")
    if not 1 <= quality <= 100:
        raise UserError(f"quality must be from 1 to 100, not {quality}")
    if short_side < 1:
        raise UserError(f"short_side must be at least 1 pixel, not {short_side}")
    splits = tuple(splits) or ("train", evaluation_split(name, data_dir))
    if len({_whole(split) for split in splits}) < len(splits):
        raise UserError(f"the splits {', '.join(splits)} would be stored under one name: pack them on their own")
    sources = [open_source(name, split, data_dir, max_bad_share=1.0) for split in splits]
    for other in sources[1:]:
        check_same_classes(sources[0], other)
    folder = data_root(data_dir) / packed_name / VERSION
    if folder.exists():
        raise UserError(f"there is {folder} already: remove it, or give the copy another name")
    with sole_writer(folder.parent), complete_or_absent(folder) as scratch:
        check_room(scratch, sum(_estimate(source, packer) for source in sources), f"the copy {packed_name}")
        writer = _Writer(scratch, packed_name, packer, sources[0].class_names)
        written = tuple(_pack_split(source, packer, writer, workers) for source in sources)
        writer.finish(name, written)
    return Packed(f"tfds:{packed_name}", folder, written)


def _default_name(name: str, short_side: int, format: Format) -> str:
    """``tfds:imagenet2012:5.1.0`` to ``imagenet2012_256_jpeg``; of a folder, its own name."""
    kind, _, rest = name.partition(":")
    base = Path(rest).expanduser().absolute().name if kind == "folder" else rest.partition(":")[0] or kind
    return re.sub(r"\W+", "_", f"{base}_{short_side}_{format}".lower(), flags=re.ASCII)


def _whole(split: str) -> str:
    """``train[:1000]`` to ``train``, which is what the copy of a slice is called."""
    return split.partition("[")[0]


def _estimate(source: Source, packer: _Packer) -> int:
    """Bytes that a split will take, from a sample of its images, with a little to spare."""
    sizes = []
    for index in np.unique(np.linspace(0, source.size - 1, _SAMPLED).astype(int)).tolist():
        try:
            image, _ = packer(source, index)
        except _Unreadable:
            continue
        sizes.append(len(image) if isinstance(image, bytes) else image.nbytes)
    return int(1.05 * source.size * np.mean(sizes)) if sizes else 0


def _in_order(pool: ThreadPoolExecutor, work: Callable[[int], Any], count: int, ahead: int) -> Iterator[Any]:
    """``work(0)``, ``work(1)``, ...; never more than ``ahead`` results wait in memory."""
    indices = iter(range(count))
    waiting = collections.deque(pool.submit(work, index) for index in itertools.islice(indices, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(work, index) for index in itertools.islice(indices, 1))


def _pack_split(source: Source, packer: _Packer, writer: "_Writer", workers: int) -> PackedSplit:
    def work(index: int) -> tuple[bytes | np.ndarray, int] | str:
        try:
            return packer(source, index)
        except _Unreadable as error:
            return str(error)

    left_out = list(source.bad)
    progress = Progress(f"{source.name}, split {source.split!r}", source.size)

    def readable(results: Iterator[Any]) -> Iterator[tuple[bytes | np.ndarray, int]]:
        for index, result in enumerate(results):
            if isinstance(result, str):
                left_out.append((source.describe(index), result))
            else:
                yield result
            progress.advance(1)

    with ThreadPoolExecutor(workers) as pool:
        images, size = writer.write(_whole(source.split), readable(_in_order(pool, work, source.size, 4 * workers)))
    if not images:
        raise UserError(f"no image of {source.name}, split {source.split!r}, can be read")
    return PackedSplit(_whole(source.split), images, size, tuple(left_out))


class _Writer:
    """Writes a tfds data set in ArrayRecord files, in the order given.

    tfds's own `SequentialWriter` does the same, and compresses what is no smaller for it.
    """

    def __init__(self, folder: Path, name: str, packer: _Packer, class_names: tuple[str, ...]) -> None:
        import tensorflow_datasets as tfds

        self._folder, self._name, self._packer = folder, name, packer
        self._features = tfds.features.FeaturesDict(
            {"image": packer.feature(), "label": tfds.features.ClassLabel(names=list(class_names))}
        )
        self._splits: list[Any] = []

    def write(self, split: str, examples: Iterator[tuple[bytes | np.ndarray, int]]) -> tuple[int, int]:
        """Writes a split; returns its number of images and of bytes."""
        import tensorflow_datasets as tfds
        from array_record.python.array_record_module import ArrayRecordWriter
        from tensorflow_datasets.core.example_serializer import ExampleSerializer

        serializer = ExampleSerializer(self._features.get_serialized_info())
        template = tfds.core.ShardedFileTemplate(
            data_dir=self._folder,
            dataset_name=self._name,
            split=split,
            filetype_suffix="array_record",
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",  # how many there will be is not known yet
        )
        lengths, sizes = [], []
        writer = None
        for image, label in examples:
            if writer is None or sizes[-1] >= _SHARD_BYTES:
                if writer is not None:
                    writer.close()
                path = template.sharded_filepath(shard_index=len(lengths), num_shards=None)
                writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
                lengths.append(0)
                sizes.append(0)
            stored = io.BytesIO(image) if isinstance(image, bytes) else image
            encoded = self._features.encode_example({"image": stored, "label": label})
            record = serializer.serialize_example(encoded)
            writer.write(record)
            lengths[-1] += 1
            sizes[-1] += len(record)
        if writer is not None:
            writer.close()
        self._splits.append(
            tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=sum(sizes), filename_template=template)
        )
        return sum(lengths), sum(sizes)

    def finish(self, source: str, splits: Sequence[PackedSplit]) -> None:
        """Writes what tfds wants to know of a data set, and in metadata.json where it comes from."""
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.dataset_info import DatasetIdentity

        facts = dataclasses.asdict(self._packer) | {
            "source": source,
            "left_out": {split.split: [list(item) for item in split.left_out] for split in splits},
        }
        identity = DatasetIdentity(
            name=self._name, version=tfds.core.Version(VERSION), data_dir=str(self._folder), module_name=__name__
        )
        info = tfds.core.DatasetInfo(
            builder=identity,
            features=self._features,
            description=f"{source} with the short side scaled to at most {self._packer.short_side} pixels.",
            metadata=tfds.core.MetadataDict(facts),
        )
        info.set_file_format("array_record")
        info.set_splits(tfds.core.splits.SplitDict(self._splits))
        info.write_to_directory(str(self._folder))
