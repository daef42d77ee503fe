"""Decoding image files into uint8 arrays. No byte of a file is trusted: a damaged one raises `DecodeError`."""

import contextlib
import io
import re
import struct
from collections.abc import Generator, Iterator

import numpy as np
from PIL import Image, ImageFile, ImageOps, JpegImagePlugin

from jaxcnn.data.jpeg import JpegHeader, decode_jpeg, jpeg_header, single_scan

# Images are opened by format, and not by `Image.open`, which checks a limit on pixels that is global state, and which
# would also start other programs; `max_pixels` is checked instead.
Image.init()  # loads all plugins, which would otherwise wait for the first file of an unusual format
_USUAL = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""The formats, by Pillow's names, that are tried first."""
_NEVER = frozenset({"EPS", "WMF", "MPEG", "IPTC", "BUFR", "GRIB", "HDF5"})
"""The formats that Pillow recognizes and does not decode itself: other programs must, or they hold no pixels."""
_WEAK = frozenset({"PPM", "XBM", "PCX", "DIB"})
"""The formats whose first bytes other files, such as texts, may begin with too; their headers tell them apart."""
_NESTED = {
    "ICO": re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(........)", re.DOTALL),
    "ICNS": re.compile(rb"(?:IHDR|ihdr)(........)", re.DOTALL),
}
"""The formats that hold whole images of other formats, and the place of the height and width in these."""
_FOREIGN = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", "HEIF (HEIC)"),
        (rb"....ftyp(?:avif|avis)", "AVIF"),
        (rb"....ftypcrx |FUJIFILMCCD-RAW|II(?:R[OS]|U)|MMOR|FOVb|\0MRM", "a camera's raw file"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
        (rb"II\xbc", "JPEG XR"),
        (rb"RIFF....WEBP", "WebP"),
        (rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?\?>\s*|<!.*?>\s*)*<svg[\s>]", "SVG"),
        (rb"%!|\xc5\xd0\xd3\xc6", "PostScript"),
        (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile"),
        (rb"v/1\x01", "OpenEXR"),
        (rb"#\?(?:RADIANCE|RGBE)", "Radiance HDR"),
        (rb"gimp xcf", "XCF"),
        (rb"AT&TFORM", "DjVu"),
        (rb"BPG\xfb", "BPG"),
        (rb"FLIF", "FLIF"),
    )
)
"""Formats of images by their first bytes, for the message about a file that Pillow cannot read."""

_FOREIGN_SUFFIXES = frozenset(
    {
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".jxl",
        ".jxr",
        ".svg",
        ".eps",
        ".wmf",
        ".emf",
        ".exr",
        ".hdr",
        ".xcf",
        ".djvu",
        ".bpg",
        ".flif",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".dng",
        ".raf",
        ".orf",
        ".rw2",
    }
)
"""The suffixes of such files."""

BEGINNING = 4096
"""The number of bytes at the beginning of a file by which `refusal` judges it."""

_MAX_SCANS = 500
"""The most scans that a progressive JPEG may have; about ten are usual. Decoding a scan goes over the whole image, even
if the scan has only ten bytes."""


class DecodeError(ValueError):
    """An error for bytes that are not a readable image; the message is a clause that says why."""


def _formats() -> Iterator[str]:
    """Yields the names of the formats that the installed Pillow can decode; those without first bytes come last."""
    yield from _USUAL
    others = [name for name in Image.ID if name not in _USUAL and name not in _NEVER]
    yield from sorted(others, key=lambda name: Image.OPEN[name][1] is None)


def _accepts(name: str, first_bytes: bytes) -> bool | None:
    """Returns whether first bytes are those of a format that Pillow can decode; None where it has none."""
    if name not in Image.OPEN:  # an older Pillow lacks it
        return False
    accept = Image.OPEN[name][1]
    if accept is None:
        return None
    # A container of HEIF may hold AVIF or what Pillow cannot read; those that are compatible with AVIF say so.
    if name == "AVIF" and first_bytes[8:12] in (b"mif1", b"msf1"):
        return b"avif" in first_bytes[: int.from_bytes(first_bytes[:4])]
    try:
        return accept(first_bytes[:16]) is True  # a text says that Pillow was built without this format
    except (IndexError, struct.error):  # there are too few bytes
        return False


