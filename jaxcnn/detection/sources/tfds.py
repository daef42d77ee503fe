"""``tfds:NAME[/CONFIG][:VERSION]``: a data set for detection, such as ``tfds:voc/2007``, read without TensorFlow.

TensorFlow Datasets has prepared it in ArrayRecord files. Its boxes are shares of the image's height and width. Of VOC,
they are still those of VOC's files, which count from 1.
"""

import dataclasses
import re
from typing import Any

import numpy as np

from jaxcnn.config import DataConfig
from jaxcnn.data.decode import DecodeError, decode
from jaxcnn.data.jpeg import jpeg_header
from jaxcnn.data.progress import Progress
from jaxcnn.data.sources.tfds import tfds_builder, tfds_listing, tfds_pieces, tfds_records, tfds_text
from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects
from jaxcnn.detection.sources.request import AnnotatedRequest, image_of
from jaxcnn.errors import UserError
from jaxcnn.text import escaped

_ROUNDING = 1e-3
"""The pixels within which a coordinate of VOC's is a whole number that has been stored as a share, in float32."""


def open_annotated_tfds(request: AnnotatedRequest) -> AnnotatedSplit:
    """Opens one split, or a slice of one, in the order of its records, each of which is read once for its annotation.

    Objects are `difficult` where ``is_difficult`` says so, and a `crowd` where ``is_crowd`` does. The number of an
    image is its ``image/id``, or the one that its ``image/filename`` is, or that of its record, from 1 on. Categories
    are numbered from 1 on, because tfds does not keep the numbers that COCO gives them.

    Raises:
        UserError: the data set is not prepared, not for detection or not in ArrayRecord files, it has no such split, or
            a record cannot be read.
    """
    name = request.name
    builder = tfds_builder(request.rest, request.data_dir)
    features = builder.info.features
    inner = getattr(features["objects"], "feature", {}) if "objects" in features else {}
    missing = [key for key, there in (("image", features), ("bbox", inner), ("label", inner)) if key not in there]
    if missing:
        raise UserError(
            f"{escaped(name)} is not for detection: it has no {', '.join(missing)} as tfds's data sets with 'objects' "
            "have; name another"
        )
    parts = tfds_pieces(name, builder, request.split)
    record_at, size = tfds_records(name, builder, request.split)

    def record(index: int) -> dict[str, Any]:
        try:
            return record_at(index)
        except OSError as error:
            raise UserError(
                f"record {index} of {escaped(name)}, split {request.split!r}, cannot be read ({escaped(str(error))}): "
                "prepare the data set again"
            ) from None

    def image(index: int) -> AnnotatedImage:
        read = record(index)
        file = tfds_text(read["image/filename"]) if "image/filename" in features else ""
        what = f"record {index} ({file})" if file else f"record {index}"
        width, height = _size(read["image"], what)
        number = read["image/id"] if "image/id" in features else _number(file, index)
        return AnnotatedImage(
            what,
            int(number),
            width,
            height,
            _objects(read["objects"], width, height, from_one=builder.name == "voc"),
            lambda: image_of(record(index)["image"], width, height, what, "its record"),
            name,
        )

    images, progress = [], Progress(escaped(name), size)
    for index in range(size):
        images.append(image(index))
        progress.advance(1)
    if len({each.image_id for each in images}) < len(images):
        images = [dataclasses.replace(each, image_id=number) for number, each in enumerate(images, 1)]
    class_names = tuple(inner["label"].names)
    return AnnotatedSplit(
        name,
        class_names,
        tuple(range(1, len(class_names) + 1)),
        images,
        request.split,
        lambda: tfds_listing(builder, parts),
    )


def _size(encoded: bytes, what: str) -> tuple[int, int]:
    """Returns the width and height of an image."""
    if header := jpeg_header(encoded):
        return header.width, header.height
    try:
        height, width, _ = decode(encoded, 3, DataConfig.max_pixels).shape
    except DecodeError as error:
        raise UserError(f"the image {escaped(what)} {error}: prepare the data set again") from None
    return width, height


def _number(file: str, index: int) -> int:
    """Returns the number that a file's name is, such as 12 of ``000012.jpg``; else that of a record, from 1 on."""
    found = re.fullmatch(r"(\d+)\.\w+", file, re.ASCII)
    return int(found[1]) if found else index + 1


def _objects(stored: dict[str, Any], width: int, height: int, *, from_one: bool) -> Objects:
    """Returns the objects of a record.

    Args:
        stored: what the record holds of them; boxes are top, left, bottom, right, as shares.
        width: the width of the image, in pixels.
        height: the height of the image, in pixels.
        from_one: whether the pixels count from 1, and boxes include their end.
    """
    shares = np.asarray(stored["bbox"], np.float64).reshape(-1, 4)
    boxes = shares[:, [1, 0, 3, 2]] * [width, height, width, height]
    if from_one:
        whole = np.round(boxes)
        boxes = np.where(np.abs(boxes - whole) < _ROUNDING, whole, boxes) - [1, 1, 0, 0]
    return Objects.of(boxes, stored["label"], stored.get("is_difficult"), stored.get("is_crowd"))
