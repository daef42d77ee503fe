"""Titles, sentences and pictures below each other as one picture."""

import io
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxcnn.text import escaped

_WIDTH, _MARGIN, _SIDE = 1120, 24, 256
"""The width of a sheet, its margins, and the width that smaller pictures are enlarged to about, in pixels."""
_INK, _FAINT, _PAPER = (27, 31, 36), (87, 96, 106), (255, 255, 255)
_TITLE, _TEXT = 22, 15
"""The sizes of the letters, in pixels."""


class Row(NamedTuple):
    """A title, lines of text, and pictures with captions beside each other."""

    title: str
    text: str
    pictures: Sequence[tuple[np.ndarray, str]]
    """The pictures, each uint8 (height, width, 1, 3 or 4) with its caption."""


def sheet(rows: Sequence[Row]) -> bytes:
    """Returns the sheet as a file of PNG, 1120 pixels wide. Pictures that do not fit beside each other go below.

    Args:
        rows: what is on it, from the top down.
    """
    title, text = ImageFont.load_default(size=_TITLE), ImageFont.load_default(size=_TEXT)
    placed: list[tuple[tuple[int, int], str | Image.Image, ImageFont.ImageFont | ImageFont.FreeTypeFont]] = []
    y = _MARGIN
    for row in rows:
        placed.append(((_MARGIN, y), escaped(row.title), title))
        y += _TITLE + 12
        for line in row.text.splitlines():
            wrapped = _wrapped(line, _WIDTH - 2 * _MARGIN, text)
            placed.append(((_MARGIN, y), wrapped, text))
            y += (_TEXT + 5) * (wrapped.count("\n") + 1)
        x, y, lowest = _MARGIN, y + 8, y
        for pixels, caption in row.pictures:
            picture = _picture(pixels)
            width = max(picture.width, _SIDE)
            if x > _MARGIN and x + width > _WIDTH - _MARGIN:
                x, y = _MARGIN, lowest + 12
            below = _wrapped(caption, width, text)
            placed += [((x, y), picture, text), ((x, y + picture.height + 6), below, text)]
            lowest = max(lowest, y + picture.height + 6 + (_TEXT + 5) * (below.count("\n") + 1))
            x += width + 16
        y = lowest + 24
    canvas = Image.new("RGB", (_WIDTH, y), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for place, what, font in placed:
        if isinstance(what, str):
            draw.multiline_text(place, what, fill=_INK if font is title else _FAINT, font=font, spacing=5)
        else:
            canvas.paste(what, place, what if what.mode == "RGBA" else None)
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _picture(pixels: np.ndarray) -> Image.Image:
    """Returns a picture that is enlarged by a whole number where it is small, and made to fit where it is wide."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if pixels.shape[-1] != 4:
        scale = max(1, _SIDE // picture.width)
        picture = picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.NEAREST)
    most = _WIDTH - 2 * _MARGIN
    if picture.width > most:
        picture = picture.resize((most, max(1, round(picture.height * most / picture.width))))
    return picture


def _wrapped(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """Returns text in lines of about so many pixels."""
    text = escaped(text)
    letters = max(8, int(width * len(text) / max(font.getlength(text), 1))) if text else 8
    return "\n".join(textwrap.wrap(text, letters))
