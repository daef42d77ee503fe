"""Making a folder data set of cut-outs on other grounds: few images of some categories, for transfer.

Everything is planned first, as a function of the options, the cut-outs and the seed: which cut-outs only validation
images show, and where each image's cut-out lies on which ground. The plan is a file beside the images. So a command
that was killed goes on where it was, and ends in the same bytes.
"""

import dataclasses
import fnmatch
import functools
import hashlib
import importlib.util
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from jaxcnn.config import DataConfig
from jaxcnn.config.categories import CategoriesConfig
from jaxcnn.data.cut_outs import CutOut, FoundCategory, find_categories, read_cut_out
from jaxcnn.data.decode import DecodeError, decode, is_image_suffix
from jaxcnn.data.folders import locked
from jaxcnn.data.progress import Progress
from jaxcnn.data.random import random_state
from jaxcnn.data.threads import map_ahead
from jaxcnn.errors import UserError, nearest, writing
from jaxcnn.paths import expanded, replace_whole
from jaxcnn.strict_json import dumps
from jaxcnn.text import escaped
from jaxcnn.types import JsonObject

PLAN_FILE = "categories.json"
"""The file in the data set's folder that says what each image is made of."""
SPLITS = ("train", "validation")
_ORDER = len(SPLITS)
"""What stands for a split's number where the order of the cut-outs is drawn."""
_WAY_OUT = "choose another --out"
_QUALITY = 95
_KEPT_GROUNDS = 16
"""The number of grounds that are kept decoded."""


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
    grounds = {each: _ground_images(each) for each in config.grounds}
    for category in chosen:
        name = names[category.folder]
        if name in divided:
            raise UserError(f"two categories of {escaped(str(folder))} would be the class {name!r}: rename a folder")
        divided[name] = divide(category, config)
        compositions |= _compositions(category.folder, name, divided[name], grounds, config)
    made = Made(out, {name: (len(a), len(b)) for name, (a, b) in divided.items()}, len(compositions), was_there=False)
    plan = dumps(_plan(chosen, names, divided, compositions, config), indent=1) + "\n"
    if out.exists() or out.is_symlink():
        if _text(out / PLAN_FILE) == plan:
            return dataclasses.replace(made, was_there=True)
        raise UserError(f"{escaped(str(out))} exists already and is not what this would make: {_WAY_OUT}, or remove it")
    _write(folder, out, plan, compositions, config.size, workers)
    return made


def choose(found: Sequence[FoundCategory], config: CategoriesConfig, folder: Path) -> tuple[FoundCategory, ...]:
    """Returns the categories that are taken, sorted by folder.

    Args:
        found: the categories that there are.
        config: the options.
        folder: the folder of all categories, for the messages.

    Raises:
        UserError: one that is named is not there or has less than two cut-outs, or too few have enough of them.
    """
    there = {each.folder: each for each in found}
    look = f"`jaxcnn data make-categories {escaped(str(folder))} --list` lists them"
    if config.categories:
        for name in config.categories:
            if name not in there:
                raise UserError(f"{escaped(str(folder))} has no category {name!r}: {nearest(name, there)}")
            if len(there[name].cut_outs) < 2:
                raise UserError(
                    f"the category {name!r} has {len(there[name].cut_outs)} cut-outs that can be used, and needs one "
                    f"for each split: name others; {look}"
                )
        return tuple(there[name] for name in sorted(set(config.categories)))
    enough = [
        each
        for each in found
        if len(each.cut_outs) >= config.min_cut_outs
        and not any(fnmatch.fnmatchcase(each.folder, pattern) for pattern in config.leave_out)
    ]
    if len(enough) < config.count:
        raise UserError(
            f"{escaped(str(folder))} has {len(enough)} categories of at least {config.min_cut_outs} cut-outs, and "
            f"{config.count} are wanted: lower --count or --min-cut-outs; {look}"
        )
    most = sorted(enough, key=lambda each: (-len(each.cut_outs), each.folder))[: config.count]
    return tuple(sorted(most, key=lambda each: each.folder))


def class_names(found: Iterable[FoundCategory]) -> dict[str, str]:
    """Returns the name of each category's class by its folder: ``birds`` for ``animals/birds``.

    Where several folders have one name, the folders above are part of it: ``clothes_hats``.
    """
    folders = [each.folder for each in found]
    ends = [folder.split("/")[-1] for folder in folders]
    named = {
        folder: end if end and ends.count(end) == 1 else folder.replace("/", "_") or "other"
        for folder, end in zip(folders, ends, strict=True)
    }
    return {folder: re.sub(r"[^\w.-]", "_", name) for folder, name in named.items()}


