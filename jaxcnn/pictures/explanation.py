"""Why a network answers as it does, as pictures: on a page of HTML that holds them, or on one sheet as PNG."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.config import DataConfig
from jaxcnn.data.images import ImageLike
from jaxcnn.errors import UserError
from jaxcnn.explanations.gradients import MOST_POINTS, TOLERANCE, grad_cam, integrated_gradients
from jaxcnn.explanations.image import Blank, class_of, seen_pixels, stage_layers
from jaxcnn.explanations.maps import feature_maps, strongest
from jaxcnn.explanations.neighbours import nearest_images
from jaxcnn.explanations.occlusion import occlusion
from jaxcnn.pictures.embedded import joined, tag
from jaxcnn.pictures.filters import first_filters
from jaxcnn.pictures.grid import grid
from jaxcnn.pictures.heat import grey_maps, laid_over, signed
from jaxcnn.pictures.sections import Lead, Picture, Section, write_sections
from jaxcnn.trained import Answer, Trained

_MAPS = 16
"""The feature maps of a stage that are shown."""
_MAPS_SIDE = 84
"""The side, in pixels, of each."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked about an image."""

    of: str | None = None
    """The class to explain, by its name or its number; by default the most probable one."""
    top_k: int = 5
    """The number of classes to name."""
    layers: tuple[str, ...] = ()
    """The layers for Grad-CAM, by name; by default the last map."""
    tolerance: float = TOLERANCE
    """The share of the difference of the logits by which the sum of integrated gradients may differ from it."""
    most_points: int = MOST_POINTS
    """The most points that integrated gradients are summed over for that."""
    baseline: Blank = "black"
    """The image without anything on it that integrated gradients begin at."""
    patch: int | None = None
    """The side of the patch that covers a part of the image, in pixels; by default a seventh of the image."""
    stride: int | None = None
    """The step from a patch to the next, in pixels; by default half a patch."""
    upright: bool = True
    """Whether to turn a photograph as its orientation in EXIF says."""
    neighbours: int = 8
    """The number of training images to show, where a data set is given."""


class Explained(NamedTuple):
    """What was found about an image."""

    answer: Answer
    """The most probable classes."""
    label: str
    """The class that is explained."""
    sections: tuple[Section, ...]


def explain(
    network: Trained,
    image: ImageLike,
    asked: Asked,
    data: DataConfig | None = None,
    *,
    features: Path | None = None,
    name: str = "network",
) -> Explained:
    """Returns why a network answers as it does.

    Args:
        network: the network.
        image: the image.
        asked: what is asked about it.
        data: the data set whose training images are looked through for similar ones.
        features: the folder that keeps the features of these: see `nearest_images`.
        name: what that folder calls the network.

    Raises:
        UserError: the image, the class, a layer or an option does not fit, or the data set cannot be read.
        Interrupted: a signal asked to stop while features were extracted.
    """
    pixels = seen_pixels(network, image, upright=asked.upright)
    (answer,) = network.predict([image], max(asked.top_k, 1), upright=asked.upright)
    names = network.class_names or tuple(map(str, range(network.num_classes)))
    label = class_of(network, answer[0][0] if asked.of is None else asked.of)
    cams = tuple(_grad_cam(network, pixels, label, layer) for layer in asked.layers or (None,))
    sections = [
        Section(
            *("image", "What the network sees", "It is the crop that the network takes of the image."),
            (Picture(pixels, "x".join(map(str, pixels.shape))),),
        ),
        Section(
            *("grad-cam", "Grad-CAM", "The brighter, the more a layer's map speaks for the class at that place."),
            cams,
        ),
        _integrated(network, pixels, label, asked),
        _occluded(network, pixels, label, asked),
        *_filters(network),
        _maps(network, pixels),
    ]
    if data is not None:
        found = nearest_images(network, pixels, data, workdir=features, name=name, count=asked.neighbours)
        note = (
            f"They are the training images of {data.name} whose features, at the input of the last dense layer, point "
            "most nearly the same way."
        )
        nearest = tuple(Picture(e.pixels, f"{e.class_name}: cosine {e.similarity:.3f}") for e in found)
        sections.append(Section("nearest", "Nearest training images", note, nearest))
    return Explained(answer, names[label], tuple(sections))


