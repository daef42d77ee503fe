"""Making a data set for detection: things on grounds, with the exact boxes of what is to be seen of each.

What a scene shows is planned first, as a function of the options, the things and the seed, and the plan is a file
beside the images. Where the objects lie is a function of the plan. So a command that was killed goes on where it was,
and ends in the same bytes.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from jaxcnn.config.scenes import ScenesConfig
from jaxcnn.data.annotation_files import ANNOTATIONS, IMAGES, LISTS, Annotated, coco_json, voc_lists, voc_xml
from jaxcnn.data.chosen import SPLITS
from jaxcnn.data.cut_outs import SEEN
from jaxcnn.data.grounds import ground_bytes, ground_images, ground_reader, view
from jaxcnn.data.planned import encoded, planned_folder, rounded_share
from jaxcnn.data.progress import Progress
from jaxcnn.data.random import random_state
from jaxcnn.data.things import Thing, Things, open_things
from jaxcnn.data.threads import map_ahead
from jaxcnn.paths import replace_whole
from jaxcnn.strict_json import dumps
from jaxcnn.text import escaped
from jaxcnn.types import JsonObject

PLAN_FILE = "scenes.json"
"""The file in the data set's folder that says what each scene is made of."""
COCO_FOLDER = "annotations"
"""The folder of the annotations in COCO's form, within the data set's folder."""
_TRIES = 100
"""The number of places that are tried for an object."""
_ALIKE = 110.0
"""The distance of two colours, of 0 to 255 in red, green and blue, below which ink takes the opposite colour."""


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """An object that a scene is to show."""

    thing: Thing
    """What it shows."""
    side: int
    """The length of its longer side, in pixels."""
    colour: tuple[int, int, int]
    """The red, green and blue of ink, 0 to 255."""
    mirrored: bool
    """Whether the thing is mirrored."""
    places: int
    """The seed of the places that are tried for it."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """What one scene is made of."""

    split: int
    """The number of the split in `SPLITS`."""
    width: int
    """The width of the scene, in pixels."""
    height: int
    """The height of the scene, in pixels."""
    ground: str
    """A colour as ``#rrggbb``; or an image, as `jaxcnn.data.grounds` names it."""
    window: tuple[float, float, float]
    """The window of the split's part of the ground, as `jaxcnn.data.grounds.view` takes it."""
    objects: tuple[SceneObject, ...]
    """The objects, those in front last."""


@dataclasses.dataclass(frozen=True)
class MadeScenes:
    """A record of what was made."""

    folder: Path
    """The data set's folder."""
    scenes: tuple[int, int]
    """The numbers of training and of validation scenes."""
    things: Mapping[str, tuple[int, int]]
    """The numbers of different things that training and validation scenes are to show, by class."""
    was_there: bool
    """Whether the same data set was there already, so that nothing was made."""


def make_scenes(
    things: str, out: Path, config: ScenesConfig, data_dir: str | None = None, workers: int = 8
) -> MadeScenes:
    """Writes scenes with their boxes in two layouts at once, which ``coco:OUT`` and ``voc:OUT`` read.

    Until the data set is whole, it lies in ``incomplete.NAME`` beside its place. A call with the same arguments goes on
    there after a kill, and does nothing where the data set is whole.

    Args:
        things: what scenes show, as `open_things` takes it.
        out: the folder to write, which does not exist yet.
        config: the options.
        data_dir: where tfds keeps its prepared data sets.
        workers: the number of threads.

    Raises:
        UserError: there are no such things or grounds, or too few; the folder holds something else, it cannot be
            written, or another process is writing it.
    """
    shown = open_things(things, config, data_dir, workers)
    scenes = plan_scenes(shown, config)
    used: dict[str, tuple[set[str], set[str]]] = {name: (set(), set()) for name in shown.class_names}
    for scene in scenes.values():
        for each in scene.objects:
            used[each.thing.class_name][scene.split].add(each.thing.sha256)
    made = MadeScenes(
        out,
        (config.images, config.validation_images),
        {name: (len(train), len(validation)) for name, (train, validation) in used.items()},
        was_there=False,
    )
    with planned_folder(out, PLAN_FILE, _plan(scenes, shown.class_names, config)) as scratch:
        if scratch is None:
            return dataclasses.replace(made, was_there=True)
        _write(scratch, scenes, shown, config, workers)
    return made


