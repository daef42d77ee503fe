"""``voc:FOLDER``: a folder in PASCAL VOC's layout, such as ``VOCdevkit/VOC2007``.

It holds ``Annotations/NAME.xml``, ``JPEGImages/NAME.jpg`` (or another suffix of images), and
``ImageSets/Main/SPLIT.txt`` with a name on each line. The lists ``CLASS_SPLIT.txt`` beside it, which VOC's own copies
have, name the classes; where there are none, the classes are all that the annotations name. Labels are in the order of
the sorted names.

VOC's boxes are of whole pixels, count from 1 and include their last row and column. So a box from 1 to 1 is one pixel
wide, and left is ``xmin - 1`` where right is ``xmax``.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxcnn.data.annotation_files import ANNOTATIONS, IMAGES, LISTS
from jaxcnn.data.decode import is_image_suffix
from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects
from jaxcnn.detection.sources.request import AnnotatedRequest, check_folder, file_lines, reader, text_of
from jaxcnn.errors import UserError, nearest
from jaxcnn.paths import expanded
from jaxcnn.text import escaped

_WAY_OUT = "name a folder in VOC's layout, as in voc:VOCdevkit/VOC2007"
_AGAIN = "make it readable, or copy it again"


class _Lists(NamedTuple):
    """What the folder of lists holds."""

    splits: Mapping[str, Path]
    """The list of each split."""
    class_names: tuple[str, ...]
    """The sorted names of the classes that have lists of their own."""


class _Annotation(NamedTuple):
    """The content of an annotation's file."""

    width: int
    height: int
    names: tuple[str, ...]
    """The names of the objects' classes."""
    boxes: tuple[tuple[float, float, float, float], ...]
    difficult: tuple[bool, ...]


def _lists(folder: Path) -> _Lists:
    """Returns the lists of a data set; a list of a class is named after a split, and has two columns."""
    for each in (folder, folder / LISTS, folder / ANNOTATIONS, folder / IMAGES):
        check_folder(each, _WAY_OUT)
    files = {path.stem: path for path in sorted((folder / LISTS).glob("*.txt")) if not path.name.startswith(".")}
    if not files:
        raise UserError(f"{escaped(str(folder / LISTS))} holds no lists *.txt of images: {_WAY_OUT}")
    class_names, splits = set(), {}
    for stem, path in files.items():
        name, _, split = stem.rpartition("_")
        if name and split in files and len(text_of(path, _AGAIN).partition("\n")[0].split()) == 2:
            class_names.add(name)
        else:
            splits[stem] = path
    return _Lists(splits, tuple(sorted(class_names)))


