"""The pages of the API: which module stands on which page, and what a page says before mkdocstrings fills it in."""

import ast
import functools
import json
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "jaxcnn"
LEFT_OUT = ("cli", "__main__")
"""The parts of the package that no page shows: the commands have a page of their own."""
TOGETHER = {
    "training_runs": (
        "Training, and trained networks",
        "networks adaptation assembly compiled_step trained loading run_changes run_folder runs measuring work_folder "
        "supervision recipes neighbours",
    ),
    "foundations": (
        "Foundations",
        "errors lookahead opencv paths processor provenance resident strict_json text types children contenders "
        "plain_flax",
    ),
}
"""The pages that several modules beside the rooms share: title and modules, by the name of the page."""


class NoPageError(Exception):
    """A module stands on no page of the API."""


def modules() -> list[str]:
    """Returns the names of all public modules of the package, packages before what is in them."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not set(parts[1:]) & set(LEFT_OUT) and not any(part.startswith("_") for part in parts):
            found.append(".".join(parts))
    return sorted(found)


def page_of(module: str) -> str:
    """Returns the name of the page of a module: that of its room, such as ``ops``.

    Raises:
        NoPageError: the module is beside the rooms, and no page of `TOGETHER` names it.
    """
    parts = module.split(".")
    if len(parts) == 1 or (PACKAGE / parts[1]).is_dir():
        return parts[-1] if len(parts) == 1 else parts[1]
    for page, (_, names) in TOGETHER.items():
        if parts[1] in names.split():
            return page
    raise NoPageError(f"{module} stands on no page of the API: name it in TOGETHER of docs/builder/reference.py")


def pages() -> dict[str, str]:
    """Returns the text of each page of the API, by its name."""
    of_pages: dict[str, list[str]] = {}
    for module in modules():
        of_pages.setdefault(page_of(module), []).append(module)
    return {page: "\n\n".join(_page(page, names)) + "\n" for page, names in of_pages.items()}


def public_names(module: str) -> Iterator[str]:
    """Yields the public functions and classes that a module defines, and its documented constants."""
    body = _tree(module).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and _is_text(following):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def _is_text(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _page(page: str, names: list[str]) -> Iterator[str]:
    yield f"# {TOGETHER[page][0] if page in TOGETHER else names[0]}"
    for module in names:
        handed_on = _handed_on(module)
        if module == "jaxcnn":
            yield _entry(module, members=[*handed_on], heading=False)
            continue
        # What a package only hands on stands under the module that defines it, and is named with a link here.
        members = [*public_names(module)] if _file(module).name == "__init__.py" else None
        yield _entry(module, members, heading=module != names[0] or page in TOGETHER)
        if handed_on:
            links = (f"[`{name}`](../api/{page_of(home)}.md#{home}.{name})" for name, home in handed_on.items())
            yield f"`{module}` also has " + ", ".join(links) + "."


def _entry(module: str, members: list[str] | None, heading: bool) -> str:
    options = {} if members is None else {"members": members}
    if not heading:  # the page's title is the module's name
        options |= {"show_root_heading": False}
    lines = [f"::: {module}", *(["    options:"] if options else [])]
    return "\n".join([*lines, *(f"      {name}: {json.dumps(value)}" for name, value in options.items())])


def _handed_on(module: str) -> dict[str, str]:
    """Returns the names in a package's ``__all__`` that another module defines, with that module."""
    if _file(module).name != "__init__.py":
        return {}
    offered = {
        name
        for node in _tree(module).body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        for name in ast.literal_eval(node.value)
    }
    homes = {name: _home(module, name) for name in sorted(offered, key=str.lower)}
    return {name: home for name, home in homes.items() if home != module}


def _home(module: str, name: str) -> str:
    """Returns the module that defines what another one imports, perhaps through further ones."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("jaxcnn"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _home(node.module, alias.name)
    return module


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text())