def plan_scenes(things: Things, config: ScenesConfig) -> dict[str, Scene]:
    """Returns what each scene is made of, by its name: training scenes first, ``000001`` and so on."""
    grounds = [ground_images(each) for each in config.grounds]
    counts = (config.images, config.validation_images)
    return {
        f"{split * counts[0] + number + 1:06d}": _drawn(things, grounds, config, split, number)
        for split, count in enumerate(counts)
        for number in range(count)
    }


def _drawn(things: Things, grounds: Sequence[Sequence[str]], config: ScenesConfig, split: int, number: int) -> Scene:
    # Every number is drawn, whether or not it is used, so that an option changes nothing but what it is for.
    rng = random_state(config.seed, split, number, 1)
    colour = rng.randint(256, size=3)
    images = grounds[rng.randint(len(grounds))]
    image, count = rng.randint(2**31, size=2)
    across, down, side, aspect, upright, empty = rng.uniform(size=6)
    short = round((config.aspect[0] + (config.aspect[1] - config.aspect[0]) * aspect) * config.size)
    width, height = (short, config.size) if upright < 0.5 else (config.size, short)
    fewest, most = config.objects
    wanted = 0 if empty < config.empty else fewest + int(count) % (most - fewest + 1)
    return Scene(
        split,
        width,
        height,
        ground=images[image % len(images)] if images else "#" + bytes(colour.tolist()).hex(),
        window=(rounded_share(across), rounded_share(down), rounded_share(0.5 + 0.5 * side)),
        objects=tuple(_drawn_object(things, config, split, number, index, short) for index in range(wanted)),
    )


def _drawn_object(things: Things, config: ScenesConfig, split: int, number: int, index: int, short: int) -> SceneObject:
    rng = random_state(config.seed, split, number, 2 + index)
    colour = tuple(rng.randint(256, size=3).tolist())
    places = int(rng.randint(2**31))
    scale, mirror = rng.uniform(size=2)
    low, high = config.scale
    return SceneObject(
        things.drawn(split, rng),
        max(round((low + (high - low) * scale) * short), 1),
        colour,
        bool(config.mirror and mirror < 0.5),
        places,
    )


def compose_scene(
    scene: Scene, things: Things, ground: np.ndarray | None, max_overlap: float
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Puts the objects of a scene on its ground.

    An object is left out where none of `_TRIES` places leaves the smaller of two boxes free enough, or where those in
    front hide all of it.

    Args:
        scene: what it is made of.
        things: the things that it shows.
        ground: the split's part of the image behind it, uint8 of shape ``(height, width, 3)``; None for a colour.
        max_overlap: the largest share of the smaller of two objects' boxes that lies in the other's.

    Returns:
        The scene, uint8 of shape ``(height, width, 3)``; the objects' classes; and their boxes, int64 of shape ``(n,
        4)``: left, top, right, bottom. A box is tight around the pixels of which at least an eighth is the object's.
    """
    size = (scene.width, scene.height)
    canvas = Image.new("RGB", size, scene.ground) if ground is None else view(ground, scene.window, *size)
    boxes: list[tuple[int, int, int, int]] = []
    names: list[str] = []
    seen: list[np.ndarray] = []
    for each in scene.objects:
        pixels = things.shown(each.thing, each.side)
        if each.mirrored and not things.are_ink:
            pixels = pixels[:, ::-1]
        box = _place(each.places, pixels, size, boxes, max_overlap)
        if box is None:
            continue
        left, top, right, bottom = box
        if things.are_ink:
            pixels = _inked(pixels, each.colour, np.asarray(canvas.crop(box)))
        thing = Image.fromarray(pixels)
        canvas.paste(thing, (left, top), mask=thing)
        alpha = pixels[..., 3].astype(np.float32) / np.float32(255)
        for share in seen:
            share[top:bottom, left:right] *= 1 - alpha
        seen.append(np.zeros((scene.height, scene.width), np.float32))
        seen[-1][top:bottom, left:right] = alpha
        boxes.append(box)
        names.append(each.thing.class_name)
    found = [(name, box) for name, share in zip(names, seen, strict=True) if (box := _tight(share)) is not None]
    return (
        np.asarray(canvas),
        tuple(name for name, _ in found),
        np.array([box for _, box in found], np.int64).reshape(-1, 4),
    )


def _place(
    seed: int,
    pixels: np.ndarray,
    size: tuple[int, int],
    others: Sequence[tuple[int, int, int, int]],
    max_overlap: float,
) -> tuple[int, int, int, int] | None:
    """Returns a box for a thing; None where there is no place, or nothing is to be seen of it."""
    height, width = pixels.shape[:2]
    if not height:
        return None
    rng = random_state(seed)
    for _ in range(_TRIES):
        left, top = rng.randint(size[0] - width + 1), rng.randint(size[1] - height + 1)
        box = (left, top, left + width, top + height)
        if all(_overlap(box, other) <= max_overlap for other in others):
            return box
    return None


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Returns the share of the smaller of two boxes that lies in the other."""
    across, down = (min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis]) for axis in (0, 1))
    areas = ((right - left) * (bottom - top) for left, top, right, bottom in (one, other))
    return max(across, 0) * max(down, 0) / min(areas)


