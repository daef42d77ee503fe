"""Data sets with annotated objects by name, ``KIND:REST``.

A file here holds one kind each:

- ``coco:FOLDER``: a folder in COCO's layout, with annotations in JSON;
- ``tfds:NAME[/CONFIG][:VERSION]``: a data set for detection that TensorFlow Datasets has prepared, read without
  TensorFlow;
- ``voc:FOLDER``: a folder in PASCAL VOC's layout, with annotations in XML.

A recipe adds a kind of its own with `register_annotated`.
"""

from jaxcnn.detection.sources.registry import (
    AnnotatedRequest,
    absolute_annotated_name,
    annotated_kinds,
    annotated_splits,
    open_annotated,
    register_annotated,
)

__all__ = [
    "AnnotatedRequest",
    "absolute_annotated_name",
    "annotated_kinds",
    "annotated_splits",
    "open_annotated",
    "register_annotated",
]
