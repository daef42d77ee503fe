"""Encoded images to uint8 arrays, distrusting every byte."""

import io
import re

import numpy as np
import simplejpeg
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# Opening by format, and not by `Image.open`, keeps out the formats that nobody trains on, and Pillow's own limit on
# pixels, which warns through global state; ours is checked instead.
_FORMATS: tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
)

_MAX_SCANS = 500
"""Of a progressive JPEG, which has about ten: each goes over the whole image again, for ten bytes of the file."""

_TRAILER = 64
"""Bytes at the end of a JPEG file among which the marker of its end is looked for: a file without may be truncated."""


class DecodeError(ValueError):
    """These bytes are not an image that can be read; the message is a clause that says why."""


def _format(first_bytes: bytes) -> type[ImageFile.ImageFile] | None:
    return next((reader for magic, reader in _FORMATS if magic.match(first_bytes)), None)


def looks_like_image(first_bytes: bytes) -> bool:
    """Returns whether a file that begins so claims to be JPEG, PNG, GIF, BMP, WebP or TIFF.

    Args:
        first_bytes: the first twelve bytes of the file, or more.

    >>> looks_like_image(b"GIF89a"), looks_like_image(b"<html>")
    (True, False)
    """
    return _format(first_bytes) is not None


def encoding(encoded: bytes) -> str:
    """Returns how an image's header says its pixels are stored: ``RGB JPEG``, ``grey JPEG``, ``CMYK JPEG``, ``P PNG``.

    Raises:
        DecodeError: the bytes are of no known format, or the header is damaged.
    """
    reader = _format(encoded[:16])
    if reader is None:
        raise DecodeError("is not an image" if encoded else "is empty")
    try:
        with reader(io.BytesIO(encoded)) as image:
            return f"{'grey' if image.mode == 'L' else image.mode} {reader.format}"
    except Exception as error:  # what damaged bytes raise inside Pillow is not one type
        raise DecodeError(f"cannot be decoded ({error or type(error).__name__})") from error


def _to_mode(image: Image.Image, channels: int) -> np.ndarray:
    """A loaded image as uint8 (height, width, channels)."""
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255. The high byte is what it keeps of 16-bit colour.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DecodeError(f"has pixels of mode {image.mode}, whose range is unknown")
    # Alpha is dropped; without this, Pillow would first warn that a palette has it.
    image.info.pop("transparency", None)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def _single_scan(encoded: bytes) -> tuple[int, int] | None:
    """Of a sequential JPEG of one scan, where its height is written, and how many rows an MCU has; else None.

    ITU-T T.81, annex B: a frame header (B.2.2) comes before the scan header (B.2.3), among other segments.
    """
    place, found, components = 2, None, 0
    try:
        while encoded[place] == 0xFF:
            marker, length = encoded[place + 1], int.from_bytes(encoded[place + 2 : place + 4])
            if marker in (0xC0, 0xC1):
                components = encoded[place + 9]
                factors = encoded[place + 11 : place + 11 + 3 * components : 3]
                found = place + 5, 8 * max(factor & 15 for factor in factors)
            elif marker == 0xDA:
                return found if encoded[place + 4] == components else None
            elif not 0xDB <= marker <= 0xFE and marker != 0xC4:  # progressive, arithmetic, or out of place
                return None
            place += 2 + length
    except (IndexError, ValueError):
        pass
    return None


def jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns the height and width that a JPEG file's header claims; None where there is no such header."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return None
    return height, width


def _decode_jpeg(encoded: bytes, channels: int, max_pixels: int, rows: int | None) -> np.ndarray | None:
    """What Pillow would give, sooner, for a JPEG file in which libjpeg-turbo finds nothing odd; else None."""
    single_scan = _single_scan(encoded)
    if single_scan is None and encoded.count(b"\xff\xda") > _MAX_SCANS:
        raise DecodeError(f"has more than {_MAX_SCANS} scans")
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(encoded)
        # Grey from colour is left to Pillow, which weighs RGB, where libjpeg-turbo would hand out luma.
        if height * width > max_pixels or colorspace not in (("Gray",) if channels == 1 else ("Gray", "YCbCr", "RGB")):
            return None
        strict = True
        if rows is not None and single_scan is not None and b"\xff\xd9" in encoded[-_TRAILER:]:
            place, mcu = single_scan
            # One row of colour more than is wanted, because rows of colour are blended with their neighbours.
            shortened = -(-(rows + mcu // 8) // mcu) * mcu
            if shortened < height:
                # To say that the image ends there is a way to have the decoder stop there, and warn of what is left.
                encoded = encoded[:place] + shortened.to_bytes(2) + encoded[place + 2 :]
                strict = False
        return simplejpeg.decode_jpeg(encoded, "GRAY" if channels == 1 else "RGB", strict=strict)
    except ValueError:
        return None


def decode(encoded: bytes, channels: int, max_pixels: int, rows: int | None = None) -> np.ndarray:
    """Decodes one image; of an animation, the first frame.

    Palettes, CMYK, 16 bits and grey become 8-bit grey or RGB, and alpha is dropped, as by torchvision's
    ``Image.open(file).convert("RGB")`` (``datasets/folder.py``). Like there and in tfds, the orientation that EXIF
    gives is not applied. JPEG files go through libjpeg-turbo without a detour, where that gives Pillow's own pixels.

    Args:
        encoded: a whole JPEG, PNG, GIF, BMP, WebP or TIFF file.
        channels: 1 for grey (ITU-R 601 luma of a colour image), 3 for RGB.
        max_pixels: an image whose header claims more is not decoded.
        rows: how many, from the top, are wanted; there may be fewer or wrong ones below. By default all.

    Returns:
        uint8 of shape ``(height, width, channels)``; it may be read-only, and no lower than ``rows`` if they are given.

    Raises:
        DecodeError: the bytes are of none of these formats, damaged, truncated, or too many pixels or scans.
    """
    reader = _format(encoded[:16])
    if reader is None:
        raise DecodeError("is not an image" if encoded else "is empty")
    if reader is JpegImagePlugin.JpegImageFile:
        pixels = _decode_jpeg(encoded, channels, max_pixels, rows)
        if pixels is not None:
            return pixels
    try:
        with reader(io.BytesIO(encoded)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise DecodeError(f"claims {width} by {height} pixels, more than max_pixels={max_pixels}")
            image.load()
            return _to_mode(image, channels)
    except (DecodeError, MemoryError):
        raise
    except Exception as error:  # what damaged bytes raise inside Pillow is not one type
        raise DecodeError(f"cannot be decoded ({error or type(error).__name__})") from error


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Returns a uint8 image of shape ``(height, width, 1 or 3)`` as grey or RGB, converted as `decode` does."""
    if image.shape[-1] == channels:
        return image
    return _to_mode(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), channels)
