"""What pages hold: elements whose text is always escaped, pictures, and data for scripts."""

import base64
import html
import io
from typing import TypeAlias

import numpy as np
from PIL import Image

from jaxcnn import strict_json
from jaxcnn.text import escaped
from jaxcnn.types import Json

_VOID = frozenset({"br", "img", "input", "meta", "wbr"})
"""The elements that have no end."""
_LARGEST_PNG = 64
"""The longest side, in pixels, of a picture that is kept as it is; larger ones become JPEG, which takes a tenth."""
_QUALITY = 90
"""The quality of JPEG, as Pillow counts it."""
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Markup(str):
    """HTML that was made by `tag` or `joined`, in which everything foreign is escaped."""

    __slots__ = ()


Attribute: TypeAlias = str | int | float | bool | None


def tag(name: str, /, *children: str | Markup, **attributes: Attribute) -> Markup:
    """Returns an element.

    Args:
        name: its name.
        children: what it holds. Anything but `Markup` is text, which is escaped.
        attributes: its attributes, in whose names ``_`` stands for ``-`` and is left out at the end. None and False
            leave one out, and True gives it no value.

    Examples:
        >>> print(tag("a", "1 < 2", href="#x", class_="wide", aria_label='"', hidden=None))
        <a href="#x" class="wide" aria-label="&quot;">1 &lt; 2</a>
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{html.escape(escaped(str(value)))}"')
    opened = f"<{' '.join(parts)}>"
    return Markup(opened if name in _VOID else f"{opened}{joined(*children)}</{name}>")


def joined(*children: str | Markup) -> Markup:
    """Returns pieces of a page one after another; anything but `Markup` is text, which is escaped."""
    return Markup("".join(each if isinstance(each, Markup) else html.escape(escaped(each)) for each in children))


def script_data(name: str, value: Json) -> Markup:
    r"""Returns an element that holds JSON for the page's script, which no text in it can end or leave.

    Examples:
        >>> print(script_data("data", ["</script>"]))
        <script type="application/json" id="data">["\u003c/script\u003e"]</script>
    """
    text = strict_json.dumps(value)
    for character, escape in _UNSAFE.items():
        text = text.replace(character, escape)
    return Markup(f'<script type="application/json" id="{html.escape(name)}">{text}</script>')


def data_uri(image: np.ndarray, *, exact: bool = False) -> str:
    """Returns a picture as an address that holds it.

    Args:
        image: the pixels, uint8 (height, width, 1, 3 or 4); the fourth channel is their opacity.
        exact: whether it must be kept bit for bit, as small pictures and those with an opacity always are.
    """
    as_png = exact or image.shape[-1] == 4 or max(image.shape) <= _LARGEST_PNG
    file = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if as_png:
        picture.save(file, "PNG", optimize=True)
    else:
        picture.save(file, "JPEG", quality=_QUALITY)
    kind = "png" if as_png else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def picture(image: np.ndarray, alt: str, side: int = 0) -> Markup:
    """Returns an element that shows a picture.

    Args:
        image: the pixels, as `data_uri` takes them.
        alt: what it shows, for those who do not see it.
        side: the width, in CSS pixels, that smaller pictures are enlarged to; one with an opacity stays as it is.
    """
    height, width = image.shape[:2]
    has_opacity = image.shape[-1] == 4
    shown = width if has_opacity else max(width, side)
    kind = "pixels" if has_opacity or width < side else None
    return tag("img", src=data_uri(image), alt=alt, width=shown, height=round(height * shown / width), class_=kind)
