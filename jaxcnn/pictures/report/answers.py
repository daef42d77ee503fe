"""What the network answers, as parts of a page: errors of classes, confusions, mistakes, filters, augmented images."""

import math
import re
from collections.abc import Sequence

import numpy as np

from jaxcnn.evaluation.details import Details
from jaxcnn.pictures.embedded import Markup, data_uri, joined, picture, tag
from jaxcnn.pictures.filters import Filters
from jaxcnn.pictures.preview import Column
from jaxcnn.pictures.report.seen import Mistake
from jaxcnn.pictures.report.tables import NOTHING, scrolling

MOST_IN_FULL = 25
"""The most classes of which the confusion matrix is a table of numbers."""
MOST_PAIRS = 40
"""The most pairs of classes that are listed as often confused."""
_CELLS = 250
"""The most cells on a side of the picture of a confusion matrix, in which neighbouring classes share a cell."""
_SIDE = 750
"""The side of that picture, in pixels, that its cells are enlarged to about."""
_INK = (214, 78, 24)
"""The colour of that picture, which is seen on black and on white."""
_SHADES = 6
_SHOWN_SIDE = 96
"""The width, in CSS pixels, at which smaller images are shown."""


def _taken_for(details: Details, label: int) -> tuple[int, int]:
    """Returns the class that a class was most often taken for, and how often."""
    row = details.confusion[label].copy()
    row[label] = 0
    other = int(row.argmax())
    return other, int(row[other])


