"""Decoding: every format and mode comes out as uint8 grey or RGB, and damage is named, not guessed at."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, JpegImagePlugin

from jaxcnn.data.decode import BEGINNING, DecodeError, decode, decode_rgba, encoding, refusal, with_channels

LIMIT = 1 << 20


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(mode: str = "RGB") -> Image.Image:
    rows, columns = np.mgrid[:20, :30]
    return Image.fromarray(np.stack([rows * 12, columns * 8, rows + columns], -1).astype(np.uint8)).convert(mode)


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_reads_each_format_as_pillow_does(kind):
    encoded = encode(picture(), kind)
    assert refusal(encoded[:BEGINNING]) is None
    expected = Image.open(io.BytesIO(encoded))
    np.testing.assert_array_equal(decode(encoded, 3, LIMIT), np.asarray(expected.convert("RGB")))
    np.testing.assert_array_equal(decode(encoded, 1, LIMIT)[..., 0], np.asarray(expected.convert("L")))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("YCbCr", "JPEG")],
)
def test_converts_each_mode(mode, kind):
    encoded = encode(picture(mode), kind)
    assert decode(encoded, 3, LIMIT).shape == (20, 30, 3)
    assert decode(encoded, 1, LIMIT).shape == (20, 30, 1)


WRITTEN = [
    "AVIF",
    "BLP",
    "DDS",
    "DIB",
    "ICNS",
    "ICO",
    "JPEG2000",
    "MPO",
    "MSP",
    "PCX",
    "PPM",
    "QOI",
    "SGI",
    "TGA",
    "XBM",
]


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.filterwarnings("error")
def test_reads_whatever_the_installed_pillow_reads(kind):
    mode = {"BLP": "P", "MSP": "1", "XBM": "1"}.get(kind, "RGB")
    try:
        encoded = encode(picture(mode), kind)
    except (OSError, KeyError):
        pytest.skip(f"the installed Pillow does not write {kind}")
    assert refusal(encoded[:BEGINNING]) is None
    with Image.open(io.BytesIO(encoded)) as opened:
        expected, (width, height) = np.asarray(opened.convert("RGB")), opened.size
    np.testing.assert_array_equal(decode(encoded, 3, LIMIT), expected)
    assert decode(encoded, 1, LIMIT).shape == (height, width, 1)
    assert encoding(encoded).split()[1] == ("JPEG" if kind == "MPO" else kind)
    with pytest.raises(
        DecodeError, match=r"more than max_pixels=99 allows: --max-pixels \(of a run, --data.max-pixels\)"
    ):
        decode(encoded, 3, 99)


def test_a_format_that_a_plugin_adds_is_read(monkeypatch):
    class Plain(ImageFile.ImageFile):
        format = "PLAIN"

        def _open(self):
            self._size, self._mode = (2, 1), "L"
            self.tile = [("raw", (0, 0, 2, 1), 5, ("L", 0, 1))]

    assert refusal(b"PLAIN\x07\x09") == "is not an image"
    monkeypatch.setattr(Image, "ID", [*Image.ID, "PLAIN"])
    monkeypatch.setitem(Image.OPEN, "PLAIN", (Plain, lambda first: first.startswith(b"PLAIN")))
    assert refusal(b"PLAIN\x07\x09") is None
    assert decode(b"PLAIN\x07\x09", 1, LIMIT).ravel().tolist() == [7, 9]


HEIF = b"\0\0\0\x18ftyp%s\0\0\0\0mif1heic"


@pytest.mark.parametrize(
    ("encoded", "name"),
    [
        (HEIF % b"heic", r"HEIF \(HEIC\)"),
        (HEIF % b"mif1", r"HEIF \(HEIC\)"),
        (HEIF % b"hevc", r"HEIF \(HEIC\)"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made -->\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "a Windows metafile"),
        (b"v/1\x01" + bytes(20), "OpenEXR"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw file"),
    ],
)
def test_a_format_that_pillow_cannot_read_is_named_with_the_way_out(encoded, name):
    clause = f"is {name}, which the installed Pillow cannot read, so convert it to JPEG or PNG"
    assert re.fullmatch(clause, refusal(encoded))
    for function in (encoding, lambda whole: decode(whole, 3, LIMIT)):
        with pytest.raises(DecodeError, match=f"^{clause}$"):
            function(encoded)


def test_a_format_that_pillow_was_built_without_is_named(monkeypatch):
    """A plugin says so by a text, or its decoder is missing."""
    monkeypatch.setitem(Image.OPEN, "WEBP", (None, lambda first: "WEBP support not installed"))
    assert refusal(b"RIFF\0\0\0\0WEBPVP8 ").startswith("is WebP, which the installed Pillow cannot read")
    encoded = encode(picture(), "JPEG2000")
    monkeypatch.delattr(Image.core, "jpeg2k_decoder")
    with pytest.raises(DecodeError, match="is JPEG2000, which the installed Pillow cannot read, so convert it"):
        decode(encoded, 3, LIMIT)


@pytest.mark.parametrize(
    "text",
    [
        b"P",
        b"Python is a language",
        b"P1 and P2",
        b"#define WIDTH wide",
        b"key: value\n" * 400,
        bytes(5000),
        b"x" * 5000,
    ],
)
def test_text_is_no_image(text):
    assert refusal(text[:BEGINNING]) == "is not an image"
    with pytest.raises(DecodeError):
        decode(text, 3, LIMIT)


def test_no_other_program_is_started(monkeypatch):
    """Pillow would give PostScript to Ghostscript."""
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(DecodeError, match="is PostScript"):
        decode(encode(picture(), "EPS"), 3, LIMIT)


@pytest.mark.parametrize("kind", ["ICO", "ICNS"])
def test_images_inside_of_others_are_held_to_the_limit(kind):
    """Their size is not that of the container's header."""
    encoded = encode(picture(), kind)
    start = encoded.index(b"IHDR") + 4
    claimed = encoded[:start] + struct.pack(">II", 12000, 9000) + encoded[start + 8 :]
    with pytest.raises(DecodeError, match="claims 12000 by 9000 pixels, more than max_pixels="):
        decode(claimed, 3, LIMIT)


