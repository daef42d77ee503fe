"""``digits``: scikit-learn's 1797 handwritten digits of 8 by 8 pixels; every fifth of each class is ``test``."""

import functools
import importlib.util
from pathlib import Path

import numpy as np

from jaxcnn.data.sources.source import Source, SourceRequest


def digits_splits(rest: str, data_dir: str | None) -> tuple[str, ...]:
    """Returns the names of the two splits."""
    return "train", "test"


def open_digits(request: SourceRequest) -> Source:
    """Opens one split: 1437 images are in ``train``, 360 in ``test``."""
    images, target = _digits()
    held_out = np.argsort(target, kind="stable")[::5]
    chosen = np.sort(held_out) if request.split == "test" else np.setdiff1d(np.arange(len(images)), held_out)
    return Source(
        request.name,
        request.split,
        class_names=tuple(map(str, range(10))),
        size=len(chosen),
        read=lambda index: (images[chosen[index]], int(target[chosen[index]])),
        describe=lambda index: f"digit {chosen[index]}",
    )


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns the digits as uint8, (1797, 8, 8, 1), and what they are, int, (1797,)."""
    found = importlib.util.find_spec("sklearn")
    assert found is not None  # it is a dependency
    assert found.submodule_search_locations is not None
    file = Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    # Importing scikit-learn takes half as long as all other imports of a training together: its file is read without.
    if file.is_file():
        table = np.loadtxt(file, delimiter=",")
        levels, target = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int)
    else:
        import sklearn.datasets

        digits = sklearn.datasets.load_digits()
        levels, target = digits.images, digits.target
    return np.round(levels * (255 / 16)).astype(np.uint8)[..., None], target
