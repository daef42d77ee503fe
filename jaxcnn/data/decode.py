"""Decoding image files into uint8 arrays. No byte of a file is trusted: a damaged one raises `DecodeError`."""

import io
import re

import numpy as np
import simplejpeg
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# Images are opened by format, and not by `Image.open`, which would also take formats that nobody trains on, and which
# checks a limit on pixels that is global state; `max_pixels` is checked instead.
_FORMATS: tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
)

_MAX_SCANS = 500
"""The most scans that a progressive JPEG may have; about ten are usual. Decoding a scan goes over the whole image, even
if the scan has only ten bytes."""

_TRAILER = 64
"""The number of bytes at the end of a JPEG file in which its end marker is looked for; without one, the file may be
truncated."""


class DecodeError(ValueError):
    """An error for bytes that are not a readable image; the message is a clause that says why."""


def _format(first_bytes: bytes) -> type[ImageFile.ImageFile] | None:
    return next((reader for magic, reader in _FORMATS if magic.match(first_bytes)), None)


def looks_like_image(first_bytes: bytes) -> bool:
    """Returns whether a file's first bytes are those of a JPEG, PNG, GIF, BMP, WebP or TIFF file.

    Args:
        first_bytes: the first twelve bytes of the file, or more.

    >>> looks_like_image(b"GIF89a"), looks_like_image(b"<html>")
    (True, False)
    """
    return _format(first_bytes) is not None


def encoding(encoded: bytes) -> str:
    """Returns how the pixels are stored, by the header: ``RGB JPEG``, ``grey JPEG``, ``CMYK JPEG``, ``P PNG``.

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
    """Returns a loaded image as uint8 of shape ``(height, width, channels)``."""
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255. Of 16-bit colour it keeps the high byte, and so does this.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DecodeError(f"has pixels of mode {image.mode}, whose range is unknown")
    # Alpha is dropped; without this line, Pillow would first warn about a palette with alpha.
    image.info.pop("transparency", None)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def _single_scan(encoded: bytes) -> tuple[int, int] | None:
    """Returns the offset of a one-scan sequential JPEG's height, and the rows of its MCUs; None for any other JPEG.

    By ITU-T T.81, annex B, a frame header (B.2.2) comes before the scan header (B.2.3), among other segments.
    """
    offset, found, components = 2, None, 0
    try:
        while encoded[offset] == 0xFF:
            marker, length = encoded[offset + 1], int.from_bytes(encoded[offset + 2 : offset + 4])
            if marker in (0xC0, 0xC1):
                components = encoded[offset + 9]
                factors = encoded[offset + 11 : offset + 11 + 3 * components : 3]
                found = offset + 5, 8 * max(factor & 15 for factor in factors)
            elif marker == 0xDA:
                return found if encoded[offset + 4] == components else None
            elif not 0xDB <= marker <= 0xFE and marker != 0xC4:  # progressive, arithmetic, or unexpected here
                return None
            offset += 2 + length
    except (IndexError, ValueError):
        pass
    return None


def jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns the height and width that a JPEG file's header claims; None where there is no such header."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return None
    return int(height), int(width)


def _decode_jpeg(encoded: bytes, channels: int, max_pixels: int, rows: int | None) -> np.ndarray | None:
    """Returns Pillow's own pixels, faster, of a JPEG file in which libjpeg-turbo finds nothing odd; else None."""
    try:
        *shape, colorspace, _ = simplejpeg.decode_jpeg_header(encoded)
        height, width = map(int, shape)
        # Pillow decodes colour to grey, because it computes grey from RGB, and libjpeg-turbo returns the file's luma.
        if height * width > max_pixels or colorspace not in (("Gray",) if channels == 1 else ("Gray", "YCbCr", "RGB")):
            return None
        strict = True
        single_scan = _single_scan(encoded) if rows is not None and b"\xff\xd9" in encoded[-_TRAILER:] else None
        if rows is not None and single_scan is not None:
            offset, mcu = single_scan
            # Rows of colour are blended with their neighbours, so one row of colour more than is wanted is decoded.
            shortened = -(-(rows + mcu // 8) // mcu) * mcu
            if shortened < height:
                # A smaller height in the header makes the decoder stop there; it then warns about the rest of the file.
                encoded = encoded[:offset] + shortened.to_bytes(2) + encoded[offset + 2 :]
                strict = False
        return simplejpeg.decode_jpeg(encoded, "GRAY" if channels == 1 else "RGB", strict=strict)
    except ValueError:
        return None


def decode(
    encoded: bytes, channels: int, max_pixels: int, rows: int | None = None, *, upright: bool = False
) -> np.ndarray:
    """Decodes one image, or the first frame of an animation.

    Palettes, CMYK, 16 bits and grey become 8-bit grey or RGB, and alpha is dropped, as by torchvision's
    ``Image.open(file).convert("RGB")`` (``datasets/folder.py``). As there and in tfds, the orientation in EXIF is not
    applied, unless that is asked for. JPEG files are decoded by libjpeg-turbo directly, where that gives Pillow's own
    pixels.

    Args:
        encoded: a whole JPEG, PNG, GIF, BMP, WebP or TIFF file.
        channels: 1 for grey (ITU-R 601 luma of a colour image), 3 for RGB.
        max_pixels: an image whose header claims more pixels is not decoded.
        rows: how many rows from the top are wanted, by default all; rows below them may be missing or wrong.
        upright: whether the image is turned as its orientation in EXIF says; all rows are decoded then.

    Returns:
        uint8 of shape ``(height, width, channels)``, possibly read-only; at least ``rows`` rows where they are given.

    Raises:
        DecodeError: the bytes are of none of these formats, damaged or truncated, or have too many pixels or scans.
    """
    reader = _format(encoded[:16])
    if reader is None:
        raise DecodeError("is not an image" if encoded else "is empty")
    if reader is JpegImagePlugin.JpegImageFile:
        if encoded.count(b"\xff\xda") > _MAX_SCANS and _single_scan(encoded) is None:
            raise DecodeError(f"has more than {_MAX_SCANS} scans")
        # Pillow turns what is to be turned.
        pixels = None if upright else _decode_jpeg(encoded, channels, max_pixels, rows)
        if pixels is not None:
            return pixels
    try:
        with reader(io.BytesIO(encoded)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise DecodeError(f"claims {width} by {height} pixels, more than max_pixels={max_pixels}")
            image.load()
            if upright:
                ImageOps.exif_transpose(image, in_place=True)
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
