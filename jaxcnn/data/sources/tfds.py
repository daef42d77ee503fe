"""``tfds:NAME[/CONFIG][:VERSION]``: a data set prepared by TensorFlow Datasets in ArrayRecord files.

It is read without TensorFlow. A split may be a slice, ``train[:1000]``.
"""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.folders import data_root
from jaxcnn.data.sources.source import Source, SourceRequest
from jaxcnn.errors import UserError, nearest


def _versions(folder: Path) -> dict[str, Path]:
    """Returns the prepared versions of a data set and their folders, oldest first."""
    found = [path.parent for path in folder.glob("*/dataset_info.json") if re.fullmatch(r"[\d.]+", path.parent.name)]
    return {path.name: path for path in sorted(found, key=lambda path: [int(part) for part in path.name.split(".")])}


def _version_folder(name: str, data_dir: str | None) -> Path:
    """Returns the folder of the version that ``NAME[/CONFIG][:VERSION]`` names, by default of the newest."""
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
    if version and version not in versions:
        raise UserError(f"tfds:{dataset} is not prepared in version {version!r}: {nearest(version, versions)}")
    return versions[version] if version else list(versions.values())[-1]


def tfds_builder(name: str, data_dir: str | None = None) -> Any:
    """Returns tfds's read-only builder of a prepared data set.

    Args:
        name: ``NAME[/CONFIG][:VERSION]``; the newest version where none is named.
        data_dir: where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.

    Raises:
        UserError: it is not prepared there.
    """
    import tensorflow_datasets

    # Not as a DatasetBuilder: tfds decorates its methods in a way that loses their signatures.
    return tensorflow_datasets.builder_from_directory(_version_folder(name, data_dir))


def _is_pixels(feature: object) -> bool:
    """Returns whether a feature is an image's uint8 array, which is what `pack` writes where it stores no files."""
    import tensorflow_datasets as tfds

    return (
        isinstance(feature, tfds.features.Tensor)
        and feature.np_dtype == np.uint8
        and len(feature.shape) == 3
        and feature.shape[-1] in (1, 3)
    )


def tfds_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of a prepared data set's splits.

    Raises:
        UserError: it is not prepared there.
    """
    return tuple(tfds_builder(rest, data_dir).info.splits)


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
    skipped = {key: tfds.decode.SkipDecoding() for key in features if isinstance(features[key], tfds.features.Image)}
    try:
        records = builder.as_data_source(split, decoders=skipped)
        size = len(records)
    except NotImplementedError:
        raise UserError(
            f"{name} is stored as {builder.info.file_format.value}, which has no random access: run `tfds "
            f"convert_format --dataset_version_dir={builder.data_dir} --out_file_format=array_record`"
        ) from None
    except (ValueError, AssertionError):
        raise UserError(f"{name} has no images in a split {split!r}: {nearest(split, builder.info.splits)}") from None

    def record_at(index: int) -> dict[str, Any]:
        try:
            return records[index]
        except RuntimeError as error:  # what ArrayRecord raises where its hashes find damage, or a file is gone
            raise OSError(str(error)) from error

    def read(index: int) -> tuple[bytes | np.ndarray, int]:
        record = record_at(index)
        if record[label] < 0:
            raise UserError(
                f"the split {split!r} of {name} has no labels, so it cannot be trained or measured on: name another"
            )
        return record["image"], int(record[label])

    def file_name(index: int) -> str:
        return Path(record_at(index)["file_name"].decode()).name

    @functools.cache  # bad images are listed many times, and each call would read a record
    def describe(index: int) -> str:
        if "file_name" not in features:
            return f"record {index}"
        try:
            return f"record {index} ({record_at(index)['file_name'].decode()})"
        except OSError:
            return f"record {index}"

    return Source(
        name,
        split,
        class_names=tuple(features[label].names),
        size=size,
        read=read,
        describe=describe,
        file_name=file_name if "file_name" in features else None,
        files=lambda: {f"{builder.version}/{path.name}": Path(path) for path in builder.info.splits[split].filepaths},
        valid_labels=(lambda index: record_at(index)["real_label"]) if "real_label" in features else None,
    )
