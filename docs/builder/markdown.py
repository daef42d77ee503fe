"""What a page in Markdown is made of: blocks of code, and what is around them."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

FENCE = re.compile(r"^ *(```+|~~~+) *([\w-]*)")
SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
LINK = re.compile(r"(?<=\]\()[^()\s]+(?=[)\s])|(?<=\]: )\S+(?=$)", re.MULTILINE)
"""The target of a link or a picture, or of the definition of a reference."""


class Part(NamedTuple):
    """A block of code with its fences, or what is between two such blocks."""

    text: str
    """All of it, as it stands on the page."""
    language: str | None
    """What the fence names, which may be empty; None between blocks."""
    line: int
    """The number of its first line, from 1."""

    @property
    def code(self) -> str:
        """The lines between the fences."""
        return "".join(self.text.splitlines(keepends=True)[1:-1])


def parts(text: str) -> Iterator[Part]:
    """Yields the parts of a page, in their order."""
    lines, begins, fence, language = [], 1, "", None
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        mark = FENCE.match(line)
        if mark and not fence:
            if lines:
                yield Part("".join(lines), None, begins)
            lines, begins, fence, language = [line], number, mark[1], mark[2]
            continue
        lines.append(line)
        if fence and line.strip() == fence:
            yield Part("".join(lines), language, begins)
            lines, begins, fence, language = [], number + 1, "", None
    if lines:
        yield Part("".join(lines), language, begins)


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Returns a page in which everything but its code is changed."""
    changed = []
    for part in parts(text):
        if part.language is not None:
            changed.append(part.text)
            continue
        start = 0
        for span in SPAN.finditer(part.text):
            changed += [change(part.text[start : span.start()]), span[0]]
            start = span.end()
        changed.append(change(part.text[start:]))
    return "".join(changed)


def links(text: str) -> Iterator[str]:
    """Yields the targets of the links and pictures on a page."""
    found: list[str] = []

    def note(prose: str) -> str:
        found.extend(LINK.findall(prose))
        return prose

    outside_code(text, note)
    yield from found


def anchors(text: str) -> set[str]:
    """Returns the anchors of a page's headings: the same on the site and where a repository is shown."""
    found: set[str] = set()
    for part in parts(text):
        if part.language is None:
            for heading in HEADING.findall(part.text):
                plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.lower()).replace("`", "")
                found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found
