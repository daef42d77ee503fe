"""Proposals: the boxes of an image that may hold an object, by OpenCV's selective search, computed once and kept.

OpenCV finds the same boxes every time, in an order that C's ``rand()`` decides; here they have an order of their own.
What is found is kept in a folder under the SHA-256 of the image's pixels, so it belongs to an image wherever its file
lies, and images that two splits share are searched once.
"""

import contextlib
import functools
import hashlib
import io
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxcnn.config.proposals import ProposalsConfig
from jaxcnn.data.progress import Progress
from jaxcnn.data.random import random_state
from jaxcnn.data.stream import available_cores
from jaxcnn.data.threads import map_ahead
from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit
from jaxcnn.errors import writing
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.opencv import import_opencv, opencv_without_threads

_LOG = logging.getLogger(__name__)
_FOR = ("selective search", "detection")
"""What needs OpenCV, and the extra that installs it."""
_AHEAD_A_THREAD = 2
"""The number of images for each thread that are searched ahead of the one that is waited for."""


def proposals_of(
    split: AnnotatedSplit, config: ProposalsConfig, folder: Path, stop: Callable[[], bool] = lambda: False
) -> list[np.ndarray]:
    """Returns the proposals of each image of a split, which threads compute unless the folder has them.

    OpenCV searches an image in one thread and lets others of Python run meanwhile. Each image's boxes are a file, which
    is whole or absent, so any number of threads and programs may use one folder at a time.

    Args:
        split: the split.
        config: the options.
        folder: the folder of proposals of any images and options, which is made if need be.
        stop: called after each image.

    Returns:
        For each image, in the split's order, the boxes, float32 (boxes, 4): see `search`.

    Raises:
        Interrupted: ``stop`` returned True. What was found is kept.
        UserError: OpenCV is not installed, an image cannot be read, or the folder cannot be written.
        MachineError: the disk is full, or fails.
    """
    workers = available_cores()
    progress, found, searched = Progress(f"proposals of {split.title}", len(split.images)), [], 0
    one = functools.partial(_kept_or_found, config=config, folder=folder / _settings(config))
    with (
        opencv_without_threads(*_FOR),
        contextlib.closing(map_ahead(one, split.images, workers=workers, depth=_AHEAD_A_THREAD * workers)) as results,
    ):
        for boxes, was_kept in results:
            found.append(boxes)
            searched += not was_kept
            progress.advance(1)
            if stop():
                raise Interrupted
    _LOG.info(
        "%s: %s proposals of %s images, %s of which were searched now",
        split.title,
        *(f"{count:,}" for count in (sum(map(len, found)), len(found), searched)),
    )
    return found


def search(image: np.ndarray, config: ProposalsConfig) -> np.ndarray:
    """Returns the boxes that selective search finds in an image.

    Args:
        image: uint8 (height, width, 3), RGB.
        config: the options.

    Returns:
        float32 (boxes, 4): left, top, right and bottom, in pixels of the image, each box once, in the order of
        `ordered`. There are none where no box is as large as ``config.min_size``, as in a smaller image; in a flat
        image there is one, the image itself.

    Raises:
        UserError: OpenCV is not installed.
    """
    cv2 = import_opencv(*_FOR)
    height, width = image.shape[:2]
    factor = min(config.max_side / max(height, width), 1.0)
    shape = tuple(max(round(length * factor), 1) for length in (width, height))
    pixels = np.ascontiguousarray(image[:, :, ::-1])  # OpenCV's channels are blue, green, red
    if factor < 1:
        pixels = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    selective = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    selective.setBaseImage(pixels)
    switch = {"fast": selective.switchToSelectiveSearchFast, "quality": selective.switchToSelectiveSearchQuality}
    switch[config.mode](config.base_k, config.inc_k, config.sigma)
    found = np.asarray(selective.process(), np.float64).reshape(-1, 4)  # left, top, width, height
    found = found[(found[:, 2:] >= config.min_size).all(1)]
    corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    scale = np.array([width / shape[0], height / shape[1]] * 2)
    return ordered((corners * scale).astype(np.float32))


def ordered(boxes: np.ndarray) -> np.ndarray:
    """Returns boxes without duplicates, in an order that depends on which they are and not on the order given.

    The paper orders the boxes of a hierarchy of segments by a random number from 0 to 1 times the place in the
    hierarchy, largest first, so that the first boxes are of all sizes and large ones are not all there is of them
    (Section 3.3). Here the place is that among all boxes by area, and the numbers are the same every time. The first
    boxes are therefore the ones to take where there is no time for all.

    Args:
        boxes: float32 (boxes, 4).
    """
    unique = np.unique(boxes, axis=0)  # sorts them, too
    areas = (unique[:, 2:].astype(np.float64) - unique[:, :2]).prod(1)
    places = np.empty(len(unique))
    places[np.argsort(-areas, kind="stable")] = np.arange(1, len(unique) + 1)
    return unique[np.argsort(random_state(0).uniform(size=len(unique)) * places, kind="stable")]


def content_sha256(image: np.ndarray) -> str:
    """Returns the SHA-256 of an image's shape and pixels."""
    digest = hashlib.sha256(f"{image.dtype} {image.shape}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _settings(config: ProposalsConfig) -> str:
    """Returns the name of the folder of everything besides the image that boxes depend on."""
    options = (config.mode, config.base_k, config.inc_k, config.sigma, config.min_size, config.max_side)
    return "-".join(map(str, ("selective", *options, "opencv", import_opencv(*_FOR).__version__)))


def _kept_or_found(image: AnnotatedImage, config: ProposalsConfig, folder: Path) -> tuple[np.ndarray, bool]:
    """Returns the boxes of an image, and whether they were kept in the folder; else they are now."""
    pixels = image.read()
    digest = content_sha256(pixels)
    path = folder / digest[:2] / f"{digest[2:]}.npy"
    boxes = _read(path)
    if boxes is not None:
        return boxes, True
    boxes = search(pixels, config)
    with writing(path, "choose another folder of proposals"):
        _write(path, boxes)
    return boxes, False


def _read(path: Path) -> np.ndarray | None:
    """Returns the boxes in a file; None where there is no such file, or it is damaged."""
    try:
        boxes = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        _LOG.warning("%s cannot be read (%s): its image is searched again", path, error)
        return None
    return boxes


def _write(path: Path, boxes: np.ndarray) -> None:
    """Writes a file under a name of its own and renames it, because others may be writing the same one."""
    content = io.BytesIO()
    np.save(content, boxes, allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        scratch.write_bytes(content.getvalue())
        os.replace(scratch, path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise
