"""Checking whether a data set is whole: counts, the order of labels, images that are damaged, odd or copies."""

import collections
import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxcnn.config import DataConfig
from jaxcnn.data.decode import DecodeError, decode, encoding
from jaxcnn.data.progress import Progress
from jaxcnn.data.sources import Source, check_same_classes, evaluation_split, open_source
from jaxcnn.data.sources.tfds import tfds_builder
from jaxcnn.errors import UserError

ILSVRC_IMAGES = {"train": 1_281_167, "validation": 50_000, "val": 50_000, "valid": 50_000}
"""The numbers of images in ILSVRC 2012's labelled splits (arXiv:1409.0575, table 2)."""

_SHOWN = 30
"""The number of images of each sort that are named; the archives of ILSVRC hold 22 CMYK files."""
_CHUNK = 64
_USUAL = ("RGB JPEG", "grey JPEG")
_WORDNET_ID = re.compile(r"n\d{8}")
_TRAINING_FILE = re.compile(r"(n\d{8})_\d+\.\w+")


@dataclasses.dataclass
class Named:
    """The number of images of a sort, and the names of the first of them."""

    count: int = 0
    """The number of images."""
    first: list[str] = dataclasses.field(default_factory=list)
    """The names of the first images."""

    def add(self, name: Callable[[], str]) -> None:
        """Counts one more; ``name``, which may read a record, is called only if its result is kept."""
        self.count += 1
        if self.count <= _SHOWN:
            self.first.append(name())

    def __str__(self) -> str:
        return ", ".join(self.first) + (", ..." if self.count > _SHOWN else "")


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What was found in one split."""

    source: Source
    """The split."""
    images: int
    """The number of records or files, the unreadable ones included."""
    expected: int | None
    """The number of images there should be; None where it is not known."""
    encodings: dict[str, Named]
    """The images that can be decoded, by what `decode.encoding` calls them."""
    unreadable: Named
    """The images that cannot be decoded."""
    labels: np.ndarray = dataclasses.field(repr=False)
    """The labels, int32 of shape ``(source.size,)``; -1 where the record cannot be read."""
    digests: np.ndarray = dataclasses.field(repr=False)
    """The first 16 bytes of each image's SHA-256, of shape ``(source.size,)``; zero where it cannot be read."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found in a data set."""

    splits: tuple[SplitReport, ...]
    """What was found in each split."""
    problems: tuple[str, ...]
    """The reasons why it is not whole, a sentence each."""
    notes: tuple[str, ...]
    """The facts that one should know and that do not hinder training, a sentence each."""
    thorough: bool
    """Whether the images were read."""

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, unreadable or wrongly labelled."""
        return not self.problems

    def __str__(self) -> str:
        lines = []
        for split in self.splits:
            classes = len(split.source.class_names)
            of = f" of {split.expected:,}" if split.expected is not None else ""
            lines.append(f"{split.source.split}: {split.images:,}{of} images of {classes:,} classes")
            lines += [f"  {found.count:>11,}  {kind}" for kind, found in _by_count(split.encodings)]
            if split.unreadable.count:
                lines.append(f"  {split.unreadable.count:>11,}  unreadable")
            passed_over = split.source.passed_over
            if passed_over:
                kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(passed_over.items(), key=_by_number))
                lines.append(f"  {sum(passed_over.values()):>11,}  files passed over: {kinds}")
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"problem: {problem}" for problem in self.problems]
        if not self.whole:
            return "\n".join([*lines, "the data set is NOT whole"])
        return "\n".join([*lines, "the data set is whole" if self.thorough else "counts and classes are right"])


def check(
    name: str,
    splits: Sequence[str] = (),
    data_dir: str | None = None,
    *,
    workers: int = 8,
    thorough: bool = True,
    official_counts: bool = True,
    max_pixels: int = DataConfig.max_pixels,
) -> Report:
    """Reads every image of a data set once and reports what is wrong with it.

    Problems are: another number of images than ILSVRC has (for ``imagenet2012`` and for folders of its thousand
    classes) or than tfds recorded, classes named by WordNet ids that are not in sorted order, files named after another
    class than their label's, splits of different classes, damaged shards, and images that cannot be decoded. Notes are:
    files that are neither RGB nor grey JPEG where most are, classes without images, folders beside the classes that are
    none, and copies of the same bytes. Files of other kinds, such as ``.json``, are counted.

    Args:
        name: the data set's name, as ``data.name`` takes it.
        splits: by default ``train`` and the one to evaluate on.
        data_dir: where tfds keeps its prepared data sets.
        workers: the number of threads that read and decode. They hold a few of the images, and 20 bytes for each.
        thorough: whether to read the images; otherwise only counts, classes and their order are checked.
        official_counts: whether ILSVRC must have all of its images.
        max_pixels: a larger image counts as unreadable, as in a run whose ``data.max_pixels`` is this.

    Raises:
        UserError: there is no such data set or split.
    """
    splits = tuple(splits) or ("train", evaluation_split(name, data_dir))
    sources = [open_source(name, split, data_dir, max_bad_share=1.0) for split in splits]
    problems, notes = [], []
    for other in sources[1:]:
        try:
            check_same_classes(sources[0], other)
        except UserError as error:
            problems.append(str(error))
    problems += _class_order(sources[0])
    reports = []
    for source in sources:
        expected = _expected(source, data_dir, official_counts)
        report = _read(source, expected, workers if thorough else 0, max_pixels)
        reports.append(report)
        problems += _shard_problems(source, data_dir)
        if report.expected not in (None, report.images):
            problems.append(f"{source.split} has {report.images:,} images instead of {report.expected:,}")
        if report.unreadable.count:
            problems.append(f"{source.split}: {report.unreadable.count:,} unreadable: {report.unreadable}")
        if source.not_classes:
            notes.append(f"{source.split}: not classes, and left out: {_some(source.not_classes)}")
        if thorough:
            problems += _wrongly_named(report)
            notes += _split_notes(report)
    return Report(tuple(reports), tuple(problems), (*notes, *_copies(reports)), thorough)


def ilsvrc_classes() -> tuple[str, ...]:
    """Returns the WordNet ids of ILSVRC's thousand classes, sorted, as tfds lists them."""
    import tensorflow_datasets

    return tuple(
        (Path(tensorflow_datasets.__file__).parent / "datasets" / "imagenet2012" / "labels.txt").read_text().split()
    )


