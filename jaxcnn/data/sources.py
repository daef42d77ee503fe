"""Data sets by name: each split is a random-access sequence of (image, label)."""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.decode import looks_like_image
from jaxcnn.data.folders import data_root
from jaxcnn.errors import UserError, nearest

EVALUATION_SPLITS = ("validation", "val", "test")
"""Where images that were not trained on are looked for, in this order."""

_KINDS = ("digits", "tfds:NAME", "folder:PATH", "synthetic")
_SYNTHETIC_SIZES = {"train": 1280, "test": 320}
_SCAN_THREADS = 16


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set. ``source[index]`` may be called from many threads."""

    name: str
    """As it was asked for, such as ``tfds:mnist``."""
    split: str
    class_names: tuple[str, ...]
    """By label."""
    size: int
    """Images in the split."""
    read: Callable[[int], tuple[bytes | np.ndarray, int]]
    """From an index to an encoded file, or uint8 ``(height, width, 1 or 3)``, and its label."""
    describe: Callable[[int], str]
    """From an index to what a person can find: a file's path, or a record's number."""
    bad: tuple[tuple[str, str], ...] = ()
    """Files left out because they are not images: (path, reason)."""
    file_name: Callable[[int], str] | None = None
    """From an index to the name of the image's file, without folders; None where the data set knows none."""
    valid_labels: Callable[[int], Sequence[int]] | None = None
    """From an index to all labels that are right, none where no class is; None where each image has its one label."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[bytes | np.ndarray, int]:
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is not in the {self.size} images of {self.name}, split {self.split!r}")
        return self.read(index)


def random_state(*entropy: int) -> np.random.RandomState:
    """Returns a generator that is a pure function of these integers.

    It is a ``RandomState`` because NEP 19 freezes its stream for good, where a ``Generator``'s may change with any
    release of NumPy; ``SeedSequence`` mixes the integers. Up to four integers, a trailing 0 changes nothing.
    """
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(entropy)))


def refuse_bad(bad: Sequence[tuple[str, str]], total: int, max_bad_share: float, where: str) -> None:
    """Refuses a split of which too much cannot be read.

    Args:
        bad: (path or record, reason) of each image that cannot be read.
        total: images in the split, these included.
        max_bad_share: the largest share that is let pass.
        where: the split's name, for the message.

    Raises:
        UserError: more than that share is bad; names the share, the limit and the first few.
    """
    if len(bad) > max_bad_share * total:
        shown = ", ".join(f"{what} {reason}" for what, reason in bad[:3])
        raise UserError(
            f"{len(bad)} of {total} images of {where} cannot be read ({len(bad) / total:.2%}; max_bad_share allows "
            f"{max_bad_share:.2%}): {shown}{', ...' if len(bad) > 3 else ''}"
        )


def check_same_classes(train: Source, evaluation: Source) -> None:
    """Refuses two splits whose labels mean different classes.

    Raises:
        UserError: names the classes that only one of the splits has.
    """
    if train.class_names == evaluation.class_names:
        return
    only = [
        f"only {one.split!r} has {', '.join(map(repr, missing[:5]))}{', ...' if len(missing) > 5 else ''}"
        for one, other in ((train, evaluation), (evaluation, train))
        if (missing := [name for name in one.class_names if name not in set(other.class_names)])
    ]
    raise UserError(f"the splits of {train.name} have different classes: {' and '.join(only) or 'in another order'}")


def split_names(name: str, data_dir: str | None = None) -> tuple[str, ...]:
    """Returns the splits a data set has, sorted.

    Args:
        name: ``digits``, ``tfds:NAME[/CONFIG][:VERSION]``, ``folder:PATH`` or ``synthetic[:CLASSES]``.
        data_dir: where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.

    Raises:
        UserError: there is no such data set.
    """
    kind, _, rest = name.partition(":")
    match kind:
        case "digits" | "synthetic":
            return ("test", "train")
        case "folder":
            return tuple(_folders(Path(rest).expanduser()))
        case "tfds":
            return tuple(sorted(tfds_builder(rest, data_dir).info.splits))
    raise UserError(f"{name!r} is not a data set: {nearest(name, _KINDS)}")


def evaluation_split(name: str, data_dir: str | None = None) -> str:
    """Returns the split to measure on when none is named: ``validation`` (or ``val``) if there is one, else ``test``.

    Raises:
        UserError: there is no such data set, or it has none of them.
    """
    names = split_names(name, data_dir)
    for split in EVALUATION_SPLITS:
        if split in names:
            return split
    raise UserError(
        f"{name} has neither a 'validation' nor a 'test' split, so name one in evaluation_split: {nearest('', names)}"
    )


def open_source(
    name: str, split: str, data_dir: str | None = None, *, image_size: int = 32, max_bad_share: float = 0.01
) -> Source:
    """Opens one split of a data set.

    - ``digits``: scikit-learn's 1797 handwritten digits of 8 by 8 pixels; every fifth of each class is ``test``.
    - ``tfds:NAME[/CONFIG][:VERSION]``: a prepared data set in ArrayRecord files, read without TensorFlow; ``split``
      may be a slice, ``train[:1000]``.
    - ``folder:PATH``: the files of ``PATH/SPLIT/CLASS/``; the classes are the folders' names, sorted.
    - ``synthetic[:CLASSES]``: gratings whose direction is their class; 1280 in ``train`` and 320 in ``test``.

    Args:
        name: one of these.
        split: one of `split_names`.
        data_dir: where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.
        image_size: height and width of synthetic images, in pixels.
        max_bad_share: the largest share of a folder's files that may be something else than images.

    Raises:
        UserError: no such data set, split, image or label, or too many bad files.
    """
    kind, _, rest = name.partition(":")
    if kind != "tfds" and split not in (names := split_names(name, data_dir)):
        raise UserError(f"{name} has no split {split!r}: {nearest(split, names)}")
    match kind:
        case "tfds":
            source = _tfds(name, split, rest, data_dir)
        case "folder":
            source = _folder(name, split, Path(rest).expanduser(), max_bad_share)
        case "digits":
            source = _digits(name, split)
        case _:
            source = _synthetic(name, split, rest, image_size)
    if not source.size:
        raise UserError(f"the split {split!r} of {name} is empty, so name another")
    return source


def _digits(name: str, split: str) -> Source:
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    held_out = np.argsort(digits.target, kind="stable")[::5]
    chosen = np.sort(held_out) if split == "test" else np.setdiff1d(np.arange(len(images)), held_out)
    return Source(
        name,
        split,
        class_names=tuple(map(str, range(10))),
        size=len(chosen),
        read=lambda index: (images[chosen[index]], int(digits.target[chosen[index]])),
        describe=lambda index: f"digit {chosen[index]}",
    )


def _synthetic(name: str, split: str, classes: str, size: int) -> Source:
    if not re.fullmatch(r"[1-9]\d*|", classes):
        raise UserError(f"{name!r} must end in a number of classes, as in 'synthetic:10'")
    count = int(classes or 10)
    across = np.arange(size)

    def read(index: int) -> tuple[np.ndarray, int]:
        # Integers only, so that every machine makes the same images. The wave's direction walks half way around a
        # diamond, one step a class, and 512 is one period.
        label = index % count
        rng = random_state(("train", "test").index(split), index)
        right = count - 2 * label
        down = count - abs(right)
        phase = (right * across + down * across[:, None]) * (512 * 4) // (count * size) + rng.randint(512)
        wave = np.abs(phase % 512 - 256) * 3 // 4
        return (wave[..., None] + rng.randint(64, size=(size, size, 3))).astype(np.uint8), label

    return Source(
        name,
        split,
        class_names=tuple(map(str, range(count))),
        size=_SYNTHETIC_SIZES[split],
        read=read,
        describe=lambda index: f"image {index}",
    )


def _folders(path: Path) -> list[str]:
    """The folders in a folder, sorted."""
    if not path.is_dir():
        raise UserError(f"there is no folder {path}")
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))


def _scan(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """The names of a folder's images, sorted, and (path, reason) of what else lies there."""
    good, bad = [], []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() or entry.name.startswith(".") or entry.name == "Thumbs.db":
            continue
        try:
            with open(entry.path, "rb") as file:
                first_bytes = file.read(16)
        except OSError as error:
            bad.append((entry.path, f"cannot be opened ({error.strerror})"))
            continue
        if looks_like_image(first_bytes):
            good.append(entry.name)
        else:
            bad.append((entry.path, "is not an image" if first_bytes else "is empty"))
    return good, bad


