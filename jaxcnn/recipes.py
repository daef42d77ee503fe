"""Recipes: Python files with the options of a run, found by name or by path, or kept in a run folder.

A recipe sets ``config = TrainConfig(...)``. It may also register what it trains with, such as a network family of its
own. Therefore it is executed only once in a process, however often it is loaded; and a run folder keeps its source, and
that of the modules beside it which it imports, so that the same things are registered when the run is loaded later.
"""

import ast
import dataclasses
import fnmatch
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from jaxcnn.config import ConfigError, TrainConfig, from_json
from jaxcnn.errors import UserError, nearest
from jaxcnn.neighbours import importing, neighbours
from jaxcnn.paths import expanded

CONFIG_FILE = "config.json"
"""The file of a run folder that holds the run's options, everything resolved."""
RECIPE_FILE = "recipe.py"
"""The file of a run folder that holds the source of the recipe that was trained."""
MODULES_FOLDER = "recipe_modules"
"""The folder of a run folder that holds the modules which the recipe imports from beside it."""


def _shipped() -> Path:
    package = Path(__file__).parent
    # The wheel carries the recipes inside the package; a checkout has them beside it.
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


SHIPPED = _shipped()
"""The folder of the recipes that come with this package: `load_recipe` finds them by name."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The options of a run, and the source of the recipe that they come from."""

    name: str
    """The name of the recipe's file without its suffix; for a run folder or a config file, the config's own name."""
    config: TrainConfig
    source: str | None
    """The text of the recipe's file, for the run folder to keep; None where there is a config without a recipe."""
    modules: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The texts of the modules beside the recipe that it imports, by their paths: ``{"layers/mine.py": "..."}``."""
    run: Path | None = None
    """The run folder, where one was named; None for a recipe or a config file."""

    @property
    def summary(self) -> str:
        """The first line of the recipe's docstring; empty where there is none."""
        docstring = ast.get_docstring(ast.parse(self.source)) if self.source else None
        return docstring.splitlines()[0] if docstring else ""


