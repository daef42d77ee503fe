"""What the proposals of one image take, part by part, beside cropping them on the host one by one."""

import functools
import time
from typing import NamedTuple

import jax
import numpy as np

from jaxcnn.benchmarks.timing import take_turns
from jaxcnn.config.proposals import ProposalsConfig
from jaxcnn.data.decode import with_channels
from jaxcnn.data.resize import resize
from jaxcnn.detection.proposals import search
from jaxcnn.detection.suppression import suppress_each_class
from jaxcnn.detection.warp import canvases, check_context, outside, warped
from jaxcnn.features.layers import choose, extractor, layers_of
from jaxcnn.opencv import opencv_without_threads
from jaxcnn.trained import Trained

_CLASSES = 20
"""The number of classes of which boxes are suppressed: VOC's."""
_LIMIT = 100
"""The number of boxes of a class that are kept at most."""


class Proposals(NamedTuple):
    """What the proposals of one image take."""

    count: int
    """The number of proposals, which are the image's first ones."""
    seconds: dict[str, float]
    """The seconds of each part: of selective search those of one turn, of all others the median."""


def photograph() -> np.ndarray:
    """Returns scikit-learn's photograph of a temple, uint8 (427, 640, 3)."""
    import sklearn.datasets

    return sklearn.datasets.load_sample_image("china.jpg")


def time_proposals(
    trained: Trained, image: np.ndarray, config: ProposalsConfig, *, context: int, count: int, at_once: int, rounds: int
) -> Proposals:
    """Times R-CNN's way from an image to its detections, but for the classifier, which is a matrix product.

    Args:
        trained: the network.
        image: uint8 (height, width, 3).
        config: the options of selective search.
        context: the number of pixels around a proposal in what the network sees.
        count: the number of proposals, if there are as many.
        at_once: the number of proposals that the network takes together.
        rounds: see `take_turns`.

    Raises:
        UserError: OpenCV is not installed, or the context leaves no room for a proposal.
    """
    size, channels = trained.data.evaluation_crop.size, trained.data.channels
    check_context(size, context)
    with opencv_without_threads("selective search", "detection"):
        search(image[:64, :64], config)  # it begins slowly
        started = time.perf_counter()
        boxes = search(image, config)[:count]
        searched = time.perf_counter() - started
    fill, pixels = outside(trained.normalization, channels), with_channels(image, channels)
    (layer,) = choose(layers_of(trained.model, trained.variables, (size, size, channels)), None)
    features = jax.jit(extractor(trained.model, trained.normalization, (layer.name,), "none"))
    warp = jax.jit(functools.partial(warped, size=size, context=context, fill=fill))
    # The last batch is filled up with boxes of no size, so that all have one shape.
    padded = np.pad(boxes, ((0, -len(boxes) % at_once), (0, 0))).reshape(-1, at_once, 4)
    which, variables = np.zeros(at_once, np.int32), jax.device_put(trained.variables)

    def canvas():
        return jax.device_put(canvases([pixels]))

    def cropped():
        return [
            jax.device_put(np.stack([crop(pixels, box, size, context, fill) for box in batch]))
            for batch in np.array_split(boxes, len(padded))
        ]

    picture = canvas()
    regions = [warp(picture, which, batch) for batch in padded]
    scores = np.random.default_rng(0).standard_normal((len(boxes), _CLASSES), np.float32)
    seconds = take_turns(
        {
            "packing the image and sending it": canvas,
            "warping on the device": lambda: [warp(picture, which, batch) for batch in padded],
            f"features, {layer.name}": lambda: [features(variables, batch) for batch in regions],
            f"suppression in {_CLASSES} classes": lambda: suppress_each_class(boxes, scores, 0.3, _LIMIT),
            "cropping on the host and sending instead": cropped,
        },
        rounds=rounds,
    )
    return Proposals(len(boxes), {f"selective search, {config.mode}": searched, **seconds})


def crop(pixels: np.ndarray, box: np.ndarray, size: int, context: int, fill: tuple[float, ...]) -> np.ndarray:
    """Returns a box of an image with its context as `jaxcnn.detection.warp` sees it, by Pillow on the host.

    Unlike the warp it takes whole pixels and averages where it shrinks.

    Args:
        pixels: uint8 (height, width, channels).
        box: left, top, right and bottom, in pixels.
        size: the height and width of the result.
        context: the number of pixels around the box in the result.
        fill: the level beyond the picture, for each channel.

    Returns:
        uint8 (size, size, channels).
    """
    left, top, right, bottom = box
    across, down = (context * (end - start) / (size - 2 * context) for start, end in ((left, right), (top, bottom)))
    found = np.empty((size, size, pixels.shape[-1]), np.uint8)
    found[:] = np.rint(fill)
    parts = []
    for start, end, length in (
        (top - down, bottom + down, len(pixels)),
        (left - across, right + across, pixels.shape[1]),
    ):
        inside = max(round(start), 0), min(max(round(end), round(start) + 1), length)
        scale = size / max(end - start, 1)
        first = min(max(round((inside[0] - start) * scale), 0), size - 1)
        last = min(max(round((inside[1] - start) * scale), first + 1), size)
        parts.append((slice(*inside), slice(first, last)))
    (rows, to_rows), (columns, to_columns) = parts
    seen = found[to_rows, to_columns]
    seen[:] = resize(np.ascontiguousarray(pixels[rows, columns]), *seen.shape[:2], "bilinear")
    return found
