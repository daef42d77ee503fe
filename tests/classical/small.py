"""A small data set and options for it, for the tests of baselines."""

import dataclasses

import numpy as np
from PIL import Image

from jaxcnn.config import DataConfig, Resize
from jaxcnn.config.baselines import DenseSIFT, SiftFisher, SparseCoding
from jaxcnn.config.features import ProbeConfig

CLASSES = ("across", "down", "slanted")
FLAT = {"train": "down/07.png", "test": "across/02.png"}
"""The image of each split that has no contrast."""


def write_gratings(folder, train=8, test=5):
    """Writes gratings whose direction is their class, one of each split flat; a fourth class has one image to train."""
    rng = np.random.RandomState(0)
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate((*CLASSES, "rare")):
            for number in range(1 if name == "rare" else count):
                path = folder / split / name / f"{number:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                y, x = np.mgrid[:24, :24]
                along = (y, x, x + y, x - y)[label] + rng.rand() * 8
                pixels = 110 + 90 * np.sin(along) + rng.normal(0, 20, (24, 24))
                if f"{name}/{path.name}" == FLAT[split]:
                    pixels = np.full((24, 24), 90)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def options(kind, folder):
    """Options that take seconds."""
    common = {
        "data": DataConfig(name=f"folder:{folder}", channels=1, batch_size=8, evaluation_crop=Resize(size=24)),
        "sift": DenseSIFT(step=5, bins=(2.0, 3.0)),
        "sample": 300,
        "probe": ProbeConfig(scaling="none", regularization=(1.0, 10.0), folds=2),
        "top_k": (1,),
    }
    if kind == "sift-fisher":
        return SiftFisher(pca=8, components=4, max_steps=30, tolerance=1e-5, pyramid=((1, 1), (2, 1)), **common)
    return SparseCoding(atoms=12, batch=16, passes=2, pyramid=((1, 1), (2, 2)), **common)


def with_data(config, **changes):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


def contents(folder):
    """The bytes of every file in a folder, by its path there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
