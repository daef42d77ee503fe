"""Scaling an image, with antialiasing when it shrinks: by Pillow, or nearly as Pillow does and several times faster.

`cykooz_resizer` convolves with Pillow's bilinear filter in vector instructions and rounds in another way, so a value
may differ by one grey level, very rarely by two. That does not matter in a random crop; images that are measured are
scaled by Pillow itself. (The package's bicubic filter is not used: it scales columns before rows, so that it clips
differently where the filter overshoots, by up to 27 levels in noise.) Where the package is not installed, Pillow does
both.
"""

import threading
from types import ModuleType

import numpy as np
from PIL import Image

try:
    import cykooz_resizer
except ImportError:
    cykooz_resizer = None


class _Fast(threading.local):
    """What a thread keeps of the package: a resizer, which must not be shared, and the last result's memory."""

    def __init__(self, package: ModuleType) -> None:
        bilinear = package.ResizeAlg.convolution(package.FilterType.bilinear)
        self.options = package.ResizeOptions(bilinear, use_alpha=False)
        self.resizer = package.Resizer()
        self.package = package
        self.shape: tuple[int, int, int] | None = None

    def resize(self, image: np.ndarray, height: int, width: int) -> np.ndarray:
        rows, columns, channels = image.shape
        kind = self.package.PixelType.U8 if channels == 1 else self.package.PixelType.U8x3
        if self.shape != (height, width, channels):
            self.shape = height, width, channels
            self.result = self.package.ImageData(width, height, kind)
        source = self.package.ImageData(columns, rows, kind, image.tobytes())
        self.resizer.resize(source, self.result, self.options)
        return np.frombuffer(self.result.get_buffer(), np.uint8).reshape(self.shape)  # a copy of its own


_fast = _Fast(cykooz_resizer) if cykooz_resizer else None


def resize(image: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    """Scales an image with Pillow.

    Args:
        image: uint8 of shape ``(rows, columns, 1 or 3)``.
        height: wanted height, in pixels.
        width: wanted width, in pixels.
        interpolation: ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``.

    Returns:
        uint8 of shape ``(height, width, channels)``.
    """
    rows, columns, channels = image.shape
    if (rows, columns) == (height, width):
        return image
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    resized = picture.resize((width, height), Image.Resampling[interpolation.upper()])
    return np.asarray(resized).reshape(height, width, channels)


def resize_fast(image: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    """Scales an image as `resize` does; if bilinear, several times faster and to within one or two grey levels."""
    if image.shape[:2] == (height, width):
        return image
    if cykooz_resizer is None or _fast is None or interpolation != "bilinear":
        return resize(image, height, width, interpolation)
    return _fast.resize(image, height, width)
