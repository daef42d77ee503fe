"""Checks a built site: its links and anchors lead somewhere, and its pages ask nothing of another host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

RESOURCES = {
    **{"script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src", "video": "src", "embed": "src"},
    **{"object": "data", "image": "href", "use": "href"},
}
"""The attributes by which an element asks for a file that the page needs."""
NO_FILES = ("canonical", "prev", "next", "alternate")
"""The relations of a ``link`` for which a browser asks no file."""
STYLE_URL = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")


class Page(HTMLParser):
    """What a page links to, what it asks for, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors = {"", "top"}
        self.links: list[str] = []
        self.resources: list[str] = []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what an element says."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given and tag != "meta"}
        if tag in ("a", "area") and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in NO_FILES:
            self.resources.append(given.get("href", ""))
        if tag in RESOURCES and given.get(RESOURCES[tag]):
            self.resources.append(given[RESOURCES[tag]])
        self.resources += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.resources += style_urls(given.get("style", ""))
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        """Notes what a style sheet in the page asks for."""
        if self._in_style:
            self.resources += style_urls(data)

    def handle_endtag(self, tag: str) -> None:
        """Ends a style sheet."""
        self._in_style = False


def style_urls(text: str) -> list[str]:
    """Returns what a style sheet asks for."""
    return ["".join(found) for found in STYLE_URL.findall(text)]


def faults(site: Path) -> Iterator[str]:
    """Yields a sentence for each link that leads nowhere, and for each file that is asked of another host.

    Args:
        site: the folder of the site.
    """
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for link in page.links:
            if fault := _fault(site, path, link, pages):
                yield f"{path.relative_to(site)}: the link {link} {fault}"
        for resource in page.resources:
            if fault := _fault_of_resource(site, path, resource):
                yield f"{path.relative_to(site)}: {resource} {fault}"
    for path in sorted(site.rglob("*.css")):
        for resource in style_urls(path.read_text()):
            if fault := _fault_of_resource(site, path, resource):
                yield f"{path.relative_to(site)}: {resource} {fault}"


def _fault(site: Path, page: Path, link: str, pages: dict[Path, Page]) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None if parts.scheme in ("https", "http", "mailto") else f"has the scheme {parts.scheme!r}"
    target = _target(site, page, parts.path)
    if target is None:
        return "leads to no file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "leads to no place on its page"
    return None


def _fault_of_resource(site: Path, page: Path, resource: str) -> str | None:
    parts = urlsplit(resource)
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        return "is asked of another host"
    return None if _target(site, page, parts.path) else "is asked for, and does not exist"


def _target(site: Path, page: Path, path: str) -> Path | None:
    """Returns the file that a relative address leads to; None where there is none in the site."""
    if path.startswith("/"):
        # The page of errors, which a server shows for any address, alone has addresses from the root.
        target = site / unquote(path).lstrip("/") if page.name == "404.html" else None
    else:
        target = (page.parent / unquote(path)).resolve() if path else page
    if target is not None and target.is_dir():
        target /= "index.html"
    return target if target is not None and target.is_file() and target.is_relative_to(site) else None
