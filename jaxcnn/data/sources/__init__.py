"""Data sets by name: each split is a random-access sequence of (image, label).

A data set's name is ``KIND`` or ``KIND:REST``. A file here holds one kind each, and `registry` registers it:

- ``digits``: scikit-learn's handwritten digits;
- ``folder:PATH``: image files below folders, one folder a class;
- ``idx:FOLDER``: the files that MNIST and Fashion-MNIST come in;
- ``synthetic[:CLASSES]``: gratings whose direction is their class;
- ``tfds:NAME[/CONFIG][:VERSION]``: a data set that TensorFlow Datasets has prepared, read without TensorFlow; the
  version may be a pattern, ``1.*.*``.

A recipe adds a kind of its own with `register_source`.
"""

from jaxcnn.data.sources.registry import (
    SourceRequest,
    absolute_name,
    evaluation_split,
    is_located,
    open_source,
    register_source,
    source_kinds,
    split_names,
)
from jaxcnn.data.sources.source import Source, check_same_classes, refuse_bad

__all__ = [
    "Source",
    "SourceRequest",
    "absolute_name",
    "check_same_classes",
    "evaluation_split",
    "is_located",
    "open_source",
    "refuse_bad",
    "register_source",
    "source_kinds",
    "split_names",
]
