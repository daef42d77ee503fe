"""The grounds that things are put on: photographs that come with packages, or images in a folder of one's own.

A ground is named by a word or a folder, ``photographs``, and an image of it by that and the name of its file,
``photographs/china.jpg``.
"""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcnn.config import DataConfig
from jaxcnn.data.decode import DecodeError, decode, is_image_suffix
from jaxcnn.errors import UserError
from jaxcnn.paths import expanded
from jaxcnn.text import escaped

_KEPT = 16
"""The number of images that are kept decoded."""
_SCIKIT_IMAGE = ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg")
"""The photographs among the images that come with scikit-image; the others are drawings, texts and micrographs."""


def _package_folder(package: str) -> Path | None:
    """Returns the folder of a package that is installed, without importing it, which takes seconds."""
    found = importlib.util.find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parent


def _folder(ground: str) -> Path:
    if ground == "photographs":
        sklearn = _package_folder("sklearn")
        assert sklearn is not None
        return sklearn / "datasets" / "images"
    if ground == "scikit-image":
        skimage = _package_folder("skimage")
        if skimage is None:
            raise UserError("the grounds scikit-image need the package scikit-image: install it, or name others")
        return skimage / "data"
    return expanded(ground)


def ground_images(ground: str) -> tuple[str, ...]:
    """Returns the names of a ground's images, sorted; none for plain colours.

    Args:
        ground: ``plain``, ``photographs``, ``scikit-image`` or a folder.

    Raises:
        UserError: there is no such folder, or it holds no images; or scikit-image is not installed.
    """
    if ground == "plain":
        return ()
    folder = _folder(ground)
    if not folder.is_dir():
        raise UserError(f"there is no folder of grounds {escaped(str(folder))}: give photographs, plain, or a folder")
    names = sorted(path.name for path in folder.iterdir() if is_image_suffix(path.suffix.lower()))
    if ground == "scikit-image":
        names = [name for name in names if name in _SCIKIT_IMAGE]
    if not names:
        raise UserError(f"the folder of grounds {escaped(str(folder))} holds no images: name another")
    return tuple(f"{ground}/{name}" for name in names)


def ground_bytes(image: str) -> bytes:
    """Returns the file of a ground's image.

    Raises:
        UserError: it cannot be read.
    """
    ground, _, name = image.rpartition("/")
    try:
        return (_folder(ground) / name).read_bytes()
    except OSError as error:
        raise UserError(f"the ground {escaped(image)} cannot be read ({error.strerror}): make it readable") from None


def ground_reader() -> Callable[[str], np.ndarray]:
    """Returns a function that decodes grounds' images, and keeps the last few.

    It returns uint8 of shape ``(height, width, 3)``, and raises `UserError` for one that is no image.
    """

    @functools.lru_cache(_KEPT)
    def read(image: str) -> np.ndarray:
        try:
            return decode(ground_bytes(image), 3, DataConfig.max_pixels)
        except DecodeError as error:
            raise UserError(f"the ground {escaped(image)} {error}: remove it") from None

    return read


def view(ground: np.ndarray, window: tuple[float, float, float], width: int, height: int) -> Image.Image:
    """Returns a window of a ground, scaled to a size.

    Args:
        ground: uint8 of shape ``(height, width, 3)``.
        window: the left and top of the window, as shares of the room for it, and its size as a share of the largest
            window of that shape.
        width: the width of the view, in pixels.
        height: the height of the view, in pixels.
    """
    across, down, share = window
    most = (
        min(ground.shape[1], ground.shape[0] * width / height),
        min(ground.shape[0], ground.shape[1] * height / width),
    )
    sides = [max(round(share * length), 1) for length in most]
    left, top = round(across * (ground.shape[1] - sides[0])), round(down * (ground.shape[0] - sides[1]))
    seen = Image.fromarray(ground[top : top + sides[1], left : left + sides[0]])
    return seen.resize((width, height), Image.Resampling.BICUBIC)
