"""Making a folder data set of cut-outs on other grounds: few images of some categories, for transfer.

Everything is planned first, as a function of the options, the cut-outs and the seed: which cut-outs only validation
images show, and where each image's cut-out lies on which ground. The plan is a file beside the images. So a command
that was killed goes on where it was, and ends in the same bytes.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from jaxcnn.config.categories import CategoriesConfig
from jaxcnn.data.chosen import SPLITS, category_key, choose, class_names, divide, file_name
from jaxcnn.data.cut_outs import CutOut, FoundCategory, find_categories, read_cut_out
from jaxcnn.data.grounds import ground_bytes, ground_images, ground_reader, view
from jaxcnn.data.planned import encoded, planned_folder, rounded_share
from jaxcnn.data.progress import Progress
from jaxcnn.data.random import random_state
from jaxcnn.data.threads import map_ahead
from jaxcnn.errors import UserError
from jaxcnn.paths import replace_whole
from jaxcnn.text import escaped
from jaxcnn.types import JsonObject

PLAN_FILE = "categories.json"
"""The file in the data set's folder that says what each image is made of."""


@dataclasses.dataclass(frozen=True)
class Composition:
    """What one image is made of. Lengths and places are shares, from 0 to 1."""

    cut_out: str
    """The path of the cut-out below the folder of all categories."""
    ground: str
    """A colour as ``#rrggbb``; or an image, as the word or the folder in the options and the name of a file in it."""
    window: tuple[float, float, float]
    """The left and top of the square that is cut out of the ground, as shares of the room for it, and its side as a
    share of the short side."""
    scale: float
    """The length of the cut-out's longer side, as a share of the image's."""
    place: tuple[float, float]
    """The left and top of the cut-out, as shares of the room for it."""
    mirrored: bool
    """Whether the cut-out is mirrored."""


@dataclasses.dataclass(frozen=True)
class Made:
    """A record of what was made."""

    folder: Path
    """The data set's folder."""
    cut_outs: Mapping[str, tuple[int, int]]
    """The numbers of cut-outs that training and validation images show, by class."""
    images: int
    """The number of images of both splits."""
    was_there: bool
    """Whether the same data set was there already, so that nothing was made."""


def make_categories(folder: Path, out: Path, config: CategoriesConfig, workers: int = 8) -> Made:
    """Writes a folder data set ``out/{train,validation}/CLASS/NAME.jpg``, which ``folder:OUT`` reads.

    Until it is whole, it lies in ``incomplete.NAME`` beside its place. A call with the same arguments goes on there
    after a kill, and does nothing where the data set is whole.

    Args:
        folder: the folder of cut-outs, with a folder for each category, at any depth.
        out: the folder to write, which does not exist yet.
        config: the options.
        workers: the number of threads.

    Raises:
        UserError: there are too few cut-outs, a category or a ground is not there, the folder holds something else, it
            cannot be written, or another process is writing it.
    """
    found = find_categories(folder, drawings=config.drawings, drawing_folders=config.drawing_folders, workers=workers)
    chosen = choose(found, config, folder)
    names = class_names(found)
    compositions: dict[str, Composition] = {}
    divided: dict[str, tuple[tuple[CutOut, ...], tuple[CutOut, ...]]] = {}
    grounds = {each: ground_images(each) for each in config.grounds}
    for category in chosen:
        name = names[category.folder]
        if name in divided:
            raise UserError(f"two categories of {escaped(str(folder))} would be the class {name!r}: rename a folder")
        divided[name] = divide(category, config)
        compositions |= _compositions(category.folder, name, divided[name], grounds, config)
    made = Made(out, {name: (len(a), len(b)) for name, (a, b) in divided.items()}, len(compositions), was_there=False)
    plan = _plan(chosen, names, divided, compositions, config)
    with planned_folder(out, PLAN_FILE, plan) as scratch:
        if scratch is None:
            return dataclasses.replace(made, was_there=True)
        cut_outs = {each.path: each for parts in divided.values() for part in parts for each in part}
        _write(folder, scratch, cut_outs, compositions, config.size, workers)
    return made