def _open(name: str, encoded: bytes) -> ImageFile.ImageFile:
    # A JPEG file is not opened as MPO, which several images in one file make of it: the first is wanted.
    factory = JpegImagePlugin.JpegImageFile if name == "JPEG" else Image.OPEN[name][0]
    return factory(io.BytesIO(encoded), "")


def _foreign(first_bytes: bytes) -> str:
    """Returns the clause of a message about a file that is of none of the formats that Pillow can decode."""
    name = next((name for pattern, name in _FOREIGN if pattern.match(first_bytes)), None)
    if name is not None:
        return _unreadable(name)
    return "is not an image" if first_bytes else "is empty"


def _unreadable(name: str) -> str:
    return f"is {name}, which the installed Pillow cannot read, so convert it to JPEG or PNG"


def refusal(beginning: bytes) -> str | None:
    """Returns why a file is no image that can be read, as far as its beginning tells; None if it may be one.

    Args:
        beginning: the first `BEGINNING` bytes of the file, or all of them.

    Returns:
        A clause, such as ``is not an image``.

    Examples:
        >>> refusal(b"GIF89a"), refusal(b"<html>")
        (None, 'is not an image')
    """
    for name in _formats():
        accepted = _accepts(name, beginning)
        if accepted is False:
            continue
        if accepted and name not in _WEAK:
            return None
        try:
            with _open(name, beginning):
                return None
        except Exception:  # what other bytes raise inside Pillow is not one type
            continue
    return _foreign(beginning)


def is_image_suffix(suffix: str) -> bool:
    """Returns whether files with this suffix, such as ``.jpg``, are images, whether or not Pillow can read them."""
    format = Image.registered_extensions().get(suffix)
    return suffix in _FOREIGN_SUFFIXES or (format is not None and format not in _NEVER)


def _opened(encoded: bytes) -> ImageFile.ImageFile:
    """Returns the image of a file, of which only the header is read.

    Raises:
        DecodeError: the bytes are of no format that Pillow can decode, or the header is damaged.
    """
    damage: Exception | None = None
    for name in _formats():
        accepted = _accepts(name, encoded)
        if accepted is False:
            continue
        try:
            return _open(name, encoded)
        except MemoryError:
            raise
        except Exception as error:  # what damaged bytes raise inside Pillow is not one type
            damage = damage or (error if accepted else None)
    if damage is None:
        raise DecodeError(_foreign(encoded[:BEGINNING]))
    raise _damaged(damage) from damage


def _damaged(error: Exception) -> DecodeError:
    return DecodeError(f"cannot be decoded ({error or type(error).__name__})")


def encoding(encoded: bytes) -> str:
    """Returns how the pixels are stored, by the header: ``RGB JPEG``, ``grey JPEG``, ``CMYK JPEG``, ``P PNG``.

    Raises:
        DecodeError: the bytes are of no format that Pillow can decode, or the header is damaged.
    """
    with _opened(encoded) as image:
        return f"{'grey' if image.mode == 'L' else image.mode} {image.format}"


