"""``digits``: scikit-learn's 1797 handwritten digits of 8 by 8 pixels; every fifth of each class is ``test``."""

import numpy as np

from jaxcnn.data.sources.source import Source, SourceRequest


def digits_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of the two splits."""
    return "train", "test"


def open_digits(request: SourceRequest) -> Source:
    """Opens one split: 1437 images are in ``train``, 360 in ``test``."""
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    held_out = np.argsort(digits.target, kind="stable")[::5]
    chosen = np.sort(held_out) if request.split == "test" else np.setdiff1d(np.arange(len(images)), held_out)
    return Source(
        request.name,
        request.split,
        class_names=tuple(map(str, range(10))),
        size=len(chosen),
        read=lambda index: (images[chosen[index]], int(digits.target[chosen[index]])),
        describe=lambda index: f"digit {chosen[index]}",
    )