def _grad_cam(network: Trained, pixels: np.ndarray, label: int, layer: str | None) -> Picture:
    found = grad_cam(network, pixels, label, layer)
    height, width = found.map.shape
    nothing = "" if found.map.max() > 0 else ": nothing in it speaks for the class"
    return Picture(laid_over(pixels, found.map), f"{found.layer} ({height}x{width}){nothing}")


def _integrated(network: Trained, pixels: np.ndarray, label: int, asked: Asked) -> Section:
    found = integrated_gradients(
        network, pixels, label, tolerance=asked.tolerance, most_points=asked.most_points, baseline=asked.baseline
    )
    total = found.difference + found.gap
    note = (
        f"Red pixels add to the logit of the class, and blue ones take from it. Summed over {found.points} points from "
        f"{'a black image' if asked.baseline == 'black' else 'an image of the mean colour'}, they come to {total:.3f}; "
        f"the logits differ by {found.difference:.3f}."
    )
    drawn = signed(found.attributions.sum(-1))
    return Section("integrated-gradients", "Integrated gradients", note, (Picture(drawn, "for and against"),))


def _occluded(network: Trained, pixels: np.ndarray, label: int, asked: Asked) -> Section:
    found = occlusion(network, pixels, label, patch=asked.patch, stride=asked.stride)
    note = (
        f"The brighter, the less probable the class is where a patch of {found.patch}x{found.patch} pixels covers the "
        f"image, in steps of {found.stride}."
    )
    caption = f"the probability falls by up to {found.drop.max():.3f}"
    return Section("occlusion", "Occlusion", note, (Picture(laid_over(pixels, found.drop), caption),))


def _filters(network: Trained) -> Iterator[Section]:
    with contextlib.suppress(UserError):  # a first layer that sees no picture has no filters to look at
        found = first_filters(network)
        note = "Grey is 0, and each filter is scaled by its own largest weight."
        caption = f"{found.layer}: {found.drawn} of {found.shape[-1]} filters of {found.shape[0]}x{found.shape[1]}"
        yield Section("filters", "Filters of the first layer", note, (Picture(found.picture, caption),))


def _maps(network: Trained, pixels: np.ndarray) -> Section:
    stages = stage_layers(network)
    found = feature_maps(network, pixels, [layer.name for layer in stages.values()])
    pictures = []
    for stage, layer in stages.items():
        maps = found[layer.name]
        chosen = strongest(maps, _MAPS)
        caption = f"{stage}, {layer.name}: {len(chosen)} of {maps.shape[-1]} maps of {maps.shape[0]}x{maps.shape[1]}"
        pictures.append(Picture(grid(grey_maps(maps[..., chosen]), 4, _MAPS_SIDE), caption))
    note = "They are the channels with the highest means, each from its lowest value in black to its highest in white."
    return Section("feature-maps", "Feature maps by stage", note, tuple(pictures))


def write_explanation(found: Explained, name: str, path: Path) -> None:
    """Writes what was found as a page of HTML, or as a sheet of PNG: see `write_sections`.

    Args:
        found: what was found.
        name: what the image is called.
        path: the file.

    Raises:
        UserError: the file's name ends otherwise than in .html or .png, or it cannot be written.
        MachineError: the disk is full, or fails.
    """
    rows = [tag("tr", tag("th", each, scope="row"), tag("td", f"{share:.4f}")) for each, share in found.answer]
    head = tag("tr", tag("th", "class", scope="col"), tag("th", "probability", scope="col"))
    answer = joined(
        tag("table", tag("caption", "The most probable classes"), tag("thead", head), tag("tbody", *rows)),
        tag("p", "What follows explains ", tag("b", found.label), "."),
    )
    lines = [*(f"{share:.4f}  {each}" for each, share in found.answer), f"What follows explains {found.label}."]
    lead = Lead("answer", "Answer", answer, "\n".join(lines))
    write_sections(path, name, "jaxcnn explain", found.sections, lead)