def voc_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of a data set's splits.

    Args:
        rest: the folder's path; ``~`` is expanded.
        data_dir: not used.

    Raises:
        UserError: there is no such folder, or it is not in VOC's layout.
    """
    return tuple(_lists(expanded(rest or ".")).splits)


def open_voc(request: AnnotatedRequest) -> AnnotatedSplit:
    """Opens one split, in the order of its list. The number of an image is its name, where all names are numbers.

    An image whose annotation has no ``object`` has no objects. No object is a `crowd`.

    Raises:
        UserError: an annotation or an image is missing, or an annotation is not in VOC's form, or names a class that
            the data set has no lists of.
    """
    folder = expanded(request.rest or ".")
    lists = _lists(folder)
    file = lists.splits[request.split]
    names = [line.strip() for line in text_of(file, _AGAIN).splitlines() if line.strip()]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{escaped(str(file))} names {escaped(repeated)!r} twice: remove one of the lines")
    files = _image_files(folder, names, file)
    annotations = {name: folder / ANNOTATIONS / f"{name}.xml" for name in names}
    read = {name: _annotation(path) for name, path in annotations.items()}
    class_names = lists.class_names or _all_classes(folder, read)
    labels = {name: label for label, name in enumerate(class_names)}
    numbers = _numbers(names)
    images = []
    for name, (width, height, classes, boxes, difficult) in read.items():
        where = str(annotations[name])
        unknown = next((each for each in classes if each not in labels), None)
        if unknown is not None:
            raise UserError(
                f"{escaped(where)} has an object of the class {escaped(unknown)!r}, of which {escaped(str(folder))} "
                f"has no list {LISTS}/CLASS_SPLIT.txt: {nearest(unknown, class_names)}"
            )
        path = folder / IMAGES / files[name]
        images.append(
            AnnotatedImage(
                f"{IMAGES}/{files[name]}",
                numbers[name],
                width,
                height,
                Objects.of(boxes, [labels[each] for each in classes], difficult),
                reader(path, width, height, where),
                where,
            )
        )
    return AnnotatedSplit(
        request.name,
        class_names,
        tuple(range(1, len(class_names) + 1)),
        images,
        request.split,
        lambda: file_lines(folder, (f"{IMAGES}/{files[name]}" for name in names)),
    )


def _image_files(folder: Path, names: Sequence[str], file: Path) -> Mapping[str, str]:
    """Returns the file of each image by its name; one with the suffix ``.jpg`` is taken where there are several."""
    there: dict[str, str] = {}
    for path in sorted((folder / IMAGES).iterdir()):
        if is_image_suffix(path.suffix.lower()) and (path.suffix == ".jpg" or path.stem not in there):
            there[path.stem] = path.name
    missing = [name for name in names if name not in there]
    if missing:
        raise UserError(
            f"{escaped(str(file))} names {len(missing):,} images that {escaped(str(folder / IMAGES))} does not hold, "
            f"the first {escaped(missing[0])!r}: copy the images there"
        )
    return there


def _numbers(names: Sequence[str]) -> Mapping[str, int]:
    """Returns the numbers of images: ``12`` for ``000012``; those of a list's lines where a name is no number."""
    if all(name.isascii() and name.isdigit() for name in names):
        numbers = {name: int(name) for name in names}
        if len(set(numbers.values())) == len(names):
            return numbers
    return {name: number for number, name in enumerate(names, 1)}


def _all_classes(folder: Path, read: Mapping[str, _Annotation]) -> tuple[str, ...]:
    """Returns the sorted names of all classes in a data set's annotations, of any split."""
    names = {name for each in read.values() for name in each.names}
    for path in (folder / ANNOTATIONS).glob("*.xml"):
        if path.stem not in read and not path.name.startswith("."):
            names.update(_annotation(path).names)
    return tuple(sorted(names))


def _annotation(path: Path) -> _Annotation:
    """Reads an annotation's file.

    Raises:
        UserError: it cannot be read, or is not in VOC's form.
    """
    where = escaped(str(path))
    try:
        root = ET.fromstring(path.read_bytes())
    except OSError as error:
        raise UserError(f"the annotation {where} cannot be read ({error.strerror}): {_AGAIN}") from None
    except (ET.ParseError, ValueError, LookupError) as error:  # of an encoding that does not exist too
        raise UserError(f"the annotation {where} is not XML ({escaped(str(error))}): copy it again") from None

    def text(element: ET.Element, name: str) -> str:
        found = element.findtext(name)
        if not (found and found.strip()):
            raise UserError(f"the annotation {where} has no {name} in its <{element.tag}>: add it")
        return found.strip()

    def number(element: ET.Element, name: str) -> float:
        try:
            value = float(text(element, name))
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"the annotation {where} says {name} {escaped(text(element, name))!r}: give a number")
        return value

    width, height = (int(number(root, f"size/{name}")) for name in ("width", "height"))
    if min(width, height) < 1:
        raise UserError(f"the annotation {where} says that its image has {width} by {height} pixels: correct it")
    objects = root.findall("object")
    boxes = []
    for each in objects:
        left, top, right, bottom = (number(each, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append((left - 1, top - 1, right, bottom))
    return _Annotation(
        width,
        height,
        tuple(text(each, "name") for each in objects),
        tuple(boxes),
        tuple((each.findtext("difficult") or "").strip() == "1" for each in objects),
    )