@pytest.mark.filterwarnings("error")
def test_drops_alpha_and_does_not_warn_of_a_transparent_palette():
    rgba = picture("RGBA")
    rgba.putalpha(0)
    np.testing.assert_array_equal(decode(encode(rgba, "PNG"), 3, LIMIT), np.asarray(picture()))
    decode(encode(picture("P"), "PNG", transparency=bytes(range(256))), 3, LIMIT)


@pytest.mark.parametrize(("mode", "alpha"), [("RGBA", 77), ("LA", 77), ("P", 77), ("RGB", 255), ("L", 255)])
def test_alpha_is_kept_where_it_is_asked_for(mode, alpha):
    image = Image.new("L" if "L" in mode else "RGB", (3, 2), 90).convert(mode)
    if "A" in mode:
        image.putalpha(77)
    options = {"transparency": bytes([77] * 256)} if mode == "P" else {}
    encoded = encode(image, "PNG", **options)
    pixels = decode_rgba(encoded, LIMIT)
    assert (pixels.shape, pixels.dtype) == ((2, 3, 4), np.uint8)
    assert (pixels[..., 3] == alpha).all()
    np.testing.assert_array_equal(pixels[..., :3], decode(encoded, 3, LIMIT))
    for damaged, limit in ((encoded[:45], LIMIT), (encoded, 5), (b"<html>", LIMIT)):
        with pytest.raises(DecodeError):
            decode_rgba(damaged, limit)


def test_scales_16_bits_to_8():
    values = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        decoded = decode(encode(Image.fromarray(values), kind), 1, LIMIT)
        np.testing.assert_array_equal(decoded[..., 0], values >> 8)


def test_scales_16_bits_of_a_grey_map():
    header, values = b"P5 16 16 65535\n", np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(decode(header + values.astype(">u2").tobytes(), 1, LIMIT)[..., 0], values >> 8)


def test_refuses_pixels_of_unknown_range():
    with pytest.raises(DecodeError, match="mode F"):
        decode(encode(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), 1, LIMIT)


def test_leaves_exif_orientation_alone():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encode(picture(), "JPEG", exif=exif), 3, LIMIT).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "is empty"),
        (b"this is a text file", "is not an image"),
        (b"\xff\xd8\xff", "cannot be decoded"),
        (encode(picture(), "JPEG")[:-20], "truncated"),
        (encode(picture(), "PNG")[:-40], "cannot be decoded"),
        (png_claiming(60000, 60000), "60000 by 60000"),
    ],
    ids=["empty", "text", "magic alone", "truncated JPEG", "truncated PNG", "bomb"],
)
@pytest.mark.filterwarnings("error")
def test_names_what_is_wrong(encoded, reason):
    with pytest.raises(DecodeError, match=reason):
        decode(encoded, 3, LIMIT)