def _folder(name: str, split: str, path: Path, max_bad_share: float) -> Source:
    class_names = _folders(path / split)
    if not class_names:
        raise UserError(f"{path / split} holds no class folders: its images must lie in {path / split}/CLASS/")
    folders = [path / split / class_name for class_name in class_names]
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        scanned = list(pool.map(_scan, folders))
    files = [file for good, _ in scanned for file in good]
    labels = np.repeat(np.arange(len(folders)), [len(good) for good, _ in scanned])
    bad = tuple(item for _, items in scanned for item in items)
    refuse_bad(bad, len(files) + len(bad), max_bad_share, str(path / split))

    def where(index: int) -> Path:
        return folders[labels[index]] / files[index]

    return Source(
        name,
        split,
        class_names=tuple(class_names),
        size=len(files),
        read=lambda index: (where(index).read_bytes(), int(labels[index])),
        describe=lambda index: str(where(index)),
        bad=bad,
        file_name=files.__getitem__,
    )


def _versions(folder: Path) -> dict[str, Path]:
    """The prepared versions of a tfds data set, oldest first."""
    found = [path.parent for path in folder.glob("*/dataset_info.json") if re.fullmatch(r"[\d.]+", path.parent.name)]
    return {path.name: path for path in sorted(found, key=lambda path: [int(part) for part in path.name.split(".")])}