def classes(details: Details) -> Markup:
    """Returns the table of the classes, those with the highest error first."""
    ks = sorted(details.classes[0].errors)
    first = ks[0]

    def error(label: int) -> float:
        found = details.classes[label].errors[first]
        return -1.0 if found is None else found

    head = ("class", *(f"top-{k} error" for k in ks), "images", "most often taken for")
    rows = []
    for label in sorted(range(len(details.classes)), key=error, reverse=True):
        each, (other, times) = details.classes[label], _taken_for(details, label)
        cells = [NOTHING if each.errors[k] is None else f"{each.errors[k]:.1f} %" for k in ks]
        bar = tag("rect", width=f"{max(error(label), 0):.1f}", height=10)
        drawn = tag("svg", bar, class_="bar", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")
        taken = f"{details.classes[other].name} ({times})" if times else ""
        rows.append(
            tag(
                "tr",
                tag("th", each.name, scope="row"),
                tag("td", cells[0], drawn),
                *(tag("td", cell) for cell in cells[1:]),
                tag("td", f"{each.images:,}"),
                tag("td", taken),
            )
        )
    heads = tag("tr", *(tag("th", name, scope="col") for name in head))
    caption = tag("caption", "Errors of the classes, the highest first", class_="unseen")
    whole = tag("table", caption, tag("thead", heads), tag("tbody", *rows), class_="classes")
    return scrolling("Errors of the classes", whole, tall=True)


def confusion(details: Details, name: str) -> Markup:
    """Returns the confusion matrix: numbers where the classes are few, else a picture, pairs and a choice of a class.

    Args:
        details: the answers.
        name: a name of the run for the page's script.
    """
    if len(details.classes) <= MOST_IN_FULL:
        return _in_full(details)
    count, cells = len(details.classes), _blocks(details.confusion)
    size = math.ceil(count / len(cells))
    which = "a class" if size == 1 else f"{size} classes"
    alt = f"The mistakes as a square of {len(cells)} by {len(cells)} cells; the pairs are listed below."
    caption = (
        f"Mistakes. Down: the class that the image is of; across: the answer; both in the order of the labels, from "
        f"{details.classes[0].name} to {details.classes[-1].name}. A cell is {which} by {which}; the darker or "
        "brighter, the more mistakes (by their logarithm)."
    )
    matrix = tag("img", src=data_uri(_picture(cells)), alt=alt, class_="matrix")
    chosen = f"class-{name}"
    options = (tag("option", each.name, value=label) for label, each in enumerate(details.classes))
    look_up = tag(
        "div",
        tag("label", "Look up a class ", tag("select", *options, id=chosen, data_look_up=name), for_=chosen),
        tag("div", id=f"{chosen}-found", role="status"),
        class_="look-up",
    )
    return joined(tag("figure", matrix, tag("figcaption", caption)), _pairs(details), look_up)


def _in_full(details: Details) -> Markup:
    names = [each.name for each in details.classes]
    head = tag("tr", tag("td"), *(tag("th", tag("span", name), scope="col", class_="turned") for name in names))
    rows = []
    for label, row in enumerate(details.confusion):
        images = max(int(row.sum()), 1)
        cells = []
        for answer, times in enumerate(row):
            shade = math.ceil((_SHADES - 1) * math.sqrt(int(times) / images))
            kind = "right" if answer == label else "wrong"
            cells.append(tag("td", f"{times}", class_=f"{kind}{shade}" if times else "none"))
        rows.append(tag("tr", tag("th", names[label], scope="row"), *cells))
    caption = tag("caption", "Down: the class that the image is of. Across: the answer.")
    whole = tag("table", caption, tag("thead", head), tag("tbody", *rows), class_="confusion")
    return scrolling("Confusion matrix", whole)


def mistakes_of(confusion: np.ndarray) -> list[list[int]]:
    """Returns the confused pairs as [label, answer, times], the most frequent first."""
    wrong = confusion - np.diag(np.diag(confusion))
    labels, answers = np.nonzero(wrong)
    times = wrong[labels, answers]
    order = np.argsort(-times, kind="stable")
    return np.stack([labels, answers, times], axis=1)[order].tolist()


def _blocks(confusion: np.ndarray) -> np.ndarray:
    """Returns how many mistakes fall into each cell of a picture, where neighbouring classes share one."""
    count = len(confusion)
    size = math.ceil(count / _CELLS)
    side = math.ceil(count / size)
    padded = np.zeros((side * size, side * size), np.int64)
    padded[:count, :count] = confusion - np.diag(np.diag(confusion))
    return padded.reshape(side, size, side, size).sum((1, 3))


def _picture(cells: np.ndarray) -> np.ndarray:
    strength = np.log1p(cells) / max(np.log1p(cells.max()), 1)
    pixels = np.empty((*cells.shape, 4), np.uint8)
    pixels[..., :3] = _INK
    pixels[..., 3] = np.rint(255 * np.where(cells > 0, 0.45 + 0.55 * strength, 0))
    scale = max(1, round(_SIDE / len(cells)))
    return pixels.repeat(scale, 0).repeat(scale, 1)


def _pairs(details: Details) -> Markup:
    rows = []
    for label, answer, times in mistakes_of(details.confusion)[:MOST_PAIRS]:
        images = details.classes[label].images
        share = f"{100 * times / images:.1f} % of {images:,}"
        row = (details.classes[label].name, details.classes[answer].name, f"{times:,}", share)
        rows.append(tag("tr", *(tag("td", cell) for cell in row)))
    head = tag("tr", *(tag("th", name, scope="col") for name in ("class", "taken for", "times", "share")))
    caption = tag("caption", "The pairs of classes that are confused most often")
    return scrolling("Confused pairs", tag("table", caption, tag("thead", head), tag("tbody", *rows)), tall=True)


def _without_folders(name: str) -> str:
    """Returns the name of an image, in which absolute paths of files are cut to the files' own names."""
    return re.sub(r"(?<!\S)/\S*/", "", name)


def mistakes(found: Sequence[Mistake]) -> Markup:
    """Returns the pictures of the mistakes, with what they are and what they were taken for."""
    if not found:
        return tag("p", "The network is right about every image.")
    figures = [
        tag(
            "figure",
            picture(each.pixels, f"image {each.name}", _SHOWN_SIDE),
            tag(
                "figcaption",
                *("answer ", tag("b", each.answer), f" {100 * each.probability:.1f}\u00a0%", tag("br")),
                *("label ", tag("b", each.label), tag("br"), tag("small", _without_folders(each.name))),
            ),
        )
        for each in found
    ]
    return tag("div", *figures, class_="pictures")


def filters(found: Filters) -> Markup:
    """Returns the picture of the first layer's filters."""
    height, width, channels, count = found.shape
    drawn = f"the first {found.drawn} of " if found.drawn < count else ""
    caption = (
        f"{found.layer}: {drawn}{count} filters of {height}x{width} over {channels} "
        f"channel{'s' if channels > 1 else ''}; grey is 0, and each is scaled by its own largest weight."
    )
    return tag("figure", picture(found.picture, caption), tag("figcaption", caption))


def samples(columns: Sequence[Column]) -> Markup:
    """Returns the first training images after each step from the file to the network."""
    head = tag("tr", *(tag("th", each.title, tag("small", each.fields), scope="col") for each in columns))
    rows = [
        tag(
            "tr",
            *(
                tag("td", picture(each.images[row], each.title, _SHOWN_SIDE), tag("small", each.captions[row]))
                for each in columns
            ),
        )
        for row in range(len(columns[0].images))
    ]
    caption = tag("caption", "The first training images of the first epoch", class_="unseen")
    whole = tag("table", caption, tag("thead", head), tag("tbody", *rows), class_="samples")
    return scrolling("What the network saw", whole)