def test_the_limit_is_the_given_one_and_not_pillows():
    decode(encode(picture(), "PNG"), 3, 600)
    with pytest.raises(DecodeError, match="max_pixels=599"):
        decode(encode(picture(), "PNG"), 3, 599)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"]),
    position=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    kept=st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_raises_decode_error_or_nothing(kind, position, value, kept):
    encoded = bytearray(encode(picture(), kind))
    encoded[int(position * len(encoded))] = value
    try:
        image = decode(bytes(encoded[: int(kept * len(encoded))]), 3, LIMIT)
    except DecodeError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3


def test_with_channels_converts_both_ways():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    assert with_channels(grey, 1) is grey
    np.testing.assert_array_equal(with_channels(grey, 3), np.repeat(grey, 3, axis=2))
    np.testing.assert_array_equal(with_channels(with_channels(grey, 3), 1), grey)


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(30, 20), (17, 33), (1, 1)])
def test_the_way_past_pillow_gives_pillows_pixels(options, mode, size, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    encoded = encode(Image.fromarray(pixels).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    assert np.array_equal(decode(encoded, 3, LIMIT), expected)
    monkeypatch.setattr(JpegImagePlugin, "JpegImageFile", None)
    np.testing.assert_array_equal(decode(encoded, 3, LIMIT), expected)


def test_what_libjpeg_warns_of_is_pillows_to_judge():
    encoded = encode(picture(), "JPEG")
    marker = encoded.index(b"\xff\xda")
    odd = encoded[:marker] + b"junk" + encoded[marker:]  # extraneous bytes: a warning, not an error
    np.testing.assert_array_equal(decode(odd, 3, LIMIT), decode(encoded, 3, LIMIT))
    with pytest.raises(DecodeError, match="cannot be decoded"):
        decode(encoded[: len(encoded) // 2], 3, LIMIT)


def test_a_jpeg_of_thousands_of_scans_is_refused():
    encoded = encode(picture("L"), "JPEG", progressive=True)
    start = encoded.rindex(b"\xff\xda")
    scan = encoded[start:-2]
    assert decode(encoded[:-2] + 9 * scan + encoded[-2:], 1, LIMIT).shape == (20, 30, 1)
    with pytest.raises(DecodeError, match="has more than 500 scans"):
        decode(encoded[:-2] + 600 * scan + encoded[-2:], 1, LIMIT)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 40),
    st.integers(0, 2),
    st.floats(0, 1),
    st.sampled_from(["RGB", "L"]),
    st.booleans(),
)
def test_the_rows_that_are_wanted_are_those_of_the_whole_image(height, width, subsampling, share, mode, progressive):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    options = {"subsampling": subsampling, "progressive": progressive}
    encoded = encode(Image.fromarray(pixels).convert(mode), "JPEG", **options)
    rows = round(share * height)
    found = decode(encoded, 3, LIMIT, rows)
    assert len(found) >= rows
    np.testing.assert_array_equal(found[:rows], decode(encoded, 3, LIMIT)[:rows])


def test_rows_that_are_not_wanted_are_not_decoded():
    encoded = encode(picture().resize((300, 200)), "JPEG")
    assert decode(encoded, 3, LIMIT, 50).shape == (64, 300, 3)
    with pytest.raises(DecodeError, match="cannot be decoded"):  # cut off below them, it is damaged all the same
        decode(encoded[: 3 * len(encoded) // 4], 3, LIMIT, 50)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright_only_where_that_is_asked_for(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = encode(picture(), kind, exif=exif)
    plain = encode(picture(), kind)
    # By EXIF 2.3, section 4.6.4 A: what is to be done to the stored rows and columns.
    turn = {
        1: lambda pixels: pixels,
        2: lambda pixels: pixels[:, ::-1],
        3: lambda pixels: pixels[::-1, ::-1],
        4: lambda pixels: pixels[::-1],
        5: lambda pixels: pixels.swapaxes(0, 1),
        6: lambda pixels: pixels[::-1].swapaxes(0, 1),
        7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
        8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
    }[orientation]
    stored = decode(plain, 3, LIMIT)
    np.testing.assert_array_equal(decode(encoded, 3, LIMIT, upright=True), turn(stored))
    if kind != "TIFF":  # whose orientation is no EXIF, and which Pillow turns by itself
        np.testing.assert_array_equal(decode(encoded, 3, LIMIT), stored)


def test_a_wrong_orientation_turns_nothing():
    exif = Image.Exif()
    exif[0x0112] = 77
    encoded = encode(picture(), "JPEG", exif=exif)
    np.testing.assert_array_equal(decode(encoded, 3, LIMIT, upright=True), decode(encoded, 3, LIMIT))
