"""Prepares, checks, packs, shows and makes data sets.

    jaxcnn data prepare imagenet2012 --archives DIR   ILSVRC 2012's two archives to a tfds data set (needs the extra tf)
    jaxcnn data check NAME                            is a data set whole: counts, labels, unreadable images, copies
    jaxcnn data pack NAME --short-side 256            a copy whose images are already small
    jaxcnn data preview RECIPE --out page.html        what the network will see, after each augmentation
    jaxcnn data make-categories FOLDER --out DIR      a folder data set of cut-outs on other grounds (--list shows them)
    jaxcnn data make-scenes [THINGS] --out DIR        digits or cut-outs on photographs with their boxes, for detection

The exit code is 0; 1 where a data set is not whole; 2 where the command asks for something impossible, which one
sentence names; 130 after an interruption, from which the same command starts again cleanly.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import rich.table
import tyro

from jaxcnn.cli.shared import console, with_data_dir
from jaxcnn.config import DataConfig
from jaxcnn.config.categories import CategoriesConfig
from jaxcnn.config.options import Interpolation
from jaxcnn.config.scenes import ScenesConfig
from jaxcnn.data.categories import make_categories as write_categories
from jaxcnn.data.check import check as check_data_set
from jaxcnn.data.chosen import class_names
from jaxcnn.data.cut_outs import find_categories
from jaxcnn.data.folders import in_bytes
from jaxcnn.data.pack import Format
from jaxcnn.data.pack import pack as pack_data_set
from jaxcnn.data.prepare import prepare_imagenet2012
from jaxcnn.data.scenes import make_scenes as write_scenes
from jaxcnn.errors import UserError
from jaxcnn.pictures.preview import write_preview
from jaxcnn.recipes import load_config
from jaxcnn.text import escaped

CATEGORIES = CategoriesConfig()
"""The default options of `make_categories`."""
SCENES = ScenesConfig()
"""The default options of `make_scenes`."""
Name = tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="NAME")]]


def prepare(
    name: tyro.conf.Positional[Literal["imagenet2012"]],
    *,
    archives: Path,
    data_dir: str | None = None,
    allow_other_sizes: bool = False,
) -> int:
    """Writes ILSVRC 2012's two archives as a tfds data set, and counts it; needs the extra tf.

    Args:
        name: imagenet2012, the one data set whose archives must be fetched by hand.
        archives: the folder with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar.
        data_dir: the folder where tfds keeps its prepared data sets.
        allow_other_sizes: let archives pass that are not of the official sizes, such as a part of ILSVRC.
    """
    report = prepare_imagenet2012(archives, data_dir, allow_other_sizes=allow_other_sizes)
    print(report)
    return 0 if report.whole else 1


def check(
    name: Name,
    *,
    splits: tuple[str, ...] = (),
    data_dir: str | None = None,
    workers: int = 8,
    max_pixels: int = DataConfig.max_pixels,
) -> int:
    """Reads every image of a data set once, and says what is wrong with it; the exit code is 1 where something is.

    Args:
        name: tfds:NAME, folder:PATH, idx:FOLDER, digits or synthetic.
        splits: the splits to read, by default train and the one to evaluate on.
        data_dir: the folder where tfds keeps its prepared data sets.
        workers: the number of threads.
        max_pixels: the most pixels that an image may have; a larger one counts as unreadable.
    """
    report = check_data_set(name, splits, data_dir, workers=workers, max_pixels=max_pixels)
    print(report)
    return 0 if report.whole else 1


def pack(
    name: Name,
    *,
    short_side: int,
    format: Format = "jpeg",
    quality: int = 95,
    interpolation: Interpolation = "bilinear",
    splits: tuple[str, ...] = (),
    data_dir: str | None = None,
    packed_name: str | None = None,
    workers: int = 8,
    max_pixels: int = DataConfig.max_pixels,
) -> int:
    """Writes a copy of a data set whose images are already small, as a tfds data set.

    Args:
        name: tfds:NAME, folder:PATH, idx:FOLDER, digits or synthetic.
        short_side: the pixels of the short side, usually 256 or 320; smaller images stay as they are.
        format: jpeg, or raw for uint8 arrays, which need no decoding and take several times the space.
        quality: the quality of JPEG files, up to 100.
        interpolation: the interpolation of the scaling; take the crop's.
        splits: the splits to read, by default train and the one to evaluate on.
        data_dir: the folder where tfds keeps its prepared data sets; the copy is put there too.
        packed_name: the name of the copy, by default NAME_SIDE_FORMAT.
        workers: the number of threads.
        max_pixels: the most pixels that an image may have; a larger one is left out.
    """
    packed = pack_data_set(
        name,
        short_side,
        format=format,
        quality=quality,
        interpolation=interpolation,
        splits=splits,
        data_dir=data_dir,
        packed_name=packed_name,
        workers=workers,
        max_pixels=max_pixels,
    )
    for split in packed.splits:
        print(f"{split.split}: {split.images:,} images, {in_bytes(split.size)}, {len(split.left_out):,} left out")
        for what, reason in split.left_out:
            print(f"  {what} {reason}")
    print(f"{packed.name} is in {packed.folder}")
    return 0


def preview(recipe: tyro.conf.Positional[str], *, out: Path, images: int = 8, data_dir: str | None = None) -> int:
    """Writes a page of training images as the host cuts them and after each augmentation.

    Args:
        recipe: the name or the path of a recipe, or a run folder.
        out: the HTML file to write.
        images: the number of images.
        data_dir: the folder where tfds keeps its prepared data sets, if elsewhere than the recipe says.
    """
    write_preview(with_data_dir(load_config(recipe), data_dir), out, images)
    print(f"{out} shows {images} training images")
    return 0


def make_categories(
    folder: tyro.conf.Positional[Path],
    *,
    out: Path | None = None,
    list: tyro.conf.FlagCreatePairsOff[bool] = False,
    workers: int = 8,
    config: Annotated[CategoriesConfig, tyro.conf.arg(name="")] = CATEGORIES,
) -> int:
    """Puts cut-outs (PNG or WebP with transparency, in a folder for each category) on other grounds.

    It writes a folder data set, OUT/train and OUT/validation, which folder:OUT reads.

    Args:
        folder: the folder of cut-outs, such as /usr/share/tuxpaint/stamps of Debian's tuxpaint-stamps-default.
        out: the folder to write.
        list: print the categories and their numbers of cut-outs, and write nothing.
        workers: the number of threads.
        config: the options of what is made.
    """
    if list:
        print_categories(folder, config, workers)
        return 0
    if out is None:
        raise UserError("say which folder to write by --out, or --list to see the categories")
    made = write_categories(folder, out, config, workers)
    print(f"{made.folder} {'holds' if made.was_there else 'now holds'} {made.images:,} images")
    for name, (train, validation) in made.cut_outs.items():
        print(f"  {name}: {train} cut-outs for training, {validation} for validation")
    return 0


def make_scenes(
    things: tyro.conf.Positional[str] = "digits",
    *,
    out: Path,
    data_dir: str | None = None,
    workers: int = 8,
    config: Annotated[ScenesConfig, tyro.conf.arg(name="")] = SCENES,
) -> int:
    """Puts several things on each photograph, with exact boxes: a data set for detection, with a split for validation.

    It is in the layouts of COCO and of PASCAL VOC at once: coco:OUT and voc:OUT read the same.

    Args:
        things: a data set whose images are ink on black: digits, tfds:mnist or idx:FOLDER; else a folder of cut-outs,
            as make-categories takes it.
        out: the folder to write.
        data_dir: the folder where tfds keeps its prepared data sets.
        workers: the number of threads.
        config: the options of what is made.
    """
    made = write_scenes(things, out, config, data_dir, workers)
    train, validation = made.scenes
    said = "holds" if made.was_there else "now holds"
    print(f"{made.folder} {said} {train:,} scenes for training and {validation:,} for validation")
    for name, (train, validation) in made.things.items():
        print(f"  {name}: {train} things in training scenes, {validation} in validation scenes")
    return 0


def print_categories(folder: Path, config: CategoriesConfig, workers: int) -> None:
    """Prints a line for each category, those with the most cut-outs first."""
    found = find_categories(folder, drawings=config.drawings, drawing_folders=config.drawing_folders, workers=workers)
    table = rich.table.Table("category", "class", "cut-outs", "left out")
    names = class_names(found)
    for each in sorted(found, key=lambda each: (-len(each.cut_outs), each.folder)):
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(each.left_out.items()))
        table.add_row(escaped(each.folder), names[each.folder], str(len(each.cut_outs)), left_out)
    console().print(table)


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    commands = {
        "prepare": prepare,
        "check": check,
        "pack": pack,
        "preview": preview,
        "make-categories": make_categories,
        "make-scenes": make_scenes,
    }
    try:
        return tyro.extras.subcommand_cli_from_dict(commands, prog="jaxcnn data", args=arguments)
    except KeyboardInterrupt:
        print("interrupted; the same command starts again cleanly", file=sys.stderr)
        return 130
