"""``coco:FOLDER``: a folder in COCO's layout: ``FOLDER/annotations/*.json``, and the images.

A split is a file there, named by its stem: ``train`` for ``train.json``. Where a file is named as COCO's own are,
``instances_train2017.json``, those files alone are splits, and ``instances_`` is not part of the name; the captions and
key points beside them are passed over. Images are looked for in ``images/SPLIT``, ``SPLIT`` and ``images`` of the
folder, and in the folder itself, and taken from where the first is.
"""

import collections
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects
from jaxcnn.detection.sources.request import AnnotatedRequest, check_folder, file_lines, reader, text_of
from jaxcnn.errors import UserError
from jaxcnn.paths import expanded
from jaxcnn.text import escaped
from jaxcnn.types import Json, JsonObject

_WAY_OUT = "name a folder in COCO's layout, as in coco:FOLDER"
_OFFICIAL = "instances_"


def _files(rest: str) -> dict[str, Path]:
    """Returns the files of annotations in a data set's folder, by split."""
    folder = expanded(rest or ".")
    check_folder(folder, _WAY_OUT)
    check_folder(folder / "annotations", _WAY_OUT)
    files = [path for path in sorted((folder / "annotations").glob("*.json")) if not path.name.startswith(".")]
    official = [path for path in files if path.stem.startswith(_OFFICIAL)]
    if not files:
        raise UserError(f"{escaped(str(folder / 'annotations'))} holds no *.json: {_WAY_OUT}")
    return {path.stem.removeprefix(_OFFICIAL) if official else path.stem: path for path in official or files}


def coco_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of a data set's splits.

    Args:
        rest: the folder's path; ``~`` is expanded.
        data_dir: not used.

    Raises:
        UserError: there is no such folder, or it holds no annotations.
    """
    return tuple(_files(rest))


def open_coco(request: AnnotatedRequest) -> AnnotatedSplit:
    """Opens one split, whose order is that of its file; labels are in the order of the categories' numbers.

    An image that no annotation names has no objects. ``iscrowd`` makes a `crowd`; no object is `difficult`.

    Raises:
        UserError: the file is not JSON in COCO's form, names an image or a category that is not in it, or names an
            image that is not there.
    """
    folder, file = expanded(request.rest or "."), _files(request.rest)[request.split]
    where = escaped(str(file))
    content = _Content(where, text_of(file, "make it readable, or copy it again"))
    categories = content.by_id("categories")
    names = [content.field("categories", category, "name", str) for _, category in sorted(categories.items())]
    if len(set(names)) < len(names):
        repeated = next(name for name, count in collections.Counter(names).items() if count > 1)
        raise UserError(f"{where} names two categories {escaped(repeated)!r}: give each a name of its own")
    images = content.by_id("images")
    objects = _objects(content, images, sorted(categories))
    paths = {number: content.field("images", image, "file_name", str) for number, image in images.items()}
    root = _root(folder, request.split, list(paths.values()))
    missing = [path for path in paths.values() if not (root / path).is_file()]
    if missing:
        raise UserError(
            f"{where} names {len(missing):,} images that are not there, the first {escaped(str(root / missing[0]))}: "
            "copy the images there"
        )
    shown = "" if root == folder else f"{root.relative_to(folder)}/"
    found = []
    for number, image in images.items():
        width, height = (content.field("images", image, name, int) for name in ("width", "height"))
        if min(width, height) < 1:
            raise UserError(f"{where} says that image {number} has {width} by {height} pixels: correct it")
        read = reader(root / paths[number], width, height, where)
        name = shown + paths[number]
        found.append(AnnotatedImage(name, number, width, height, objects[number], read, where))
    return AnnotatedSplit(
        request.name,
        tuple(names),
        tuple(sorted(categories)),
        found,
        request.split,
        lambda: file_lines(folder, (shown + path for path in paths.values())),
    )


def _root(folder: Path, split: str, names: Sequence[str]) -> Path:
    """Returns the folder below which the first image that is there lies; if none is, the first that is a folder."""
    candidates = (folder / "images" / split, folder / split, folder / "images", folder)
    there = (root for name in names for root in candidates if (root / name).is_file())
    return next(there, next(root for root in candidates if root.is_dir()))


def _objects(
    content: "_Content", images: Mapping[int, JsonObject], category_ids: Sequence[int]
) -> Mapping[int, Objects]:
    """Returns the objects of each image."""
    labels = {number: label for label, number in enumerate(category_ids)}
    found: dict[int, list[tuple[list[float], int, bool]]] = {number: [] for number in images}
    for annotation in content.entries("annotations"):
        image, category = (content.field("annotations", annotation, name, int) for name in ("image_id", "category_id"))
        for name, number, there in (("image_id", image, images), ("category_id", category, labels)):
            if number not in there:
                raise UserError(f"{content.where} has an annotation whose {name} {number} is not in it: correct it")
        box = annotation.get("bbox")
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))):
            raise UserError(f"{content.where} has a bbox {escaped(repr(box))[:80]} of image {image}: give four numbers")
        left, top, width, height = box
        found[image].append(
            ([left, top, left + width, top + height], labels[category], bool(annotation.get("iscrowd", 0)))
        )
    return {
        number: Objects.of([box for box, _, _ in each], [label for _, label, _ in each], crowd=[c for *_, c in each])
        for number, each in found.items()
    }


def _is_finite(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class _Content:
    """The content of a file in COCO's form, whose parts are checked when they are asked for."""

    def __init__(self, where: str, text: str) -> None:
        self.where = where
        """The path of the file, for messages."""
        try:
            self._content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where} is not JSON ({escaped(str(error))}): copy it again") from None

    def entries(self, part: str) -> list[JsonObject]:
        """Returns a list of objects of the file."""
        entries = self._content.get(part) if isinstance(self._content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(
                f"{self.where} has no list of objects {part!r}, as COCO's annotations of instances have: {_WAY_OUT}"
            )
        return entries

    def by_id(self, part: str) -> dict[int, JsonObject]:
        """Returns the objects of such a list by their ``id``, in the order of the list."""
        entries = self.entries(part)
        found = {self.field(part, entry, "id", int): entry for entry in entries}
        if len(found) < len(entries):
            raise UserError(f"{self.where} has two of its {part} with one id: give each an id of its own")
        return found

    def field(self, part: str, entry: JsonObject, name: str, kind: type[int] | type[str]) -> Json:
        """Returns a field of such an object, which must be of a type."""
        value = entry.get(name)
        if type(value) is not kind:
            said = "a whole number" if kind is int else "a text"
            raise UserError(
                f"{self.where} has one of its {part} whose {name} is {escaped(repr(value))[:80]}: give {said}"
            )
        return value