def _inked(pixels: np.ndarray, colour: tuple[int, int, int], behind: np.ndarray) -> np.ndarray:
    """Returns ink in a colour, or in the opposite one where what is behind it is too much like it."""
    inked = np.array(colour)
    if np.linalg.norm(inked - behind[pixels[..., 3] > 0].mean(0)) < _ALIKE:
        inked = (inked + 128) % 256
    return np.concatenate([np.broadcast_to(inked.astype(np.uint8), (*pixels.shape[:2], 3)), pixels[..., 3:]], axis=-1)


def _tight(share: np.ndarray) -> tuple[int, int, int, int] | None:
    """Returns the box around the pixels of which enough is an object's; None where there are none."""
    rows, columns = (np.flatnonzero((share >= np.float32(SEEN) / np.float32(255)).any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _plan(scenes: Mapping[str, Scene], class_names: Sequence[str], config: ScenesConfig) -> JsonObject:
    """Returns everything that the bytes of the data set depend on."""
    grounds = sorted({each.ground for each in scenes.values() if not each.ground.startswith("#")})
    return {
        "config": dataclasses.asdict(config),
        "versions": {"pillow": PIL.__version__},
        "classes": list(class_names),
        "grounds": {image: hashlib.sha256(ground_bytes(image)).hexdigest() for image in grounds},
        "scenes": {name: dataclasses.asdict(each) for name, each in scenes.items()},
    }


def _write(folder: Path, scenes: Mapping[str, Scene], things: Things, config: ScenesConfig, workers: int) -> None:
    """Writes all scenes and annotations that are not there yet."""
    read_ground = ground_reader()
    for each in (ANNOTATIONS, COCO_FOLDER, IMAGES, LISTS):
        (folder / each).mkdir(parents=True, exist_ok=True)

    def write(name: str) -> Annotated:
        scene = scenes[name]
        ground = None
        if not scene.ground.startswith("#"):
            ground = part_of(read_ground(scene.ground), scene.split, config.validation_share)
        # A scene that is there already is made again for its boxes, which takes less than writing it does.
        pixels, class_names, boxes = compose_scene(scene, things, ground, config.max_overlap)
        annotated = Annotated(name, f"{name}.{config.format}", scene.width, scene.height, class_names, boxes)
        if not (folder / IMAGES / annotated.file).exists():
            replace_whole(folder / IMAGES / annotated.file, encoded(pixels, f".{config.format}"))
        if not (folder / ANNOTATIONS / f"{name}.xml").exists():
            replace_whole(folder / ANNOTATIONS / f"{name}.xml", voc_xml(annotated))
        return annotated

    progress, found = Progress(escaped(str(folder)), len(scenes)), []
    for annotated in map_ahead(write, scenes, workers=workers, depth=4 * workers):
        found.append(annotated)
        progress.advance(1)
    for split, annotated in zip(SPLITS, (found[: config.images], found[config.images :]), strict=True):
        content = dumps(coco_json(annotated, things.class_names), indent=1) + "\n"
        replace_whole(folder / COCO_FOLDER / f"{split}.json", content)
        for name, lines in voc_lists(annotated, things.class_names, split).items():
            replace_whole(folder / LISTS / name, lines)


def part_of(ground: np.ndarray, split: int, validation_share: float) -> np.ndarray:
    """Returns the part of a ground's image that a split's scenes show, so that no two splits show the same.

    Args:
        ground: uint8 of shape ``(height, width, 3)``.
        split: the number of the split in `SPLITS`.
        validation_share: the share of the longer side, at its end, that is for validation.
    """
    axis = int(ground.shape[1] > ground.shape[0])
    length = ground.shape[axis]
    first = min(max(round((1 - validation_share) * length), 1), max(length - 1, 1))
    return np.split(ground, [first], axis)[split] if length > 1 else ground
