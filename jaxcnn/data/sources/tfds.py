"""``tfds:NAME[/CONFIG][:VERSION]``: a data set prepared by TensorFlow Datasets in ArrayRecord files.

It is read without TensorFlow. A split may be a slice, ``train[:1000]``.
"""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxcnn.data.folders import data_root
from jaxcnn.data.sources.slices import Piece, pieces
from jaxcnn.data.sources.source import Source, SourceRequest
from jaxcnn.errors import UserError, nearest

Record = TypeVar("Record")


def _versions(folder: Path) -> dict[str, Path]:
    """Returns the prepared versions of a data set and their folders, oldest first."""
    found = [path.parent for path in folder.glob("*/dataset_info.json") if re.fullmatch(r"[\d.]+", path.parent.name)]
    return {path.name: path for path in sorted(found, key=lambda path: [int(part) for part in path.name.split(".")])}


def _newest(versions: dict[str, Path], wanted: str) -> Path | None:
    """Returns the folder of the newest version that fits ``x.y.z``, where each part may be ``*``, as tfds reads it."""
    pattern = re.escape(wanted)
    if re.fullmatch(r"(\d+|\*)(\.(\d+|\*)){2}", wanted, re.ASCII):
        pattern = pattern.replace(r"\*", r"\d+")
    fitting = [folder for version, folder in versions.items() if re.fullmatch(pattern, version, re.ASCII)]
    return fitting[-1] if fitting else None


def _version_folder(name: str, data_dir: str | None) -> Path:
    """Returns the folder of the version that ``NAME[/CONFIG][:VERSION]`` names, by default of the newest.

    A version may be a pattern of tfds's, such as ``1.*.*``, which is the newest that fits.
    """
    root = data_root(data_dir)
    dataset, _, version = name.partition(":")
    versions = _versions(root / dataset)
    if not versions:
        configs = sorted({path.parent.parent.name for path in (root / dataset).glob("*/*/dataset_info.json")})
        if len(configs) > 1:
            raise UserError(f"tfds:{dataset} has several configs, so name one, as in tfds:{dataset}/{configs[0]}")
        versions = _versions(root / dataset / configs[0]) if configs else {}
    if not versions:
        found = [*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]
        prepared = {path.relative_to(root).parts[0] for path in found}
        if dataset == "imagenet2012":
            command = f"jaxcnn data prepare imagenet2012 --archives DIR --data-dir {root}"
        else:
            command = f"tfds build {dataset} --data_dir={root} --file_format=array_record"
        raise UserError(
            f"tfds:{name} is not prepared in {root} ({nearest(dataset, prepared) if prepared else 'nothing is'}): set "
            f"data_dir, or run `{command}` where TensorFlow is installed"
        )
    if not version:
        return list(versions.values())[-1]
    folder = _newest(versions, version)
    if folder is None:
        raise UserError(f"tfds:{dataset} is not prepared in version {version!r}: {nearest(version, versions)}")
    return folder


def tfds_builder(name: str, data_dir: str | None = None) -> Any:
    """Returns tfds's read-only builder of a prepared data set.

    Args:
        name: ``NAME[/CONFIG][:VERSION]``; the newest version where none is named, or of those that fit ``1.*.*``.
        data_dir: where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.

    Raises:
        UserError: it is not prepared there.
    """
    import tensorflow_datasets

    folder = _version_folder(name, data_dir)
    try:
        # Not as a DatasetBuilder: tfds decorates its methods in a way that loses their signatures.
        return tensorflow_datasets.builder_from_directory(folder)
    except OSError as error:
        raise UserError(
            f"tfds:{name} in {folder} cannot be read ({error.strerror or error}): make its files readable, or prepare "
            "it again"
        ) from None


def _is_pixels(feature: object) -> bool:
    """Returns whether a feature is an image's uint8 array, which is what `pack` writes where it stores no files."""
    import tensorflow_datasets as tfds

    return (
        isinstance(feature, tfds.features.Tensor)
        and feature.np_dtype == np.uint8
        and len(feature.shape) == 3
        and feature.shape[-1] in (1, 3)
    )


def tfds_text(stored: bytes) -> str:
    """Returns a file's name as Python would have it from a folder: each byte that is not UTF-8 is a lone surrogate."""
    return stored.decode(errors="surrogateescape")


def tfds_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of a prepared data set's splits.

    Raises:
        UserError: it is not prepared there.
    """
    return tuple(tfds_builder(rest, data_dir).info.splits)


def tfds_records(name: str, builder: Any, split: str) -> tuple[Callable[[int], dict[str, Any]], int]:
    """Returns a function that reads a record of a split by its index, with images as they are stored, and their number.

    The function raises ``OSError`` for a record that is damaged or gone.

    Args:
        name: the data set's name, for messages.
        builder: tfds's builder of the data set.
        split: the split, or a slice of one, that exists.

    Raises:
        UserError: the data set is not stored in ArrayRecord files.
    """
    records = _opened(name, builder, split)
    return _reader(records), len(records)


def _opened(name: str, builder: Any, split: str) -> Any:
    """Returns tfds's source of a split's records; its ``data_source`` has their bytes."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    skipped = {key: tfds.decode.SkipDecoding() for key in features if isinstance(features[key], tfds.features.Image)}
    try:
        return builder.as_data_source(split, decoders=skipped)
    except NotImplementedError:
        raise UserError(
            f"{name} is stored as {builder.info.file_format.value}, which has no random access: run `tfds "
            f"convert_format --dataset_version_dir={builder.data_dir} --out_file_format=array_record`"
        ) from None


