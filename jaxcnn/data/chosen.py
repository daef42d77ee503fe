"""Choosing categories of cut-outs, naming their classes, and dividing them between the splits."""

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxcnn.config.categories import CutOutOptions
from jaxcnn.data.cut_outs import CutOut, FoundCategory
from jaxcnn.data.random import random_state
from jaxcnn.errors import UserError, nearest
from jaxcnn.text import escaped

SPLITS = ("train", "validation")
"""The names of the splits."""
_ORDER = len(SPLITS)
"""What stands for a split's number where the order of the cut-outs is drawn."""


def choose(found: Sequence[FoundCategory], config: CutOutOptions, folder: Path) -> tuple[FoundCategory, ...]:
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
    return {folder: file_name(name) for folder, name in named.items()}


def file_name(text: str) -> str:
    """Returns a text that can be part of a file's name anywhere: ``T-shirt_top`` for ``T-shirt/top``."""
    return re.sub(r"[^\w.-]", "_", text)


def divide(category: FoundCategory, config: CutOutOptions) -> tuple[tuple[CutOut, ...], tuple[CutOut, ...]]:
    """Returns the cut-outs of a category that training images show, and those that validation images show.

    Each is in a random order; a cut-out is in one of them alone, and neither is empty.
    """
    count = len(category.cut_outs)
    held_out = min(max(round(config.validation_share * count), 1), count - 1)
    order = random_state(config.seed, category_key(category.folder), _ORDER, 0).permutation(count)
    drawn = [category.cut_outs[index] for index in order]
    return tuple(drawn[held_out:]), tuple(drawn[:held_out])


def category_key(folder: str) -> int:
    """Returns the number of a category among random numbers, which other categories do not change."""
    return int.from_bytes(hashlib.sha256(folder.encode(errors="surrogateescape")).digest()[:4])