def compose(composition: Composition, cut_out: np.ndarray, ground: np.ndarray | None, size: int) -> np.ndarray:
    """Puts a cut-out on its ground.

    Args:
        composition: how it is placed.
        cut_out: the cut-out, uint8 of shape ``(height, width, 4)``: red, green, blue, alpha.
        ground: the image behind it, uint8 of shape ``(height, width, 3)``; None where the ground is a colour.
        size: the height and width of the image, in pixels.

    Returns:
        uint8 of shape ``(size, size, 3)``.
    """
    if ground is None:
        canvas = Image.new("RGB", (size, size), composition.ground)
    else:
        canvas = view(ground, composition.window, size, size)
    height, width = cut_out.shape[:2]
    factor = composition.scale * size / max(height, width)
    shape = [min(max(round(factor * length), 1), size) for length in (width, height)]
    thing = Image.fromarray(cut_out[:, ::-1] if composition.mirrored else cut_out)
    thing = thing.resize((shape[0], shape[1]), Image.Resampling.BICUBIC)
    left, top = (round(place * (size - length)) for place, length in zip(composition.place, shape, strict=True))
    canvas.paste(thing, (left, top), mask=thing)
    return np.asarray(canvas)


def _compositions(
    folder: str,
    name: str,
    divided: tuple[Sequence[CutOut], Sequence[CutOut]],
    grounds: Mapping[str, Sequence[str]],
    config: CategoriesConfig,
) -> dict[str, Composition]:
    """Returns what each image of a category is made of, by the image's path."""
    found = {}
    for split, (cut_outs, count) in enumerate(zip(divided, (config.images, config.validation_images), strict=True)):
        for number in range(count):
            cut_out = cut_outs[number % len(cut_outs)]
            rng = random_state(config.seed, category_key(folder), split, number)
            stem = file_name(cut_out.path.rpartition("/")[2].rpartition(".")[0])
            path = f"{SPLITS[split]}/{name}/{number:0{len(str(count - 1))}d}_{stem}.{config.format}"
            found[path] = _drawn(rng, cut_out, grounds, config)
    return found


def _drawn(
    rng: np.random.RandomState, cut_out: CutOut, grounds: Mapping[str, Sequence[str]], config: CategoriesConfig
) -> Composition:
    # Every number is drawn, whether or not it is used, so that an option changes nothing but what it is for.
    colour = rng.randint(256, size=3)
    images = grounds[config.grounds[rng.randint(len(config.grounds))]]
    image = rng.randint(2**31)
    across, down, side, scale, left, top, mirror = rng.uniform(size=7)
    low, high = config.scale
    anywhere = config.placement == "anywhere"
    return Composition(
        cut_out=cut_out.path,
        ground=images[image % len(images)] if images else "#" + bytes(colour.tolist()).hex(),
        window=(rounded_share(across), rounded_share(down), rounded_share(0.2 + 0.8 * side)),
        scale=rounded_share(low + (high - low) * scale),
        place=(rounded_share(left), rounded_share(top)) if anywhere else (0.5, 0.5),
        mirrored=bool(config.mirror and mirror < 0.5),
    )


def _plan(
    chosen: Sequence[FoundCategory],
    names: Mapping[str, str],
    divided: Mapping[str, tuple[Sequence[CutOut], Sequence[CutOut]]],
    compositions: Mapping[str, Composition],
    config: CategoriesConfig,
) -> JsonObject:
    """Returns everything that the bytes of the images depend on, and the numbers of each category."""
    grounds = sorted({each.ground for each in compositions.values() if not each.ground.startswith("#")})
    return {
        "config": dataclasses.asdict(config),
        "versions": {"pillow": PIL.__version__},
        "categories": {
            names[each.folder]: {
                "folder": each.folder,
                "left_out": dict(each.left_out),
                **{
                    split: {cut_out.path: cut_out.sha256 for cut_out in sorted(part, key=lambda part: part.path)}
                    for split, part in zip(SPLITS, divided[names[each.folder]], strict=True)
                },
            }
            for each in chosen
        },
        "grounds": {image: hashlib.sha256(ground_bytes(image)).hexdigest() for image in grounds},
        "images": {path: dataclasses.asdict(each) for path, each in compositions.items()},
    }


def _write(
    folder: Path,
    scratch: Path,
    cut_outs: Mapping[str, CutOut],
    compositions: Mapping[str, Composition],
    size: int,
    workers: int,
) -> None:
    """Writes all images that are not there yet."""
    read_ground = ground_reader()

    def write(path: str) -> None:
        each = compositions[path]
        if (scratch / path).exists():
            return
        behind = None if each.ground.startswith("#") else read_ground(each.ground)
        pixels = compose(each, read_cut_out(folder, cut_outs[each.cut_out]), behind, size)
        replace_whole(scratch / path, encoded(pixels, Path(path).suffix))

    for path in compositions:
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
    progress = Progress(escaped(str(scratch)), len(compositions))
    for _ in map_ahead(write, compositions, workers=workers, depth=4 * workers):
        progress.advance(1)