def _reader(records: Sequence[Record]) -> Callable[[int], Record]:
    def record_at(index: int) -> Record:
        try:
            return records[index]
        except RuntimeError as error:  # what ArrayRecord raises where its hashes find damage, or a file is gone
            raise OSError(str(error)) from error

    return record_at


def _labelled_images(builder: Any, records: Any, label: str) -> Callable[[int], tuple[bytes | np.ndarray, int]]:
    """Returns a function that reads an image as it is stored, and its label, by the index.

    Both are taken out of the record's own message (``tf.train.Example``), which takes an eighth of what tfds takes to
    decode a whole record. Pixels that tfds stores as numbers, or compressed, are left to it.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    feature = builder.info.features["image"]
    is_file = isinstance(feature, tfds.features.Image)
    # How a tensor is stored, tfds says only in what it writes itself.
    if not is_file and feature.to_json_content().encoding != tfds.features.Encoding.BYTES.value:
        record_at = _reader(records)

        def decoded(index: int) -> tuple[np.ndarray, int]:
            record = record_at(index)
            return record["image"], int(record[label])

        return decoded

    messages: Any = tf_example_pb2  # its classes are made when it is imported
    message_at = _reader(records.data_source)

    def read(index: int) -> tuple[bytes | np.ndarray, int]:
        stored = messages.Example.FromString(message_at(index)).features.feature
        number = stored[label].int64_list.value[0]
        if is_file:
            return stored["image"].bytes_list.value[0], number
        if None not in feature.shape:
            return _pixels(stored["image"], feature.shape), number
        return _pixels(stored["image/value"], stored["image/shape"].int64_list.value), number

    return read


def _pixels(stored: Any, shape: Sequence[int]) -> np.ndarray:
    return np.frombuffer(stored.bytes_list.value[0], np.uint8).reshape(shape)


def tfds_listing(builder: Any, parts: Sequence[Piece]) -> Iterator[str]:
    """Yields a line for the version of a data set, and one for each file that the parts of a split are in.

    Args:
        builder: tfds's builder of the data set.
        parts: what the split is made of.
    """
    yield f"version {builder.version}"
    for each in dict.fromkeys(part.split for part in parts):
        info = builder.info.splits[each]
        for path, length in zip(info.filepaths, info.shard_lengths, strict=True):
            yield f"{path.name} {length} {path.stat().length}"


def tfds_pieces(name: str, builder: Any, split: str) -> tuple[Piece, ...]:
    """Returns what a split is made of; see `pieces`."""
    return pieces(name, split, {each: info.num_examples for each, info in builder.info.splits.items()})


def open_tfds(request: SourceRequest) -> Source:
    """Opens one split, or a slice of one.

    Raises:
        UserError: the data set is not prepared, not for classification or not in ArrayRecord files, or it has no such
            split.
    """
    import tensorflow_datasets as tfds

    name, split = request.name, request.split
    builder = tfds_builder(request.rest, request.data_dir)
    features = builder.info.features
    # ImageNet-ReaL calls ILSVRC's own label "original_label".
    label = "original_label" if "real_label" in features else "label"
    for key, kind in (("image", tfds.features.Image), (label, tfds.features.ClassLabel)):
        if key not in features or not (
            isinstance(features[key], kind) or (key == "image" and _is_pixels(features[key]))
        ):
            raise UserError(
                f"{name} is not for classification: it has no {kind.__name__} feature called {key!r}; name another"
            )
    parts = tfds_pieces(name, builder, split)
    records = _opened(name, builder, split)
    record_at, image_at = _reader(records), _labelled_images(builder, records, label)

    def read(index: int) -> tuple[bytes | np.ndarray, int]:
        image, number = image_at(index)
        if number < 0:
            raise UserError(
                f"the split {split!r} of {name} has no labels, so it cannot be trained or measured on: name another"
            )
        return image, number

    def file_name(index: int) -> str:
        return Path(tfds_text(record_at(index)["file_name"])).name

    @functools.cache  # bad images are listed many times, and each call would read a record
    def describe(index: int) -> str:
        if "file_name" not in features:
            return f"record {index}"
        try:
            return f"record {index} ({tfds_text(record_at(index)['file_name'])})"
        except OSError:
            return f"record {index}"

    return Source(
        name,
        split,
        class_names=tuple(features[label].names),
        size=len(records),
        read=read,
        describe=describe,
        file_name=file_name if "file_name" in features else None,
        listing=lambda: tfds_listing(builder, parts),
        valid_labels=(lambda index: record_at(index)["real_label"]) if "real_label" in features else None,
    )
