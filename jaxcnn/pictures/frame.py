"""The frame of a page of HTML that holds everything it shows: its style, its contents and its policy."""

import base64
import hashlib
import importlib.resources
import string
from collections.abc import Sequence

from jaxcnn.pictures.embedded import Markup, joined, tag

Part = tuple[str, str, Markup]
"""A part of a page: its name in addresses, its title and its content."""


def framed(
    name: str, kind: str, parts: Sequence[Part], *, script: str = "", data: Markup | None = None, asks: bool = False
) -> str:
    """Returns a page.

    Args:
        name: what the page is about, its heading.
        kind: what the page is, such as "jaxcnn report"; its title has it after the name.
        parts: the parts of the page.
        script: the page's only script.
        data: what that script reads.
        asks: whether the script may ask the server that the page comes from for more.
    """
    style = packaged("page.css")
    # Nothing is loaded from anywhere, whatever a name in the page says; nor does any script but this one run.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src {_quoted(script)}; connect-src {_own(asks)}; base-uri 'none'; form-action 'none'"
    )
    contents = tag("ul", *(tag("li", tag("a", title, href=f"#{key}")) for key, title, _ in parts))
    body = [
        tag("a", "To the content", class_="skip", href="#main"),
        tag("header", tag("h1", name), tag("nav", contents, aria_label="Contents"), id="head"),
        tag("main", *(tag("section", tag("h2", title), content, id=key) for key, title, content in parts), id="main"),
    ]
    return string.Template(packaged("page.html")).substitute(
        title=tag("title", f"{name}: {kind}"),
        policy=tag("meta", http_equiv="Content-Security-Policy", content=policy),
        style=style,
        body=joined(*body),
        data=data or "",
        script=f"<script>{script}</script>" if script else "",
    )


def packaged(name: str) -> str:
    """Returns the text of a file of the package `jaxcnn.pictures`, by its path in it."""
    return (importlib.resources.files("jaxcnn.pictures") / name).read_text(encoding="utf-8")


def _own(asks: bool) -> str:
    return "'self'" if asks else "'none'"


def _quoted(script: str) -> str:
    return f"'{_hash(script)}'" if script else "'none'"


def _hash(text: str) -> str:
    """Returns the name by which a page's policy lets an element with this text in."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
