"""The registry of the kinds of data sets for detection, ours included, by which one is found by its name."""

import dataclasses
from collections.abc import Callable, Sequence

from jaxcnn.data.sources.kinds import Kind, Kinds
from jaxcnn.data.sources.tfds import tfds_splits
from jaxcnn.detection.annotations import AnnotatedSplit, within_images
from jaxcnn.detection.sources.coco import coco_splits, open_coco
from jaxcnn.detection.sources.request import AnnotatedRequest
from jaxcnn.detection.sources.tfds import open_annotated_tfds
from jaxcnn.detection.sources.voc import open_voc, voc_splits
from jaxcnn.errors import UserError
from jaxcnn.text import escaped

_KINDS = Kinds[AnnotatedRequest, AnnotatedSplit](
    "annotated data set", "a data set for detection", "register yours as another"
)


def register_annotated(
    kind: str,
    *,
    open: Callable[[AnnotatedRequest], AnnotatedSplit],
    splits: Callable[[str, str | None], Sequence[str]],
    example: str | None = None,
    sliced: bool = False,
    located: bool = False,
) -> None:
    """Adds a kind of data set for detection: from then on its name may be ``KIND`` or ``KIND:REST``.

    Call it at the top of a recipe, before its ``config``.

    Args:
        kind: the beginning of the names of such data sets, up to the first colon.
        open: a function that opens one split. Its boxes need not lie within their images: `open_annotated` cuts them.
        splits: a function from what follows the colon, and ``data_dir``, to the names of the splits. Both functions
            raise `UserError` for a data set that does not exist.
        example: an example of such a name, for messages: ``coco:FOLDER``; by default ``kind``.
        sliced: whether a split may be something else than one of these names, such as ``train[:1000]``; ``open`` then
            refuses splits that do not exist.
        located: whether what follows the colon is a path, which a run keeps as an absolute one.

    Raises:
        UserError: the kind is not an identifier, or is registered already.
    """
    _KINDS.add(kind, Kind(open, splits, example or kind, sliced, located))


def annotated_kinds() -> list[str]:
    """Returns the kinds of data sets for detection that are registered, sorted."""
    return _KINDS.names()


def absolute_annotated_name(name: str) -> str:
    """Returns a data set's name that means the same in every working directory.

    Raises:
        UserError: there is no such kind of data set.
    """
    return _KINDS.absolute(name)


def annotated_splits(name: str, data_dir: str | None = None) -> tuple[str, ...]:
    """Returns the names of the splits of a data set for detection, sorted.

    Args:
        name: the data set's name: ``coco:FOLDER``, ``voc:FOLDER``, ``tfds:NAME``, or of a kind that a recipe adds.
        data_dir: where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.

    Raises:
        UserError: there is no such data set.
    """
    return _KINDS.splits(name, data_dir)


def open_annotated(name: str, split: str, data_dir: str | None = None) -> AnnotatedSplit:
    """Opens one split of a data set for detection. All annotations are read and checked; images are read later.

    The boxes lie within their images, and each has some area: see `within_images`.

    Args:
        name: the data set's name, as `annotated_splits` takes it.
        split: one of `annotated_splits`; of tfds also a slice, such as ``train[:1000]``.
        data_dir: where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.

    Raises:
        UserError: there is no such data set or split, the split has no images, a file is missing, or an annotation
            cannot be read.
        TypeError: the kind was registered with a function that returned something else than an `AnnotatedSplit`.
    """
    kind, rest = _KINDS.with_split(name, split, data_dir)
    found = kind.open(AnnotatedRequest(name, rest, split, data_dir))
    if not isinstance(found, AnnotatedSplit):
        raise TypeError(f"the function that opens {name} returned {type(found).__name__}, and must an AnnotatedSplit")
    if not len(found):
        raise UserError(f"the split {split!r} of {escaped(name)} has no images: name another")
    return dataclasses.replace(found, images=within_images(found.images, found.title))


register_annotated("coco", open=open_coco, splits=coco_splits, example="coco:FOLDER", located=True)
register_annotated("tfds", open=open_annotated_tfds, splits=tfds_splits, example="tfds:NAME", sliced=True)
register_annotated("voc", open=open_voc, splits=voc_splits, example="voc:FOLDER", located=True)
