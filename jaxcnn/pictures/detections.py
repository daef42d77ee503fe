"""Pictures of detection: boxes on an image, precision against recall, and recall against the number of proposals."""

import colorsys
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxcnn.pictures.pyplot import import_pyplot
from jaxcnn.text import escaped

_LONG_SIDE = 800
"""The number of pixels that small images are enlarged to about, so that names fit beside their objects."""
_GOLDEN = 0.618
"""The step between the hues of one class and the next, after which many classes have hues far apart."""
_DASH = 6
"""The length of the dashes around annotated objects, in widths of a thin line."""

_Rectangle: TypeAlias = tuple[float, float, float, float]
_Colour: TypeAlias = tuple[int, int, int]


class Found(Protocol):
    """What was found in an image, as `jaxcnn.detection.detections.Detections` has it."""

    @property
    def boxes(self) -> np.ndarray:
        """The boxes (found, 4): left, top, right and bottom, in pixels."""

    @property
    def scores(self) -> np.ndarray:
        """The scores (found,), descending."""

    @property
    def labels(self) -> np.ndarray:
        """The labels (found,) of the classes."""


class Annotated(Protocol):
    """The objects in an image, as `jaxcnn.detection.annotations.Objects` has them."""

    @property
    def boxes(self) -> np.ndarray:
        """The boxes (objects, 4): left, top, right and bottom, in pixels."""

    @property
    def labels(self) -> np.ndarray:
        """The labels (objects,) of the classes."""


class Curve(Protocol):
    """The precision and recall of a class, as `jaxcnn.detection.average_precision.Curve` has them."""

    @property
    def objects(self) -> int:
        """The number of objects."""

    @property
    def recall(self) -> np.ndarray:
        """The recall at each detection."""

    @property
    def precision(self) -> np.ndarray:
        """The precision at each detection."""

    @property
    def interpolated(self) -> np.ndarray:
        """The largest precision at each detection's recall or a higher one."""

    def average_precision(self, interpolation: Literal["area"]) -> float:
        """Returns the area under the curve."""