def _by_count(encodings: dict[str, Named]) -> list[tuple[str, Named]]:
    return sorted(encodings.items(), key=lambda item: (-item[1].count, item[0]))


def _by_number(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _some(names: Sequence[str]) -> str:
    """Returns the first names of a list, which may be long."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _is_imagenet2012(name: str) -> bool:
    return name.split(":")[:2] == ["tfds", "imagenet2012"]


def _expected(source: Source, data_dir: str | None, official: bool) -> int | None:
    """Returns how many images a split should have; None where that is not known."""
    kind, _, rest = source.name.partition(":")
    if kind == "folder":
        is_ilsvrc = sorted(source.class_names) == sorted(ilsvrc_classes())
    else:
        is_ilsvrc = _is_imagenet2012(source.name)
    if is_ilsvrc and official:
        return ILSVRC_IMAGES.get(source.split)
    return tfds_builder(rest, data_dir).info.splits[source.split].num_examples if kind == "tfds" else None


def _class_order(source: Source) -> list[str]:
    """Checks that labels number the sorted WordNet ids, because published weights take them so."""
    names = source.class_names
    if not all(map(_WORDNET_ID.fullmatch, names)):
        return []
    if list(names) != sorted(set(names)):
        return ["the classes are WordNet ids, but not in sorted order"]
    if _is_imagenet2012(source.name) and names != ilsvrc_classes():
        return ["the classes are not ILSVRC's"]
    return []


def _shard_problems(source: Source, data_dir: str | None) -> list[str]:
    """Finds shards of a tfds data set that are missing, damaged, or hold another number of records than they should."""
    kind, _, rest = source.name.partition(":")
    if kind != "tfds":
        return []
    from array_record.python.array_record_module import ArrayRecordReader

    split = tfds_builder(rest, data_dir).info.splits[source.split.partition("[")[0]]
    problems = []
    for path, length in zip(split.filepaths, split.shard_lengths, strict=True):
        if not path.exists():
            problems.append(f"{path.name} is missing")
            continue
        try:
            found = ArrayRecordReader(str(path)).num_records()
        except RuntimeError as error:
            problems.append(f"{path.name} cannot be read ({error})")
            continue
        if found != length:
            problems.append(f"{path.name} holds {found:,} records instead of {length:,}")
    return problems


def _examine(source: Source, index: int, max_pixels: int) -> tuple[int, bytes, str | None, str | None]:
    """Returns one image's label and digest, and its encoding or what is wrong with it."""
    try:
        image, label = source[index]
    except OSError as error:
        return -1, b"", None, f"cannot be read ({error.strerror or error})"
    digest = hashlib.sha256(image if isinstance(image, bytes) else image.data).digest()[:16]
    if isinstance(image, np.ndarray):
        return label, digest, f"{'RGB' if image.shape[-1] == 3 else 'grey'} array", None
    try:
        decode(image, channels=3, max_pixels=max_pixels)
        return label, digest, encoding(image), None
    except DecodeError as error:
        return label, digest, None, str(error)


def _read(source: Source, expected: int | None, workers: int, max_pixels: int) -> SplitReport:
    """Examines all images of a split in ``workers`` threads; with 0 threads, none of them."""
    report = SplitReport(
        source=source,
        images=source.size + len(source.bad),
        expected=expected,
        encodings=collections.defaultdict(Named),
        unreadable=Named(),
        labels=np.full(source.size, -1, np.int32),
        digests=np.zeros(source.size, "S16"),
    )
    for path, reason in source.bad:
        report.unreadable.add(f"{path} {reason}".__str__)
    if not workers:
        return report

    def examine(start: int) -> list[tuple[int, bytes, str | None, str | None]]:
        return [_examine(source, index, max_pixels) for index in range(start, min(start + _CHUNK, source.size))]

    progress = Progress(source.title, source.size)
    with ThreadPoolExecutor(workers) as pool:
        starts = range(0, source.size, _CHUNK)
        for start, found in zip(starts, pool.map(examine, starts), strict=True):
            for index, (label, digest, kind, wrong) in enumerate(found, start):
                report.labels[index], report.digests[index] = label, digest
                if wrong:
                    report.unreadable.add(lambda index=index, wrong=wrong: f"{source.describe(index)} {wrong}")
                elif kind is not None:
                    report.encodings[kind].add(functools.partial(source.describe, index))
            progress.advance(len(found))
    return report


def _wrongly_named(report: SplitReport) -> Iterable[str]:
    """Checks that the first image of each class is named after its class, as ILSVRC's training files are."""
    labels, firsts = np.unique(report.labels, return_index=True)
    wrong = Named()
    for label, index in zip(labels.tolist(), firsts.tolist(), strict=True):
        name = report.source.describe(index)
        found = _TRAINING_FILE.search(name)
        if label >= 0 and found and found[1] != report.source.class_names[label]:
            wrong.add(f"{name} is labelled {report.source.class_names[label]}".__str__)
    if wrong.count:
        yield f"{report.source.split}: labels that contradict their files' names: {wrong}"


def _split_notes(report: SplitReport) -> Iterable[str]:
    kinds = _by_count(report.encodings)
    for kind, found in kinds[1:]:
        if kind not in _USUAL:
            yield f"{report.source.split}: {found.count:,} {kind}: {found}"
    present = set(np.unique(report.labels).tolist())
    empty = [name for label, name in enumerate(report.source.class_names) if label not in present]
    if empty:
        yield f"{report.source.split}: {len(empty):,} classes without images: {_some(empty)}"


def _copies(reports: Sequence[SplitReport]) -> Iterable[str]:
    """Finds images of exactly the same bytes, within a split and across splits."""
    digests = np.concatenate([report.digests for report in reports])
    labels = np.concatenate([report.labels for report in reports])
    split = np.repeat(np.arange(len(reports)), [len(report.digests) for report in reports])
    first_of_split = np.concatenate([np.arange(len(report.digests)) for report in reports])

    def describe(position: int) -> str:
        report = reports[split[position]]
        return f"{report.source.split} {report.source.describe(int(first_of_split[position]))}"

    order = np.argsort(digests, kind="stable")
    order = order[digests[order] != b""]
    if not len(order):
        return
    starts = np.flatnonzero(np.concatenate([[True], digests[order][1:] != digests[order][:-1]]))
    lengths = np.diff(starts, append=len(order))
    groups = [order[start : start + length] for start, length in zip(starts, lengths, strict=True) if length > 1]
    if not groups:
        return
    differ = sum(len(np.unique(labels[group])) > 1 for group in groups)
    across = sum(len(np.unique(split[group])) > 1 for group in groups)
    named = Named()
    for group in groups:
        named.add(lambda group=group: " = ".join(map(describe, group[:4])))
    yield (
        f"{len(groups):,} images occur more than once, {differ:,} of them with different labels and {across:,} in "
        f"more than one split: {named}"
    )
