"""Writing a copy of a data set with small images, so that decoding them takes a fraction of the work, or none."""

import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from jaxcnn.config import DataConfig
from jaxcnn.config.options import Interpolation
from jaxcnn.data.crop import CropError, with_short_side
from jaxcnn.data.decode import DecodeError, decode, encoding, with_channels
from jaxcnn.data.folders import check_room, complete_or_absent, data_root, sole_writer
from jaxcnn.data.progress import Progress
from jaxcnn.data.sources import Source, check_same_classes, evaluation_split, is_located, open_source
from jaxcnn.data.threads import map_ahead
from jaxcnn.errors import UserError
from jaxcnn.paths import absolute
from jaxcnn.text import escaped

if TYPE_CHECKING:
    from tensorflow_datasets.core.features import FeatureConnector
    from tensorflow_datasets.core.splits import SplitInfo

Format = Literal["jpeg", "raw"]

VERSION = "1.0.0"
"""The version that the copies have in tfds."""
_SHARD_BYTES = 1 << 29
_SAMPLED = 64
"""The number of images of each split that are packed to estimate what all will take."""
_AHEAD_A_THREAD = 4
"""The number of images for each thread that may wait in memory to be written."""


class _Unreadable(ValueError):
    """An error for an image that is left out; the message is a clause that says why."""


@dataclasses.dataclass(frozen=True)
class PackedSplit:
    """A record of what was written of one split."""

    split: str
    """The name under which the split is stored."""
    images: int
    """The number of images written."""
    size: int
    """The size of the images, in bytes."""
    left_out: tuple[tuple[str, str], ...]
    """The images that cannot be read, as (path or record, reason)."""


@dataclasses.dataclass(frozen=True)
class Packed:
    """A record of what was written."""

    name: str
    """The copy's name, as ``data.name`` takes it."""
    folder: Path
    """The folder of the copy's files."""
    splits: tuple[PackedSplit, ...]
    """What was written of each split."""


@dataclasses.dataclass(frozen=True)
class _Packer:
    """The way in which images are made small."""

    short_side: int
    format: Format
    quality: int
    interpolation: Interpolation
    max_pixels: int

    def __call__(self, source: Source, index: int) -> tuple[bytes | np.ndarray, int]:
        """Returns one image, as a JPEG file or uint8 (height, width, 3), and its label; raises `_Unreadable`."""
        try:
            original, label = source[index]
            as_pixels = isinstance(original, np.ndarray)
            pixels = with_channels(original, 3) if as_pixels else decode(original, 3, self.max_pixels)
            if min(pixels.shape[:2]) > self.short_side:
                pixels = with_short_side(pixels, self.short_side, self.interpolation)
            elif self.format == "jpeg" and isinstance(original, bytes) and encoding(original) == "RGB JPEG":
                return original, label  # encoding it again would only lose quality
        except OSError as error:
            raise _Unreadable(f"cannot be read ({error.strerror or error})") from error
        except (DecodeError, CropError) as error:
            raise _Unreadable(str(error)) from error
        if self.format == "raw":
            return pixels, label
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=self.quality)
        return file.getvalue(), label

    def feature(self) -> "FeatureConnector":
        """Returns tfds's feature for such an image."""
        import tensorflow_datasets as tfds

        if self.format == "jpeg":
            return tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        # The pixels are stored as bytes: as integers, each would be parsed separately and take up to two bytes.
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
    max_pixels: int = DataConfig.max_pixels,
) -> Packed:
    """Writes a copy of a data set with small RGB images, as a tfds data set in ArrayRecord files, without TensorFlow.

    An image is scaled as by a `CenterCrop` whose ``resize`` is ``short_side``, so such a crop of a ``raw`` copy is the
    same to the bit. Images that are small already are not enlarged. The order of the images is kept, so where none is
    left out a run visits them in the same order as from the original.

    Args:
        name: the data set's name, as ``data.name`` takes it.
        short_side: length of the short side, in pixels.
        format: ``jpeg``, or ``raw`` for uint8 arrays that need no decoding and take several times the room.
        quality: quality of JPEG files, 1 to 100.
        interpolation: how to scale.
        splits: by default ``train`` and the one to evaluate on; of tfds also slices, stored as ``train``.
        data_dir: where tfds keeps its prepared data sets; the copy is put there too.
        packed_name: the copy's name, by default ``NAME_SIDE_FORMAT``.
        workers: the number of threads.
        max_pixels: the most pixels that an image's header may claim; a larger image is left out.

    Raises:
        UserError: there is no such data set or split, the copy exists already or is being written, or it would not fit.
    """
    packer = _Packer(short_side, format, quality, interpolation, max_pixels)
    packed_name = packed_name or _default_name(name, short_side, format)
    if not re.fullmatch(r"[a-z]\w*", packed_name, re.ASCII):
        raise UserError(f"{packed_name!r} cannot be a data set's name: take letters, digits and _, a letter first")
    if not 1 <= quality <= 100:
        raise UserError(f"quality must be from 1 to 100, not {quality}")
    if short_side < 1:
        raise UserError(f"short_side must be at least 1 pixel, not {short_side}")
    splits = tuple(splits) or ("train", evaluation_split(name, data_dir))
    if len({_whole(split) for split in splits}) < len(splits):
        raise UserError(f"the splits {', '.join(splits)} would be stored under one name: pack them one at a time")
    sources = [open_source(name, split, data_dir, max_bad_share=1.0) for split in splits]
    for other in sources[1:]:
        check_same_classes(sources[0], other)
    folder = data_root(data_dir) / packed_name / VERSION
    if folder.exists():
        raise UserError(f"{folder} exists already: remove it, or give the copy another name")
    with sole_writer(folder.parent), complete_or_absent(folder) as scratch:
        check_room(scratch, sum(_estimate(source, packer) for source in sources), f"the copy {packed_name}")
        writer = _Writer(scratch, packed_name, packer, sources[0].class_names)
        written = tuple(_pack_split(source, packer, writer, workers) for source in sources)
        writer.finish(name, written)
    return Packed(f"tfds:{packed_name}", folder, written)


