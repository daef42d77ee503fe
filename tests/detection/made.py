"""Small pictures and splits of them, for the tests of proposals and of regions."""

import numpy as np

from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects


def picture(number, size=(40, 56)):
    """A smooth ground with two rectangles."""
    rng = np.random.RandomState(number)
    y, x = np.mgrid[: size[0], : size[1]]
    image = np.stack([60 + y, 90 + x, 120 + 0 * x], axis=-1).astype(np.float64) + rng.normal(0, 2, (*size, 3))
    for left, top, right, bottom, colour in ((5, 6, 20, 25, (250, 30, 20)), (30, 10, 50, 30, (20, 220, 240))):
        image[top:bottom, left:right] = colour
    return image.clip(0, 255).astype(np.uint8)


def split_of(images, objects=None, names=("thing", "other")):
    """A split of arrays."""
    objects = objects or [Objects.of([], [])] * len(images)
    return AnnotatedSplit(
        "made",
        names,
        tuple(range(1, len(names) + 1)),
        [
            AnnotatedImage(f"{index:03}", index + 1, image.shape[1], image.shape[0], each, lambda image=image: image)
            for index, (image, each) in enumerate(zip(images, objects, strict=True))
        ],
        "train",
    )
