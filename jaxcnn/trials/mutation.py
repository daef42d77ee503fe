"""Damaged JPEG and PNG files, each a pure function of (seed, number), that a decoder must survive.

Half of the damage is to bytes, and mostly fails at the decoder's first check. The other half is to the file's parts (a
JPEG's segments, a PNG's chunks), which are put together again with the right lengths and checksums, so the damage
reaches the code behind those checks.
"""

import dataclasses
import functools
import io
import math
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, PngImagePlugin

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SCAN = 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2)
"""The JPEG markers of frame headers that libjpeg decodes, as `_SCAN` is that of a scan (ITU-T T.81, table B.1)."""

Parts = list[bytes]
Damage = Callable[[random.Random, Parts], None]


@dataclasses.dataclass(frozen=True)
class Original:
    """The parts of a file before it is damaged."""

    kind: str
    """The format, ``JPEG`` or ``PNG``."""
    parts: tuple[bytes, ...]
    """A JPEG's segments from marker to marker, each scan with its data; a PNG's chunks, each its kind and its body."""


def join(kind: str, parts: Parts) -> bytes:
    """Puts a file together; the chunks of a PNG get their lengths and checksums here."""
    if kind == "JPEG":
        return b"".join(parts)
    chunks = (struct.pack(">I", max(0, len(part) - 4)) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return _PNG_SIGNATURE + b"".join(chunks)


def split(kind: str, encoded: bytes) -> Parts:
    """Takes an undamaged file apart; `join` is the inverse."""
    parts, position = [], len(_PNG_SIGNATURE)
    if kind == "PNG":
        while position < len(encoded):
            end = position + 12 + int.from_bytes(encoded[position : position + 4], "big")
            parts.append(encoded[position + 4 : end - 4])
            position = end
        return parts
    parts, position = [encoded[:2]], 2
    while position < len(encoded) - 2:
        end = position + 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
        if encoded[position + 1] == _SCAN:
            # Inside a scan's data, 0xff is followed by a stuffed 0 or is a restart marker.
            while encoded[end] != 0xFF or encoded[end + 1] == 0 or 0xD0 <= encoded[end + 1] <= 0xD7:
                end += 1
        parts.append(encoded[position:end])
        position = end
    return [*parts, encoded[position:]]


@functools.cache
def originals() -> tuple[Original, ...]:
    """Returns the files to damage, which are small and of every kind of JPEG and PNG that Pillow writes."""
    rng = np.random.RandomState(0)
    noise = rng.randint(60, size=(45, 61, 3))
    rows, columns = np.mgrid[:45, :61]
    color = Image.fromarray((np.stack([rows * 4, columns * 3, rows + columns], -1) + noise).astype(np.uint8))
    alpha = color.convert("RGBA")
    alpha.putalpha(color.convert("L"))
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a" * 300, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = bytes(rng.randint(256, size=500).astype(np.uint8))
    written = [
        ("JPEG", color, {}),
        ("JPEG", color, {"subsampling": 0, "quality": 95, "exif": exif, "icc_profile": profile}),
        ("JPEG", color, {"restart_marker_blocks": 3, "optimize": True, "comment": b"a comment"}),
        ("JPEG", color, {"progressive": True}),
        ("JPEG", color.convert("L"), {}),
        ("JPEG", color.convert("L"), {"progressive": True}),
        ("JPEG", color.convert("CMYK"), {}),
        ("JPEG", color.convert("CMYK"), {"progressive": True}),
        ("PNG", color, {"pnginfo": text, "exif": exif, "icc_profile": profile}),
        ("PNG", alpha, {}),
        ("PNG", color.convert("L"), {"compress_level": 0}),
        ("PNG", alpha.convert("LA"), {}),
        ("PNG", color.convert("P"), {"transparency": bytes(range(256))}),
        ("PNG", color.convert("1"), {}),
        ("PNG", Image.fromarray((rows * 1000 + columns).astype(np.uint16)), {}),
        ("PNG", color, {"save_all": True, "append_images": [color.rotate(90)]}),
    ]
    files = []
    for kind, image, options in written:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(Original(kind, tuple(split(kind, file.getvalue()))))
    return tuple(files)


def _run(rng: random.Random, length: int) -> slice:
    """Returns a run of bytes, mostly a short one."""
    start = rng.randrange(length)
    return slice(start, min(length, start + 2 ** rng.randrange(10)))


def _copies(part: bytes, count: int) -> Parts:
    """Returns this many copies of a part, or as many as make a megabyte."""
    return [part] * min(count, (1 << 20) // max(1, len(part)))


def _repeat(rng: random.Random, parts: Parts) -> None:
    index = rng.randrange(len(parts))
    before = rng.choice((index, rng.randrange(len(parts))))
    parts[before:before] = _copies(parts[index], 2 ** rng.randrange(7))


def _repeat_scan(rng: random.Random, parts: Parts) -> None:
    scans = [index for index, part in enumerate(parts) if part[:2] == bytes((0xFF, _SCAN)) or part[:4] == b"IDAT"]
    if scans:
        index = rng.choice(scans)
        parts[index:index] = _copies(parts[index], 2 ** rng.randrange(14))


def _remove(rng: random.Random, parts: Parts) -> None:
    if len(parts) > 1:
        del parts[rng.randrange(len(parts))]


def _swap(rng: random.Random, parts: Parts) -> None:
    one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]


def _overwrite_in_part(rng: random.Random, parts: Parts) -> None:
    # The marker and the length of a JPEG's segment, and the kind of a PNG's chunk, stay: the parts after it are found.
    longer = [index for index, part in enumerate(parts) if len(part) > 4]
    if longer:
        index = rng.choice(longer)
        part = bytearray(parts[index])
        reach = min(len(part), rng.choice((8, 30, len(part))))  # most fields come first
        for _ in range(rng.randint(1, 4)):
            part[rng.randrange(4, reach)] = rng.randrange(256)
        parts[index] = bytes(part)


def _borrow(rng: random.Random, parts: Parts) -> None:
    """Puts a part of another file, of either format, in the place of a part or before it."""
    index = rng.randrange(len(parts))
    parts[index : index + rng.randrange(2)] = [rng.choice(rng.choice(originals()).parts)]


def _side(rng: random.Random) -> int:
    return rng.choice((0, 1, 8, 65535, round(math.exp(rng.uniform(0, math.log(65535))))))


def _claim_size(rng: random.Random, parts: Parts) -> None:
    """Writes another height and width into the header, up to the largest that it can hold."""
    for index, part in enumerate(parts):
        if part[:4] == b"IHDR":
            wide = rng.random() < 0.1
            sides = [rng.randrange(1 << 32) if wide else _side(rng) for _ in range(2)]
            parts[index] = part[:4] + struct.pack(">II", *sides) + part[12:]
        elif part[:1] == b"\xff" and part[1] in _FRAMES:
            parts[index] = part[:5] + struct.pack(">HH", _side(rng), _side(rng)) + part[9:]


def _enlarge(rng: random.Random, parts: Parts) -> None:
    """Makes a small file of a large image: a PNG of zeros, or a JPEG whose scans, repeated or not, end early."""
    area = 2 ** rng.uniform(10, 25)
    height = max(1, min(65535, round(math.sqrt(area) * 2 ** rng.uniform(-4, 4))))
    width = max(1, min(65535, round(area / height)))
    for index, part in enumerate(parts):
        if part[:4] == b"IHDR" and len(part) == 17:
            parts[index] = part[:4] + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        elif part[:4] == b"IDAT":
            parts[index] = b"IDAT" + zlib.compress(bytes(height * (1 + 3 * width)), 1)
            return
        elif part[:1] == b"\xff" and part[1] in _FRAMES:
            parts[index] = part[:5] + struct.pack(">HH", height, width) + part[9:]
            if rng.random() < 0.5:
                _repeat_scan(rng, parts)
            return


def _change_header(rng: random.Random, parts: Parts) -> None:
    """Writes another bit depth, colour type or interlacing; other components, sampling factors or precision."""
    for index, part in enumerate(parts):
        if part[:4] == b"IHDR" and len(part) == 17:
            depth, color, interlaced = rng.choice((1, 2, 4, 8, 16)), rng.choice((0, 2, 3, 4, 6)), rng.randrange(2)
            parts[index] = part[:12] + bytes((depth, color, 0, 0, interlaced))
        elif part[:1] == b"\xff" and part[1] in _FRAMES:
            changed = bytearray(part)
            changed[1] = rng.choice((part[1], 0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA))
            changed[rng.randrange(9, len(part)) if len(part) > 9 else 1] = rng.choice((0, 1, 0x11, 0x22, 0x44, 0xFF))
            parts[index] = bytes(changed)


def _change_rows(rng: random.Random, parts: Parts) -> None:
    """Alters a PNG's rows before they are compressed: other filters, too few rows, too many, or very many zeros."""
    for index, part in enumerate(parts):
        if part[:4] != b"IDAT":
            continue
        try:
            rows = bytearray(zlib.decompress(part[4:]))
        except zlib.error:  # it was damaged already
            return
        match rng.randrange(4):
            case 0:
                for _ in range(8):
                    rows[rng.randrange(len(rows))] = rng.randrange(8)
            case 1:
                del rows[rng.randrange(len(rows)) :]
            case 2:
                rows += rows[: 1 << 20] * rng.randrange(1, 9)
            case 3:
                rows += bytes(1 << rng.randrange(24))
        parts[index] = b"IDAT" + zlib.compress(rows, 1)
        return


_TO_PARTS: tuple[Damage, ...] = (
    _repeat,
    _repeat_scan,
    _remove,
    _swap,
    _overwrite_in_part,
    _overwrite_in_part,
    _borrow,
    _claim_size,
    _enlarge,
    _change_header,
    _change_rows,
)


def _damage_bytes(rng: random.Random, encoded: bytearray) -> bytearray:
    """Flips bits, overwrites, removes or repeats runs, cuts the file short, or gives it the end of another."""
    run = _run(rng, len(encoded))
    match rng.randrange(7):
        case 0 | 1:
            for _ in range(rng.randint(1, 8)):
                encoded[rng.randrange(len(encoded))] ^= 1 << rng.randrange(8)
        case 2:
            length = run.stop - run.start
            encoded[run] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
        case 3:
            del encoded[run]
        case 4:
            encoded[run.start : run.start] = encoded[run] * rng.randint(1, 4)
        case 5:
            del encoded[rng.randrange(1, len(encoded) + 1) :]
        case 6:
            other = rng.choice(originals())
            end = join(other.kind, list(other.parts))
            encoded[rng.randrange(len(encoded)) :] = end[rng.randrange(len(end)) :]
    return encoded


def mutated(seed: int, number: int) -> bytes:
    """Returns the damaged file of this number.

    The bytes stay the same under one release of Pillow and zlib, which write the originals.

    Args:
        seed: the seed of the series of files.
        number: the number of the file in it.
    """
    rng = random.Random(f"{seed}/{number}")
    original = rng.choice(originals())
    parts = list(original.parts)
    to_parts, to_bytes = rng.choice(((1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (1, 1)))
    for _ in range(to_parts):
        rng.choice(_TO_PARTS)(rng, parts)
    encoded = bytearray(join(original.kind, parts))
    for _ in range(to_bytes):
        if encoded:
            encoded = _damage_bytes(rng, encoded)
    return bytes(encoded)
