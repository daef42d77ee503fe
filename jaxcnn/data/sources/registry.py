"""The registry of the kinds of data sets, ours included, by which a data set is found by its name."""

import logging
from collections.abc import Callable, Sequence

from jaxcnn.data.sources.digits import digits_splits, open_digits
from jaxcnn.data.sources.folder import folder_splits, open_folder
from jaxcnn.data.sources.idx import idx_splits, open_idx
from jaxcnn.data.sources.kinds import Kind, Kinds
from jaxcnn.data.sources.source import Source, SourceRequest
from jaxcnn.data.sources.synthetic import open_synthetic, synthetic_splits
from jaxcnn.data.sources.tfds import open_tfds, tfds_splits
from jaxcnn.errors import UserError, nearest
from jaxcnn.text import escaped

_LOG = logging.getLogger(__name__)

VALIDATION_SPLITS = ("validation", "val", "valid", "validate", "dev", "development", "eval", "evaluation", "holdout")
"""The splits to measure on where none is named, in any case; the first that the data set has is taken."""
TEST_SPLITS = ("test", "testing", "tests")
"""The splits to measure on where there is none for validation."""


_KINDS = Kinds[SourceRequest, Source]("data set", "a data set", "register yours under another name")


def register_source(
    kind: str,
    *,
    open: Callable[[SourceRequest], Source],
    splits: Callable[[str, str | None], Sequence[str]],
    example: str | None = None,
    sliced: bool = False,
    located: bool = False,
) -> None:
    """Adds a kind of data set: from then on ``data.name`` may be ``KIND`` or ``KIND:REST``.

    Call it at the top of a recipe, before its ``config``.

    Args:
        kind: the beginning of the names of such data sets, up to the first colon.
        open: a function that opens one split, of at least one image.
        splits: a function from what follows the colon, and ``data_dir``, to the names of the splits. Both functions
            raise `UserError` for a data set that does not exist.
        example: an example of such a name, for messages: ``folder:PATH``; by default ``kind``.
        sliced: whether a split may be something else than one of these names, such as ``train[:1000]``; ``open`` then
            refuses splits that do not exist.
        located: whether what follows the colon is a path, which a run keeps as an absolute one.

    Raises:
        UserError: the kind is not an identifier, or is registered already.
    """
    _KINDS.add(kind, Kind(open, splits, example or kind, sliced, located))


def source_kinds() -> list[str]:
    """Returns the kinds of data sets that are registered, sorted."""
    return _KINDS.names()


def absolute_name(name: str) -> str:
    """Returns a data set's name that means the same in every working directory.

    Raises:
        UserError: there is no such kind of data set.
    """
    return _KINDS.absolute(name)


def is_located(name: str) -> bool:
    """Returns whether what follows the colon of a data set's name is a path.

    Raises:
        UserError: there is no such kind of data set.
    """
    return _KINDS.find(name)[0].located


def split_names(name: str, data_dir: str | None = None) -> tuple[str, ...]:
    """Returns the names of a data set's splits, sorted.

    Args:
        name: the data set's name, as ``data.name`` takes it.
        data_dir: where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.

    Raises:
        UserError: there is no such data set.
    """
    return _KINDS.splits(name, data_dir)


def evaluation_split(name: str, data_dir: str | None = None) -> str:
    """Returns the split to measure on when none is named: the first of `VALIDATION_SPLITS`, else of `TEST_SPLITS`.

    A line of the log says so where it is a test split.

    Raises:
        UserError: there is no such data set, or it has none of these splits.
    """
    names = split_names(name, data_dir)
    found = {split.lower(): split for split in sorted(names, key=lambda split: split == split.lower())}
    for split in VALIDATION_SPLITS:
        if split in found:
            return found[split]
    for split in TEST_SPLITS:
        if split in found:
            _LOG.info("%s has no split for validation, so its split %r is used", escaped(name), found[split])
            return found[split]
    raise UserError(
        f"{escaped(name)} has neither a 'validation' nor a 'test' split, so name one in evaluation_split: "
        f"{nearest('', names)}"
    )


def open_source(
    name: str, split: str, data_dir: str | None = None, *, image_size: int = 32, max_bad_share: float = 0.01
) -> Source:
    """Opens one split of a data set.

    Args:
        name: the data set's name, as ``data.name`` takes it.
        split: one of `split_names`; of tfds and idx also a slice, such as ``train[:1000]``.
        data_dir: where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.
        image_size: height and width of synthetic images, in pixels.
        max_bad_share: the largest share of a folder's files that may be something else than images.

    Raises:
        UserError: there is no such data set, split, image or label, or there are too many bad files.
        TypeError: the kind was registered with a function that returned something else than a `Source`.
    """
    kind, rest = _KINDS.with_split(name, split, data_dir)
    source = kind.open(SourceRequest(name, rest, split, data_dir, image_size, max_bad_share))
    if not isinstance(source, Source):
        raise TypeError(f"the function that opens {name} returned {type(source).__name__}, and must return a Source")
    if not source.size:
        raise UserError(f"the split {split!r} of {escaped(name)} is empty{_instead(source)}, so name another")
    return source


def _instead(source: Source) -> str:
    """Returns what an empty split holds instead of images, as a clause in parentheses; nothing where it is nothing."""
    if source.bad:
        path, reason = source.bad[0]
        return f" ({path} {reason}{f'; {len(source.bad)} files in all' if len(source.bad) > 1 else ''})"
    others = ", ".join(f"{count} {kind}" for kind, count in source.passed_over.items())
    return f" (it holds files of other kinds: {others})" if others else ""


register_source("digits", open=open_digits, splits=digits_splits)
register_source("folder", open=open_folder, splits=folder_splits, example="folder:PATH", located=True)
register_source("idx", open=open_idx, splits=idx_splits, example="idx:FOLDER", sliced=True, located=True)
register_source("synthetic", open=open_synthetic, splits=synthetic_splits)
register_source("tfds", open=open_tfds, splits=tfds_splits, example="tfds:NAME", sliced=True)
