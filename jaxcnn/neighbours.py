"""The modules beside a recipe: which of them it imports, and how Python finds them there.

As for a script, the folder of the recipe comes first where Python looks for modules. A module of the standard library
is never looked for there.
"""

import ast
import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from jaxcnn.errors import UserError

_NEVER = sys.stdlib_module_names | {"jaxcnn"}
"""The modules that are no neighbours even where a file beside the recipe has their name."""
_LOADED: dict[str, str] = {}
"""The texts of the neighbours that this process has imported, by the names of the modules."""


def neighbours(source: str, folder: Path) -> dict[str, str]:
    """Returns the texts of the modules in a folder that a recipe imports, or that one of these does.

    They are found by the ``import`` statements, whether these are carried out or not, and by nothing else.

    Args:
        source: the text of the recipe.
        folder: the folder of the modules.

    Returns:
        The texts by the paths of the files in the folder: ``{"layers/__init__.py": "", "layers/mine.py": "..."}``.

    Raises:
        UserError: a file cannot be read.
    """
    found: dict[str, str] = {}
    waiting = [(source, "")]
    while waiting:
        text, package = waiting.pop()
        for name in _imported(text, package):
            for file in _files(name, folder):
                path = file.relative_to(folder).as_posix()
                if path not in found:
                    found[path] = _read(file)
                    inside = path.rpartition("/")[0].replace("/", ".")
                    waiting.append((found[path], inside))
    return dict(sorted(found.items()))


def _imported(text: str, package: str) -> Iterator[str]:
    """Yields the dotted names of all modules that a text may import; some of them may be no modules."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # executing it says so, with the line
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".") if package else []
            base = ".".join(above[: len(above) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            yield from (f"{origin}.{alias.name}" if origin else alias.name for alias in node.names)


def _files(name: str, folder: Path) -> Iterator[Path]:
    """Yields the files of a module in a folder, and those of the packages that it is in."""
    first, *rest = name.split(".")
    if first in _NEVER:
        return
    path = folder
    for part in (first, *rest):
        path = path / part
        if (package := path / "__init__.py").is_file():
            yield package
        elif (module := path.with_name(f"{part}.py")).is_file():
            yield module
            return


def _read(file: Path) -> str:
    try:
        return importlib.util.decode_source(file.read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None


@contextlib.contextmanager
def importing(modules: Mapping[str, str], folder: Path) -> Generator[None]:
    """Lets what is executed in a ``with`` block, and later, import a recipe's neighbours.

    A neighbour of another recipe that has the same name and another text is forgotten, so that each gets its own.

    Args:
        modules: what `neighbours` returned.
        folder: their folder.
    """
    if not modules:
        yield
        return
    texts = {_module_name(path): text for path, text in modules.items()}
    for name in [name for name, text in texts.items() if _LOADED.get(name, text) != text]:
        for loaded in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
            del sys.modules[loaded]
            _LOADED.pop(loaded, None)
    place = str(folder.absolute())
    # It stays first, because functions import modules too when they are called.
    sys.path[:] = [place, *(each for each in sys.path if each != place)]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _LOADED.update({name: text for name, text in texts.items() if name in sys.modules})


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
