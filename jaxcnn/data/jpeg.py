"""Decoding JPEG files by libjpeg-turbo directly: their headers, and as many of their rows as are wanted."""

import struct
from typing import NamedTuple

import numpy as np
import simplejpeg

_TRAILER = 64
"""The number of bytes at the end of a JPEG file in which its end marker is looked for; without one, the file may be
truncated."""

_SEGMENT = struct.Struct(">BBH")
"""How a segment of a header begins: 255, its marker, and its length without these two (ITU-T T.81, B.1.1.4)."""


class JpegHeader(NamedTuple):
    """What a JPEG file's header claims."""

    height: int
    width: int
    colorspace: str
    """How colours are stored, by simplejpeg's names, such as ``YCbCr`` or ``Gray``."""


def jpeg_header(encoded: bytes) -> JpegHeader | None:
    """Returns what a JPEG file's header claims; None where there is no such header."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return None
    return JpegHeader(int(height), int(width), colorspace)


class Scan(NamedTuple):
    """The only scan of a sequential JPEG file."""

    offset: int
    """Where in the file the height stands, two bytes."""
    mcu: int
    """The number of rows of pixels that are stored together."""


def single_scan(encoded: bytes) -> Scan | None:
    """Returns the scan of a sequential JPEG file that has one; None for any other file.

    By ITU-T T.81, annex B, a frame header (B.2.2) comes before the scan header (B.2.3), among other segments.
    """
    offset, found, components = 2, None, 0
    try:
        while True:
            start, marker, length = _SEGMENT.unpack_from(encoded, offset)
            if start != 0xFF:
                return None
            if marker in (0xC0, 0xC1):
                components = encoded[offset + 9]
                factors = encoded[offset + 11 : offset + 11 + 3 * components : 3]
                found = Scan(offset + 5, 8 * max(factor & 15 for factor in factors))
            elif marker == 0xDA:
                return found if encoded[offset + 4] == components else None
            elif not 0xDB <= marker <= 0xFE and marker != 0xC4:  # progressive, arithmetic, or unexpected here
                return None
            offset += 2 + length
    except (struct.error, IndexError, ValueError):  # the file ends too early
        return None


def decode_jpeg(
    encoded: bytes, header: JpegHeader, channels: int, max_pixels: int, rows: int | None, scan: Scan | None
) -> np.ndarray | None:
    """Returns Pillow's own pixels, faster, of a JPEG file in which libjpeg-turbo finds nothing odd; else None.

    Args:
        encoded: the whole file.
        header: what `jpeg_header` returned of it.
        channels: 1 for grey, 3 for RGB.
        max_pixels: an image whose header claims more pixels is not decoded.
        rows: how many rows from the top are wanted, by default all; rows below them may be missing or wrong.
        scan: what `single_scan` returned of it.

    Returns:
        uint8 of shape ``(height, width, channels)``.
    """
    # Pillow decodes colour to grey, because it computes grey from RGB, and libjpeg-turbo returns the file's luma.
    usual = ("Gray",) if channels == 1 else ("Gray", "YCbCr", "RGB")
    if header.height * header.width > max_pixels or header.colorspace not in usual:
        return None
    content: bytes | bytearray = encoded
    if rows is not None and scan is not None and b"\xff\xd9" in encoded[-_TRAILER:]:
        # Rows of colour are blended with their neighbours, so one row of colour more than is wanted is decoded.
        shortened = -(-(rows + scan.mcu // 8) // scan.mcu) * scan.mcu
        if shortened < header.height:
            # A smaller height in the header makes the decoder stop there; it then warns about the rest of the file.
            content = bytearray(encoded)
            content[scan.offset : scan.offset + 2] = shortened.to_bytes(2)
    try:
        return simplejpeg.decode_jpeg(content, "GRAY" if channels == 1 else "RGB", strict=content is encoded)
    except ValueError:
        return None
