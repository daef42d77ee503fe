"""The pages that people read, and what is named in them."""

import dataclasses
import functools
import re
import typing
from pathlib import Path
from typing import NamedTuple

from docs.builder import commands
from docs.builder.markdown import SPAN, parts
from jaxcnn.cli.main import COMMANDS
from jaxcnn.config.registry import Role

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n\Z")
INVOKED = re.compile(r"(?<![\w./-])jaxcnn ((?:[a-z][a-z-]*)(?:[^\n|;&`]|&(?!&))*)")
OPTION = re.compile(r"(?<![\w-])--([a-z][\w.-]*)")


class Block(NamedTuple):
    """A block of Python on a page."""

    code: str
    line: int
    not_run: str | None
    """Why it is not run; None where it is."""


def python_blocks(page):
    """Returns the blocks of Python on a page."""
    found, before = [], ""
    for part in parts(page.read_text()):
        if part.language == "python":
            marked = NOT_RUN.search(before)
            found.append(Block(part.code, part.line + 1, marked[1] if marked else None))
        before = part.text
    return found


def invocations(text):
    """Returns the command lines on a page, such as ``train RECIPE --epochs 2``: in blocks and in sentences."""
    found = []
    for part in parts(text):
        if part.language is None:
            found += [span[2].replace("\n", " ") for span in SPAN.finditer(part.text) if span[2].startswith("jaxcnn ")]
        elif part.language != "python":
            found += [line.split(" #")[0] for line in part.code.replace("\\\n", " ").splitlines()]
    return [words.strip() for line in found for words in INVOKED.findall(line)]


def wrong(words):
    """Returns what is wrong with a command line: its command or its options do not exist; None where nothing is."""
    words, dashes, rest = words.partition(" -- ")
    name = words.split()[0]
    if name not in COMMANDS:
        return f"there is no command {name!r}"
    first = rest.split()[0] if rest else ""
    followed = dashes and (first in COMMANDS or first.startswith("-"))
    if followed and (fault := wrong(rest if first in COMMANDS else f"train {rest}")):
        return fault
    known = known_options(name, words.split()[1] if len(words.split()) > 1 else "")
    for option in OPTION.findall(words):
        given = re.sub(r"\.\d+(?=\.|$)", ".N", option.rstrip(".").replace("_", "-"))
        if re.search(r"\.[A-Z]", given):  # a placeholder, as in --data.OPTION
            given = given.split(".")[0]
            if not any(each.startswith(f"{given}.") for each in known):
                return f"{name} has no options --{given}"
        elif given not in known and not ("." in given and given in kinds_options() and _has(known, given)):
            return f"{name} has no option --{option}"
    return None


def _has(known, option):
    """Whether a command has options of the group in which an option of another kind stands."""
    group = option.split(".")[0]
    return any(each.startswith(f"{group}.") or each == f"{group}:" for each in known)


@functools.cache
def help_of(name):
    """What ``--help`` prints, by command: of one command, and of its parts."""
    return dict(commands.helps(name))


@functools.cache
def known_options(name, part):
    """The options that ``--help`` names for a command, for its part and for what follows a network."""
    named = (name, f"{name} {part}", f"{name} NETWORK", f"{name} {part} NETWORK")
    texts = [text for command, text in help_of(name).items() if command in named]
    if name in ("compile", "finetune", "scaling-report"):
        texts += help_of("train").values()
    whole = "\n".join(texts)
    groups = {f"{group}:" for group in re.findall(r"\b([a-z-]+):[a-z]", whole)}
    return {re.sub(r"\.\d+(?=\.|$)", ".N", option) for option in OPTION.findall(whole)} | groups


@functools.cache
def kinds_options():
    """The options of all kinds of what recipes and commands choose among, as ``optimizer.beta2``."""
    from jaxcnn.cli import baseline, detect, evaluate
    from jaxcnn.config import TrainConfig

    roots = (TrainConfig, evaluate.Options, detect.Options, baseline.SiftFisher, baseline.SparseCoding)
    return {option for root in roots for option in _options(root, "")}


def _options(group, prefix):
    for name, hint in typing.get_type_hints(group, include_extras=True).items():
        if name not in {field.name for field in dataclasses.fields(group)}:
            continue
        inner = f"{prefix}{name.replace('_', '-')}"
        yield inner
        if any(getattr(part, "name", None) == "" for part in typing.get_args(hint)):  # tyro leaves the name out
            inside = prefix
        else:
            inside = f"{inner}.N." if typing.get_origin(hint) is tuple else f"{inner}."
        for kind in _groups(hint):
            yield from _options(kind, inside)


def _groups(hint):
    """The groups of options that an annotation holds, with all kinds of what has a registry."""
    if isinstance(hint, type) and issubclass(hint, Role):
        return list(hint.kinds().groups.values())
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    return [group for part in typing.get_args(hint) for group in _groups(part)]