def _to_mode(image: Image.Image, channels: int) -> np.ndarray:
    """Returns a loaded image as uint8 of shape ``(height, width, channels)``."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # Pillow's own conversion clips at 255. Of 16-bit colour it keeps the high byte, and so does this.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DecodeError(f"has pixels of mode {image.mode}, whose range is unknown, so convert it to 8 bits")
    # Alpha is dropped; without this line, Pillow would first warn about a palette with alpha.
    image.info.pop("transparency", None)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def decode(
    encoded: bytes,
    channels: int,
    max_pixels: int,
    rows: int | None = None,
    *,
    upright: bool = False,
    header: JpegHeader | None = None,
) -> np.ndarray:
    """Decodes one image, or the first frame of an animation.

    Palettes, CMYK, 16 bits and grey become 8-bit grey or RGB, and alpha is dropped, as by torchvision's
    ``Image.open(file).convert("RGB")`` (``datasets/folder.py``). As there and in tfds, the orientation in EXIF is not
    applied, unless that is asked for. JPEG files are decoded by libjpeg-turbo directly, where that gives Pillow's own
    pixels.

    Args:
        encoded: a whole file of any format that the installed Pillow decodes: JPEG, PNG, GIF, BMP, WebP, TIFF, PPM,
            AVIF, JPEG 2000 and others, plugins of other packages included.
        channels: 1 for grey (ITU-R 601 luma of a colour image), 3 for RGB.
        max_pixels: an image whose header claims more pixels is not decoded.
        rows: how many rows from the top are wanted, by default all; rows below them may be missing or wrong.
        upright: whether the image is turned as its orientation in EXIF says; all rows are decoded then.
        header: what `jpeg_header` returned of these bytes, if it has been read.

    Returns:
        uint8 of shape ``(height, width, channels)``, possibly read-only; at least ``rows`` rows where they are given.

    Raises:
        DecodeError: the bytes are of none of these formats, damaged or truncated, or have too many pixels or scans.
    """
    if encoded.startswith(b"\xff\xd8\xff"):
        # Scans are counted only where there may be several: it takes a tenth of the time of decoding.
        scan = single_scan(encoded)
        if scan is None and encoded.count(b"\xff\xda") > _MAX_SCANS:
            raise DecodeError(f"has more than {_MAX_SCANS} scans")
        # Pillow turns what is to be turned.
        header = None if upright else header or jpeg_header(encoded)
        pixels = header and decode_jpeg(encoded, header, channels, max_pixels, rows, scan)
        if pixels is not None:
            return pixels
    with _loaded(encoded, max_pixels) as image:
        if upright:
            ImageOps.exif_transpose(image, in_place=True)
        return _to_mode(image, channels)


def decode_rgba(encoded: bytes, max_pixels: int) -> np.ndarray:
    """Decodes one image with its transparency, or the first frame of an animation.

    Args:
        encoded: a whole file, as for `decode`.
        max_pixels: an image whose header claims more pixels is not decoded.

    Returns:
        Red, green, blue and alpha, uint8 of shape ``(height, width, 4)``; alpha is 255 where there is none.

    Raises:
        DecodeError: as `decode` does.
    """
    with _loaded(encoded, max_pixels) as image:
        return np.asarray(image.convert("RGBA"))


@contextlib.contextmanager
def _loaded(encoded: bytes, max_pixels: int) -> Generator[ImageFile.ImageFile]:
    """Yields the decoded image of a file; what Pillow raises here or in the body becomes a `DecodeError`."""
    _check_nested(encoded, max_pixels)
    with _opened(encoded) as image:
        _check_size(*image.size, max_pixels)
        try:
            image.load()
            yield image
        except (DecodeError, MemoryError):
            raise
        except Exception as error:  # what damaged bytes raise inside Pillow is not one type
            if re.fullmatch(r"(?:decoder|encoder) \w+ not available", str(error)):
                raise DecodeError(_unreadable(str(image.format))) from error
            raise _damaged(error) from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise DecodeError(
            f"claims {width} by {height} pixels, more than max_pixels={max_pixels} allows: --max-pixels (of a run, "
            "--data.max-pixels) sets the limit"
        )


def _check_nested(encoded: bytes, max_pixels: int) -> None:
    """Refuses a container of other images if one of these claims too many pixels, because Pillow opens them itself."""
    for name, pattern in _NESTED.items():
        if _accepts(name, encoded):
            for found in pattern.finditer(encoded):
                _check_size(*struct.unpack(">II", found[1]), max_pixels)


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Returns a uint8 image of shape ``(height, width, 1 or 3)`` as grey or RGB, converted as `decode` does."""
    if image.shape[-1] == channels:
        return image
    return _to_mode(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), channels)
