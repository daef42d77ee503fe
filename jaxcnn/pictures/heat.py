"""Maps of an image in colours: laid over it, or as they are."""

import numpy as np
from PIL import Image

_STOPS = np.array([(13, 8, 80), (106, 0, 168), (203, 70, 121), (248, 149, 64), (240, 249, 33)], np.float32)
"""The colours of a map from nothing to its highest value; every one is brighter than the one before."""
_FOR, _AGAINST = np.array([178, 24, 43], np.float32), np.array([33, 102, 172], np.float32)
"""Red for what speaks for a class, and blue for what speaks against it; colour-blind people can tell them apart."""
_CLIPPED = 98.0
"""The percentile of absolute values from which on a signed map is drawn in full colour: a few pixels would else leave
all others pale."""


def resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns a map of another (height, width), interpolated, float32."""
    picture = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def laid_over(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns an image in grey under a map in colours, uint8 (height, width, 3).

    The brightest colour is the map's highest value, and the darkest is 0 and below.

    Args:
        pixels: the image, uint8 (height, width, 1 or 3).
        values: the map, of any height and width.
    """
    values = resized(values, (pixels.shape[0], pixels.shape[1])).clip(0)
    share = (values / max(float(values.max()), np.finfo(np.float32).tiny))[..., None]
    place = share * (len(_STOPS) - 1)
    below = np.minimum(place.astype(int)[..., 0], len(_STOPS) - 2)
    colours = _STOPS[below] + (place - below[..., None]) * (_STOPS[below + 1] - _STOPS[below])
    return _bytes(0.45 * _grey(pixels) + 0.55 * colours)


def signed(values: np.ndarray) -> np.ndarray:
    """Returns a map of values for and against a class, uint8 (height, width, 3): red, white where it is 0, and blue.

    Args:
        values: the map, float (height, width).
    """
    most = max(float(np.percentile(np.abs(values), _CLIPPED)), np.finfo(np.float32).tiny)
    share = (values / most).clip(-1, 1)[..., None]
    return _bytes(255 + np.abs(share) * (np.where(share > 0, _FOR, _AGAINST) - 255))


def grey_maps(maps: np.ndarray) -> np.ndarray:
    """Returns each channel of a map as a picture in grey, uint8 (channels, height, width, 1).

    A channel's lowest value is black, and its highest white.

    Args:
        maps: float (height, width, channels).
    """
    low, high = maps.min((0, 1)), maps.max((0, 1))
    share = (maps - low) / np.where(high > low, high - low, 1)
    return _bytes(255 * share).transpose(2, 0, 1)[..., None]


def _grey(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32).mean(-1, keepdims=True)


def _bytes(levels: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
