"""Gathers the pages of the site in one folder, with links that lead to pages there.

Pages are written so that their links work in a checkout: each names a file, relative to the page. On the site
CONTRIBUTING and CHANGELOG are pages too, a module of the package is its entry in the API, another Python file that a
page links to becomes a page that shows it, and any other file is copied.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from docs.builder import commands, reference
from docs.builder.markdown import LINK, outside_code
from docs.builder.reference import PACKAGE, ROOT

DOCS = ROOT / "docs"
NOT_PAGES = ("builder", "__pycache__", "zensical.toml", "navigation.toml")
ELSEWHERE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""The pages from outside docs/, with their places on the site."""


class PageError(Exception):
    """A page or the navigation names something that is not there."""


def assemble(folder: Path) -> None:
    """Writes pages, configuration and theme of the site into an empty folder.

    Raises:
        PageError: a page links to a file that does not exist; or the navigation and the pages do not agree.
    """
    pages = folder / "pages"
    shutil.copytree(DOCS, pages, ignore=lambda _, names: [name for name in names if name in NOT_PAGES])
    for name, text in reference.pages().items():
        _write(pages / "api" / f"{name}.md", text)
    linked: dict[str, Path] = {}
    sources = [*sorted(path for path in DOCS.rglob("*.md")), *(ROOT / name for name in ELSEWHERE)]
    for source in sources:
        text = commands.page() if source == commands.PAGE else source.read_text()
        _write(pages / place(source), with_links(source, text, linked))
    for there, source in linked.items():
        show(source, pages / there)
    navigation = list(_navigation(pages))
    config = (DOCS / "zensical.toml").read_text()
    config = config.replace('"NAVIGATION"', _toml(navigation)).replace('"ROOT"', _toml(str(ROOT)))
    _write(folder / "zensical.toml", config)


def place(path: Path) -> str:
    """Returns where on the site a file is, relative to its first page; a module's place is a page of the API."""
    inside = path.relative_to(ROOT)
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    if path.is_relative_to(PACKAGE) and (path.suffix == ".py" or path.is_dir()):
        return f"api/{reference.page_of(_module(path))}.md"
    if str(inside) == "README.md":
        return "index.md"
    if path.is_dir() or path.suffix == ".py":
        return f"source/{inside}.md"
    return ELSEWHERE.get(str(inside), f"source/{inside}")


def with_links(source: Path, text: str, linked: dict[str, Path]) -> str:
    """Returns the text of a page with links that lead to places on the site.

    Args:
        source: the file of the page.
        text: what is in it.
        linked: gets the files from outside docs/ that are to be shown, by their places on the site.
    """
    here = Path(place(source)).parent

    def lead(target: str) -> str:
        if re.match(r"[a-z]+:|#", target):
            return target
        name, hash_, fragment = target.partition("#")
        path = Path(os.path.normpath(source.parent / name))
        if not path.exists() or not path.is_relative_to(ROOT):
            raise PageError(f"{source.relative_to(ROOT)} links to {target}, which does not exist")
        there = place(path)
        if there.startswith("source/"):
            linked[there] = path
        elif there.startswith("api/") and not path.is_relative_to(DOCS):
            hash_, fragment = "#", ".".join([_module(path), *filter(None, [fragment])])
        return os.path.relpath(there, here) + hash_ + fragment

    return outside_code(text, lambda prose: LINK.sub(lambda match: lead(match[0]), prose))


def show(source: Path, page: Path) -> None:
    """Writes a page that shows a Python file, or those of a folder; any other file is copied."""
    if source.is_file() and source.suffix != ".py":
        page.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, page)
        return
    files = sorted(source.glob("*.py")) if source.is_dir() else [source]
    parts = [f"# {source.relative_to(ROOT)}"]
    for file in files:
        heading = [f"## {file.name}"] if source.is_dir() else []
        parts += [*heading, f"``````python\n{file.read_text().rstrip()}\n``````"]
    _write(page, "\n\n".join(parts) + "\n")


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _navigation(pages: Path) -> Iterator[dict[str, list[str]]]:
    """Yields each section of the navigation with its pages; ``*`` in a name stands for all that are not named."""
    sections = tomllib.loads((DOCS / "navigation.toml").read_text())["section"]
    named = {page for section in sections for page in section["pages"] if "*" not in page}
    there = {path.relative_to(pages).as_posix() for path in pages.rglob("*.md")}
    shown = set()
    for section in sections:
        found = []
        for page in section["pages"]:
            others = sorted(path.relative_to(pages).as_posix() for path in pages.glob(page))
            found += [other for other in others if other == page or other not in named]
            if not found:
                raise PageError(f"docs/navigation.toml names {page}, which does not exist")
        shown |= set(found)
        yield {section["title"]: found}
    lost = {page for page in there - shown if not page.startswith("source/")}
    if lost or named - there:
        missing, extra = ", ".join(sorted(named - there)), ", ".join(sorted(lost))
        raise PageError(f"docs/navigation.toml and the pages differ: missing {missing or 'none'}; not named {extra}")


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