def _default_name(name: str, short_side: int, format: Format) -> str:
    """Returns ``imagenet2012_256_jpeg`` for ``tfds:imagenet2012:5.1.0``; of a path, its last part instead."""
    kind, _, rest = name.partition(":")
    base = absolute(rest or ".").name if is_located(name) else rest.partition(":")[0] or kind
    return re.sub(r"\W+", "_", f"{base}_{short_side}_{format}".lower(), flags=re.ASCII)


def _whole(split: str) -> str:
    """Returns ``train`` for ``train[:1000]``: the copy of a slice is stored under the split's name."""
    return split.partition("[")[0]


def _estimate(source: Source, packer: _Packer) -> int:
    """Estimates the bytes that a split will take, from a sample of its images, with a little to spare."""
    sizes = []
    for index in np.unique(np.linspace(0, source.size - 1, _SAMPLED).astype(int)).tolist():
        try:
            image, _ = packer(source, index)
        except _Unreadable:
            continue
        sizes.append(len(image) if isinstance(image, bytes) else image.nbytes)
    return int(1.05 * source.size * np.mean(sizes)) if sizes else 0


def _pack_split(source: Source, packer: _Packer, writer: "_Writer", workers: int) -> PackedSplit:
    def work(index: int) -> tuple[bytes | np.ndarray, int] | str:
        try:
            return packer(source, index)
        except _Unreadable as error:
            return str(error)

    left_out = list(source.bad)
    progress = Progress(source.title, source.size)

    def readable(results: Iterator[tuple[bytes | np.ndarray, int] | str]) -> Iterator[tuple[bytes | np.ndarray, int]]:
        for index, result in enumerate(results):
            if isinstance(result, str):
                left_out.append((source.describe(index), result))
            else:
                yield result
            progress.advance(1)

    results = map_ahead(work, range(source.size), workers=workers, depth=_AHEAD_A_THREAD * workers)
    with contextlib.closing(results):
        images, size = writer.write(_whole(source.split), readable(results))
    if not images:
        raise UserError(f"no image of {source.title}, can be read, so there is nothing to pack")
    return PackedSplit(_whole(source.split), images, size, tuple(left_out))


class _Writer:
    """Writes a tfds data set in ArrayRecord files, in the order given.

    tfds's own `SequentialWriter` does the same, and compresses images that compression does not make smaller.
    """

    def __init__(self, folder: Path, name: str, packer: _Packer, class_names: tuple[str, ...]) -> None:
        import tensorflow_datasets as tfds

        self._folder, self._name, self._packer = folder, name, packer
        self._features = tfds.features.FeaturesDict(
            {"image": packer.feature(), "label": tfds.features.ClassLabel(names=list(class_names))}
        )
        self._splits: list[SplitInfo] = []

    def write(self, split: str, examples: Iterator[tuple[bytes | np.ndarray, int]]) -> tuple[int, int]:
        """Writes a split; returns the numbers of its images and of its bytes."""
        import tensorflow_datasets as tfds
        from array_record.python.array_record_module import ArrayRecordWriter
        from tensorflow_datasets.core.example_serializer import ExampleSerializer

        serializer = ExampleSerializer(self._features.get_serialized_info())
        template = tfds.core.ShardedFileTemplate(
            data_dir=self._folder,
            dataset_name=self._name,
            split=split,
            filetype_suffix="array_record",
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",  # how many shards there will be is not known yet
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
        """Writes the files in which tfds looks up a data set, and its origin, in metadata.json."""
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.dataset_info import DatasetIdentity

        facts = dataclasses.asdict(self._packer) | {
            "source": escaped(source),
            "left_out": {split.split: [list(item) for item in split.left_out] for split in splits},
        }
        identity = DatasetIdentity(
            name=self._name, version=tfds.core.Version(VERSION), data_dir=str(self._folder), module_name=__name__
        )
        info = tfds.core.DatasetInfo(
            builder=identity,
            features=self._features,
            description=f"{escaped(source)} with the short side scaled to at most {self._packer.short_side} pixels.",
            metadata=tfds.core.MetadataDict(facts),
        )
        info.set_file_format("array_record")
        info.set_splits(tfds.core.splits.SplitDict(self._splits))
        info.write_to_directory(str(self._folder))