def divide(category: FoundCategory, config: CategoriesConfig) -> tuple[tuple[CutOut, ...], tuple[CutOut, ...]]:
    """Returns the cut-outs of a category that training images show, and those that validation images show.

    Each is in a random order; a cut-out is in one of them alone, and neither is empty.
    """
    count = len(category.cut_outs)
    held_out = min(max(round(config.validation_share * count), 1), count - 1)
    order = random_state(config.seed, _key(category.folder), _ORDER, 0).permutation(count)
    drawn = [category.cut_outs[index] for index in order]
    return tuple(drawn[held_out:]), tuple(drawn[:held_out])


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
        height, width = ground.shape[:2]
        across, down, share = composition.window
        side = max(round(share * min(height, width)), 1)
        left, top = round(across * (width - side)), round(down * (height - side))
        square = Image.fromarray(ground[top : top + side, left : left + side])
        canvas = square.resize((size, size), Image.Resampling.BICUBIC)
    height, width = cut_out.shape[:2]
    factor = composition.scale * size / max(height, width)
    shape = [min(max(round(factor * length), 1), size) for length in (width, height)]
    thing = Image.fromarray(cut_out[:, ::-1] if composition.mirrored else cut_out)
    thing = thing.resize((shape[0], shape[1]), Image.Resampling.BICUBIC)
    left, top = (round(place * (size - length)) for place, length in zip(composition.place, shape, strict=True))
    canvas.paste(thing, (left, top), mask=thing)
    return np.asarray(canvas)


def _key(folder: str) -> int:
    """Returns the number of a category among random numbers, which other categories do not change."""
    return int.from_bytes(hashlib.sha256(folder.encode(errors="surrogateescape")).digest()[:4])


def _ground_folder(ground: str) -> Path:
    if ground == "photographs":
        sklearn = importlib.util.find_spec("sklearn")  # importing it takes seconds
        assert sklearn is not None
        assert sklearn.origin is not None
        return Path(sklearn.origin).parent / "datasets" / "images"
    return expanded(ground)


def _ground_images(ground: str) -> tuple[str, ...]:
    """Returns a ground's images as `Composition` names them, sorted; none for plain colours."""
    if ground == "plain":
        return ()
    folder = _ground_folder(ground)
    if not folder.is_dir():
        raise UserError(f"there is no folder of grounds {escaped(str(folder))}: give photographs, plain, or a folder")
    names = sorted(path.name for path in folder.iterdir() if is_image_suffix(path.suffix.lower()))
    if not names:
        raise UserError(f"the folder of grounds {escaped(str(folder))} holds no images: name another")
    return tuple(f"{ground}/{name}" for name in names)


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
            rng = random_state(config.seed, _key(folder), split, number)
            stem = re.sub(r"[^\w.-]", "_", cut_out.path.rpartition("/")[2].rpartition(".")[0])
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
        window=(_rounded(across), _rounded(down), _rounded(0.2 + 0.8 * side)),
        scale=_rounded(low + (high - low) * scale),
        place=(_rounded(left), _rounded(top)) if anywhere else (0.5, 0.5),
        mirrored=bool(config.mirror and mirror < 0.5),
    )


def _rounded(share: float) -> float:
    return round(float(share), 4)  # short in the plan, and less than a pixel


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
        "grounds": {image: hashlib.sha256(_ground_bytes(image)).hexdigest() for image in grounds},
        "images": {path: dataclasses.asdict(each) for path, each in compositions.items()},
    }


def _ground_bytes(image: str) -> bytes:
    ground, _, name = image.rpartition("/")
    try:
        return (_ground_folder(ground) / name).read_bytes()
    except OSError as error:
        raise UserError(f"the ground {escaped(image)} cannot be read ({error.strerror}): make it readable") from None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write(
    folder: Path, out: Path, plan: str, compositions: Mapping[str, Composition], size: int, workers: int
) -> None:
    """Writes all images that are not there yet, and gives the folder its name when they are."""
    scratch = out.absolute().with_name(f"incomplete.{out.absolute().name}")
    cut_outs = {
        path: CutOut(path, digest)
        for each in json.loads(plan)["categories"].values()
        for split in SPLITS
        for path, digest in each[split].items()
    }

    @functools.lru_cache(_KEPT_GROUNDS)
    def ground(image: str) -> np.ndarray:
        try:
            return decode(_ground_bytes(image), 3, DataConfig.max_pixels)
        except DecodeError as error:
            raise UserError(f"the ground {escaped(image)} {error}: remove it") from None

    def write(path: str) -> None:
        each = compositions[path]
        if (scratch / path).exists():
            return
        behind = None if each.ground.startswith("#") else ground(each.ground)
        pixels = compose(each, read_cut_out(folder, cut_outs[each.cut_out]), behind, size)
        replace_whole(scratch / path, _encoded(pixels, path))

    with writing(escaped(str(out)), _WAY_OUT):
        scratch.mkdir(parents=True, exist_ok=True)
        with locked(scratch):
            before = _text(scratch / PLAN_FILE)
            if before is None and any(not each.name.startswith(".") for each in scratch.iterdir()):
                raise UserError(f"{escaped(str(scratch))} is in the way: remove it, or {_WAY_OUT}")
            if before is None:
                replace_whole(scratch / PLAN_FILE, plan)
            elif before != plan:
                raise UserError(
                    f"{escaped(str(scratch))} is left of a command with other options or cut-outs: remove it, or "
                    f"{_WAY_OUT}"
                )
            for path in compositions:
                (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            progress = Progress(escaped(str(out)), len(compositions))
            for _ in map_ahead(write, compositions, workers=workers, depth=4 * workers):
                progress.advance(1)
            os.replace(scratch, out)


def _encoded(pixels: np.ndarray, path: str) -> bytes:
    file = io.BytesIO()
    if path.endswith(".png"):
        Image.fromarray(pixels).save(file, "PNG")
    else:
        Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