def _tfds_folder(name: str, data_dir: str | None) -> Path:
    """NAME[/CONFIG][:VERSION] to the folder of its newest version."""
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

    return tensorflow_datasets.builder_from_directory(_tfds_folder(name, data_dir))


def _is_pixels(feature: Any) -> bool:
    """Whether a tfds feature is an image's uint8 array: what `pack` writes where it stores no files."""
    import tensorflow_datasets as tfds

    return (
        isinstance(feature, tfds.features.Tensor)
        and feature.np_dtype == np.uint8
        and len(feature.shape) == 3
        and feature.shape[-1] in (1, 3)
    )


def _tfds(name: str, split: str, rest: str, data_dir: str | None) -> Source:
    import tensorflow_datasets as tfds

    builder = tfds_builder(rest, data_dir)
    features = builder.info.features
    # ImageNet-ReaL calls ILSVRC's label the original.
    label = "original_label" if "real_label" in features else "label"
    for key, kind in (("image", tfds.features.Image), (label, tfds.features.ClassLabel)):
        if key not in features or not (
            isinstance(features[key], kind) or (key == "image" and _is_pixels(features[key]))
        ):
            raise UserError(f"{name} is not for classification: it has no {kind.__name__} feature called {key!r}")
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
            raise UserError(f"the split {split!r} of {name} has no labels, so it cannot be trained or measured on")
        return record["image"], int(record[label])

    def file_name(index: int) -> str:
        return Path(record_at(index)["file_name"].decode()).name

    @functools.cache  # the account of bad images is given again and again, and each look reads a record
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
        valid_labels=(lambda index: record_at(index)["real_label"]) if "real_label" in features else None,
    )
