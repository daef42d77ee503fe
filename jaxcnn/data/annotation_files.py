"""Writing annotated objects in the forms of COCO, JSON, and of PASCAL VOC, XML and lists."""

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

import numpy as np

from jaxcnn.types import JsonObject

ANNOTATIONS = "Annotations"
"""The folder of VOC's annotations, within a data set's folder."""
IMAGES = "JPEGImages"
"""The folder of VOC's images, within a data set's folder."""
LISTS = "ImageSets/Main"
"""The folder of VOC's lists of images, within a data set's folder."""


@dataclasses.dataclass(frozen=True, eq=False)
class Annotated:
    """An image and its objects, none of them difficult or a crowd."""

    name: str
    """The name of the image, a number in decimal figures, such as ``000012``."""
    file: str
    """The name of its file, without folders."""
    width: int
    """The width of the image, in pixels."""
    height: int
    """The height of the image, in pixels."""
    class_names: tuple[str, ...]
    """The objects' classes."""
    boxes: np.ndarray
    """The objects' boxes, integers of shape ``(n, 4)``: left, top, right, bottom, which cover [left, right) x [top,
    bottom)."""


def coco_json(images: Sequence[Annotated], class_names: Sequence[str]) -> JsonObject:
    """Returns annotations in COCO's form.

    Args:
        images: the images of a split.
        class_names: the classes' names; their numbers are 1, 2, and so on.
    """
    numbers = {name: number for number, name in enumerate(class_names, 1)}
    annotations = []
    for image in images:
        for name, (left, top, right, bottom) in zip(image.class_names, image.boxes.tolist(), strict=True):
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": int(image.name),
                    "category_id": numbers[name],
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {
                "id": int(image.name),
                "file_name": f"{IMAGES}/{image.file}",
                "width": image.width,
                "height": image.height,
            }
            for image in images
        ],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        "annotations": annotations,
    }


def voc_xml(image: Annotated) -> bytes:
    """Returns an annotation in VOC's form, whose boxes count from 1 and include their end."""
    root = ET.Element("annotation")
    _add(root, {"folder": IMAGES, "filename": image.file})
    _add(ET.SubElement(root, "size"), {"width": image.width, "height": image.height, "depth": 3})
    _add(root, {"segmented": 0})
    for name, (left, top, right, bottom) in zip(image.class_names, image.boxes.tolist(), strict=True):
        thing = ET.SubElement(root, "object")
        _add(thing, {"name": name, "pose": "Unspecified", "truncated": 0, "difficult": 0})
        _add(ET.SubElement(thing, "bndbox"), {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom})
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8") + b"\n"


def _add(element: ET.Element, texts: Mapping[str, str | int]) -> None:
    for name, text in texts.items():
        ET.SubElement(element, name).text = str(text)


def voc_lists(images: Sequence[Annotated], class_names: Sequence[str], split: str) -> dict[str, str]:
    """Returns the content of VOC's lists of a split, by the names of their files.

    They are the list of all images, and one for each class that says of each image whether it shows the class, 1, or
    not, -1.
    """
    found = {f"{split}.txt": "".join(f"{image.name}\n" for image in images)}
    for name in class_names:
        lines = (f"{image.name} {1 if name in image.class_names else -1:2d}\n" for image in images)
        found[f"{name}_{split}.txt"] = "".join(lines)
    return found