def drawn(
    image: np.ndarray, detections: Found, class_names: Sequence[str], objects: Annotated | None = None
) -> Image.Image:
    """Returns an image with boxes, names and scores, enlarged by a whole number where it is small.

    Each class has a colour of its own. What lies outside of the image is left out, and a box there is drawn at its
    border. Names do not cover each other where there is room, and those of higher scores are placed first.

    Args:
        image: uint8 (height, width, 3).
        detections: what was found.
        class_names: the names of the classes, by label.
        objects: the annotated objects, which are dashed and white; None where they are not known.
    """
    height, width = image.shape[:2]
    scale = max(1, round(_LONG_SIDE / max(height, width)))
    picture = Image.fromarray(image).resize((scale * width, scale * height), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(12, max(picture.size) // 50))
    thin = max(1, max(picture.size) // _LONG_SIDE)
    labels: list[tuple[_Rectangle, str, _Colour]] = []
    # The best are drawn last, over the others.
    for box, score, label in reversed(list(zip(detections.boxes, detections.scores, detections.labels, strict=True))):
        place, colour = _placed(box, scale, picture.size), _colour(int(label))
        canvas.rectangle(place, outline=(0, 0, 0), width=5 * thin)
        canvas.rectangle(_shrunk(place, thin), outline=colour, width=3 * thin)
        labels.insert(0, (place, f"{escaped(class_names[label])} {score:.2f}", colour))
    if objects is not None:
        for box, label in zip(objects.boxes, objects.labels, strict=True):
            place = _placed(box, scale, picture.size)
            _dash(canvas, place, thin)
            labels.append((place, escaped(class_names[label]), (255, 255, 255)))
    taken: list[_Rectangle] = []
    for place, text, colour in labels:
        _write(canvas, font, text, place, colour, picture.size, taken)
    return picture


def plot_precision_recall(curves: Sequence[Curve], class_names: Sequence[str], path: Path) -> None:
    """Draws precision against recall, with a panel for each class and the area under its interpolated curve.

    Args:
        curves: the curves, by label.
        class_names: the names of the classes, by label.
        path: the picture's file.

    Raises:
        UserError: matplotlib is not installed.
    """
    pyplot = import_pyplot()
    columns = max(1, min(len(curves), max(4, math.ceil(math.sqrt(len(curves))))))
    rows = max(1, math.ceil(len(curves) / columns))
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(2.4 * columns + 0.6, 2.5 * rows + 0.5), sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis in axes.flat[len(curves) :]:
        axis.axis("off")
    for axis in axes.flat[max(0, len(curves) - columns) : len(curves)]:
        axis.tick_params(labelbottom=True)
    for axis, curve, name in zip(axes.flat, curves, class_names, strict=False):
        # Class names may hold dollars, which matplotlib would read as formulas.
        axis.set_title(f"{escaped(name)}\n{_in_words(curve)}", fontsize=9, parse_math=False)
        axis.set(xlim=(0, 1.03), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axis.grid(alpha=0.3)
        if curve.objects and len(curve.recall):
            steps = np.append(curve.interpolated[:1], curve.interpolated)
            axis.fill_between(np.append(0, curve.recall), steps, step="pre", alpha=0.25)
            axis.plot(curve.recall, curve.precision, linewidth=1.2)
    figure.supxlabel("recall", fontsize=10)
    figure.supylabel("precision", fontsize=10)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def plot_recall(recalls: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path) -> None:
    """Draws the share of objects that proposals find against the number of proposals of an image.

    Args:
        recalls: by the name of each line, the numbers of proposals of an image, ascending, and the recall (0 to 1) of
            so many. At least one line.
        path: the picture's file.

    Raises:
        UserError: matplotlib is not installed.
    """
    pyplot = import_pyplot()
    figure, axis = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, (counts, shares) in recalls.items():
        axis.plot(counts, shares, marker="o", markersize=4, label=escaped(name))
    # Where no image has proposals, there is nothing that a logarithmic axis could show.
    scale = "log" if any(count > 0 for counts, _ in recalls.values() for count in counts) else "linear"
    axis.set(xscale=scale, xlabel="proposals of an image", ylabel="recall", ylim=(0, 1.03))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid(alpha=0.3, which="both")
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _in_words(curve: Curve) -> str:
    if not curve.objects:
        return "no objects"
    objects = "1 object" if curve.objects == 1 else f"{curve.objects:,} objects"
    found = f"AP {100 * curve.average_precision('area'):.1f} %" if len(curve.recall) else "nothing found"
    return f"{found}, {objects}"


def _colour(label: int) -> _Colour:
    red, green, blue = colorsys.hsv_to_rgb((0.02 + label * _GOLDEN) % 1, 0.8, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _placed(box: np.ndarray, scale: int, size: tuple[int, int]) -> _Rectangle:
    """Returns where a box lies on the enlarged picture, of at least a pixel."""
    left, top, right, bottom = (np.clip(scale * box, 0, np.tile(size, 2)) - [0, 0, 1, 1]).tolist()
    left, top = min(left, size[0] - 1), min(top, size[1] - 1)
    return left, top, max(left, right), max(top, bottom)


def _shrunk(place: _Rectangle, by: float) -> _Rectangle:
    left, top, right, bottom = place
    return left + by, top + by, max(left + by, right - by), max(top + by, bottom - by)


def _dash(canvas: ImageDraw.ImageDraw, place: _Rectangle, thin: int) -> None:
    """Draws a dashed rectangle, white on black, so that it is seen on any ground."""
    canvas.rectangle(place, outline=(0, 0, 0), width=3 * thin)
    left, top, right, bottom = _shrunk(place, thin)
    dash = _DASH * thin
    for x in np.arange(left, right, 2 * dash):
        for y in (top, bottom - thin + 1):
            canvas.rectangle((x, y, min(x + dash, right), y + thin - 1), fill=(255, 255, 255))
    for y in np.arange(top, bottom, 2 * dash):
        for x in (left, right - thin + 1):
            canvas.rectangle((x, y, x + thin - 1, min(y + dash, bottom)), fill=(255, 255, 255))


def _write(
    canvas: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    text: str,
    place: _Rectangle,
    colour: _Colour,
    size: tuple[int, int],
    taken: list[_Rectangle],
) -> None:
    """Writes a name at a box: above it, in it or below it, where no other name is if possible; and takes the place."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 6
    x = min(max(place[0], 0), max(0, size[0] - width))
    choices = [place[1] - height, place[3] + 1, place[1], place[3] - height + 1]
    spots = [(x, y, x + width, y + height) for y in choices if 0 <= y <= size[1] - height]
    free = [spot for spot in spots if not any(_meet(spot, other) for other in taken)]
    spot = next(iter(free or spots), (x, 0, x + width, height))
    taken.append(spot)
    canvas.rectangle((spot[0], spot[1], spot[2] - 1, spot[3] - 1), fill=colour, outline=(0, 0, 0))
    canvas.text((spot[0] + 3 - left, spot[1] + 3 - top), text, fill=(0, 0, 0), font=font)


def _meet(a: _Rectangle, b: _Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
