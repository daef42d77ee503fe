"""Pictures with captions in sections, as a page of HTML or as a sheet of PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.errors import UserError, writing
from jaxcnn.paths import replace_whole
from jaxcnn.pictures.embedded import Markup, joined, picture, tag
from jaxcnn.pictures.frame import framed
from jaxcnn.pictures.sheet import Row, sheet

_SIDE = 224
"""The width, in CSS pixels, at which smaller pictures are shown."""


class Picture(NamedTuple):
    """A picture with its caption."""

    pixels: np.ndarray
    """The picture, uint8 (height, width, 1, 3 or 4)."""
    caption: str


class Section(NamedTuple):
    """Pictures that belong together."""

    key: str
    """The name of the section in addresses."""
    title: str
    note: str
    """What the pictures show, in a sentence or two."""
    pictures: Sequence[Picture]


class Lead(NamedTuple):
    """What comes before the sections."""

    key: str
    """Its name in addresses."""
    title: str
    content: Markup
    """What it says on a page."""
    text: str
    """What it says on a sheet, in lines."""


def check_ending(path: Path) -> None:
    """Refuses a file that is neither a page nor a picture.

    Raises:
        UserError: its name ends otherwise.
    """
    if path.suffix.lower() not in (".html", ".png"):
        raise UserError(f"--out {path} is neither a page nor a picture: let its name end in .html or .png")


def write_sections(path: Path, name: str, kind: str, sections: Sequence[Section], lead: Lead) -> None:
    """Writes sections as a page that holds everything it shows, or as a sheet where the file's name ends in ``.png``.

    Args:
        path: the file.
        name: what the sections are about.
        kind: what a page is, such as "jaxcnn explain"; its title has it after the name.
        sections: the sections.
        lead: what comes before them.

    Raises:
        UserError: the file's name ends otherwise than in .html or .png, or it cannot be written.
        MachineError: the disk is full, or fails.
    """
    check_ending(path)
    content: str | bytes
    if path.suffix.lower() == ".png":
        content = sheet([Row(name, lead.text, ()), *(Row(each.title, each.note, each.pictures) for each in sections)])
    else:
        first = (lead.key, lead.title, lead.content)
        content = framed(name, kind, [first, *((each.key, each.title, _drawn(each)) for each in sections)])
    with writing(path, "choose another --out"):
        replace_whole(path, content)


def _drawn(section: Section) -> Markup:
    figures = [
        tag("figure", picture(each.pixels, f"{section.title}: {each.caption}", _SIDE), tag("figcaption", each.caption))
        for each in section.pictures
    ]
    return joined(tag("p", section.note), tag("div", *figures, class_="explained"))