def load_config(name_or_path: str | Path) -> TrainConfig:
    """Returns the config of the recipe that `load_recipe` loads.

    Raises:
        UserError: as `load_recipe` does.
    """
    return load_recipe(name_or_path).config


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Loads a recipe, or the config of a run.

    Args:
        name_or_path: the name of a recipe of `find_recipes`, such as ``resnet50_imagenet``; the path of a recipe's
            file, a run folder, or a ``.json`` file; the config.json of a run folder stands for the folder. A string
            without a directory part is first taken for a name, whatever the working directory holds;
            ``./resnet50_imagenet`` and every `Path` are paths. A ``recipe.py`` beside a config is executed first,
            because the config may name what it registers.

    Raises:
        UserError: there is no such recipe, file or folder, or it holds no config.
        ConfigError: an option in it is wrong.
    """
    path = expanded(name_or_path)
    may_be_name = isinstance(name_or_path, str) and path.name == name_or_path
    if may_be_name and (shipped := SHIPPED / f"{name_or_path}.py").is_file():
        return _load_file(shipped)
    if folder := run_folder(path):
        if not (folder / CONFIG_FILE).is_file():
            raise UserError(f"{folder} is not a run folder: it has no {CONFIG_FILE}")
        return dataclasses.replace(_load_json(folder / CONFIG_FILE), run=folder)
    if path.is_file():
        return _load_json(path) if path.suffix == ".json" else _load_file(path)
    way_out = "give the path of a recipe or of a run folder, or a name that `jaxcnn recipes` lists"
    if may_be_name:
        way_out = nearest(name_or_path, _names())
    raise UserError(f"there is no recipe or run folder {name_or_path}: {way_out}")


def run_folder(name_or_path: str | Path) -> Path | None:
    """Returns the folder that is meant by a run folder's path or by that of its config.json; None for anything else.

    A name without a slash may also be that of a recipe, a model or weights. It means the folder that is called so only
    if a run is there.
    """
    path = expanded(name_or_path)
    if path.is_dir():
        is_bare = str(name_or_path) == path.name
        return None if is_bare and not (path / CONFIG_FILE).is_file() else path
    return path.parent if path.name == CONFIG_FILE and path.is_file() else None


def same_code(source: str, other: str) -> bool:
    """Returns whether two recipes have the same code, apart from comments, docstrings, imports and their ``config``."""
    return _code(source) == _code(other)


def _code(source: str) -> str:
    statements = []
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        sets_config = [target.id for target in targets if isinstance(target, ast.Name)] == ["config"]
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not (sets_config or is_docstring or isinstance(node, ast.Import | ast.ImportFrom)):
            statements.append(ast.unparse(node))
    return "\n".join(statements)


def find_recipes(pattern: str = "*", folder: Path = SHIPPED) -> dict[str, Recipe]:
    """Returns recipes by name, sorted.

    Args:
        pattern: a shell pattern that names match.
        folder: the folder of the recipes; by default that of the recipes that come with this package.

    Raises:
        UserError: no recipe matches.
        ConfigError: an option in a recipe is wrong.
    """
    names = _names(folder)
    matching = fnmatch.filter(names, pattern)
    if not matching:
        raise UserError(f"no recipe matches {pattern!r}: {nearest(pattern, names)}")
    return {name: _load_file(folder / f"{name}.py") for name in matching}


def _names(folder: Path = SHIPPED) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py"))


def _load_file(path: Path) -> Recipe:
    source = _read(path)
    modules = neighbours(source, path.parent)
    config = vars(_executed(source, path, modules, path.parent)).get("config")
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path} is not a recipe: it must set config = TrainConfig(...)")
    return Recipe(path.stem, config, source, modules)


def _load_json(path: Path) -> Recipe:
    source, modules = None, {}
    if (recipe := path.parent / RECIPE_FILE).is_file():
        source, folder = _read(recipe), path.parent / MODULES_FOLDER
        modules = neighbours(source, folder)
        # What a recipe of the same code has registered, whatever its config and comments, is registered already.
        if not any(same_code(source, done.source) and _same_modules(modules, done.modules) for done in _EXECUTIONS):
            try:
                _executed(source, recipe, modules, folder)
            except ModuleNotFoundError as error:
                raise UserError(
                    f"{recipe} imports {error.name!r}, which neither the run folder keeps nor this Python has: install "
                    f"it, or put it into {folder}"
                ) from error
    try:
        config = from_json(_read(path))
    except UserError as error:
        raise ConfigError(f"{path}: {error}") from None
    return Recipe(config.name, config, source, modules)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise UserError(f"{path} cannot be read: {reason}") from None


def _same_modules(some: Mapping[str, str], others: Mapping[str, str]) -> bool:
    return some.keys() == others.keys() and all(
        text == others[name] or same_code(text, others[name]) for name, text in some.items()
    )


@dataclasses.dataclass(frozen=True)
class _Execution:
    """A recipe that this process has executed."""

    source: str
    modules: Mapping[str, str]
    module: ModuleType


_EXECUTIONS: list[_Execution] = []


def _executed(source: str, path: Path, modules: Mapping[str, str], folder: Path) -> ModuleType:
    """Returns the module that a recipe's source makes; it is the same one wherever the same texts are read from.

    Args:
        source: the text of the recipe.
        path: its file.
        modules: the texts of the modules that it imports from a folder.
        folder: that folder.
    """
    for done in _EXECUTIONS:
        if done.source == source and done.modules == modules:
            return done.module
    texts = "\0".join([source, *(text for item in sorted(modules.items()) for text in item)])
    module = ModuleType(f"jaxcnn_recipe_{hashlib.sha256(texts.encode()).hexdigest()}")
    module.__file__ = str(path)
    # Dataclasses, pydantic and Flax look up a class's annotations in the module that sys.modules has for it.
    sys.modules[module.__name__] = module
    try:
        with importing(modules, folder):
            exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException as error:
        del sys.modules[module.__name__]
        if isinstance(error, UserError):
            raise ConfigError(f"{path}: {error}") from None
        raise
    _EXECUTIONS.append(_Execution(source, modules, module))
    return module
