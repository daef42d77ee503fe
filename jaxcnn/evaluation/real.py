"""ImageNet-ReaL's labels, of which an image may have several (Beyer et al., arXiv:2006.07159)."""

import json
from pathlib import Path

from jaxcnn.errors import UserError


def read_valid_labels(path: Path, images: int, num_classes: int) -> list[list[int]]:
    """Reads the right labels of each image from the authors' ``real.json``, a list of lists of labels from 0.

    Args:
        path: the file, whose first list belongs to image 1.
        images: the number of images.
        num_classes: the number of classes, which is above every label.

    Raises:
        UserError: the file cannot be read, has another form or another number of images, or a label is no class.
    """
    try:
        lists = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"the labels {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(lists, list) or not all(isinstance(labels, list) for labels in lists):
        raise UserError(f"the labels {path} must be a JSON list that holds, for each image, the list of its labels")
    if len(lists) != images:
        raise UserError(
            f"the labels {path} are of {len(lists)} images, and there are {images}: give a list for each image"
        )
    for number, labels in enumerate(lists, 1):
        for label in labels:
            if type(label) is not int or not 0 <= label < num_classes:
                raise UserError(
                    f"the labels {path} give image {number} the label {label!r}, and labels are 0 to {num_classes - 1}"
                )
    return lists
