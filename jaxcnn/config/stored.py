"""Groups of options as JSON, which a folder of resumable work keeps, and in what two of them differ."""

import dataclasses
import functools
from typing import TypeVar

import pydantic

from jaxcnn.config.options import ConfigError, as_config_error
from jaxcnn.text import escaped

Group = TypeVar("Group")


@functools.cache
def _adapter(kind: type[Group]) -> pydantic.TypeAdapter[Group]:
    return pydantic.TypeAdapter(kind)


def to_json(config: object) -> str:
    """Returns all options of a group as indented JSON, which `group_from_json` reads back.

    Raises:
        ConfigError: an option is a text that JSON cannot hold, such as a path whose bytes are not UTF-8.
    """
    for option, value in flatten(config).items():
        text = str(value)
        if text != text.encode(errors="ignore").decode():
            raise ConfigError(
                f"{option} is {escaped(text)}, which is not UTF-8 and so cannot be stored with a run: rename it, or "
                "make a link to it with another name"
            )
    return _adapter(type(config)).dump_json(config, indent=2).decode() + "\n"


def group_from_json(kind: type[Group], text: str) -> Group:
    """Reads what `to_json` wrote of a group of this kind.

    Raises:
        ConfigError: the text is not JSON, or an option in it is unknown or out of its range.
    """
    try:
        return _adapter(kind).validate_json(text)
    except pydantic.ValidationError as error:
        raise as_config_error(kind, error) from None


def flatten(config: object) -> dict[str, object]:
    """Returns every option by its full path: ``{"optimizer.learning_rate": 0.1, "augmentations.0.padding": 2}``."""

    def walk(path: str, value: object) -> dict[str, object]:
        if dataclasses.is_dataclass(value):
            children = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        elif isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value)):
            children = {str(index): item for index, item in enumerate(value)}
        else:
            return {path: value}
        return {name: leaf for key, child in children.items() for name, leaf in walk(f"{path}.{key}", child).items()}

    return {path.removeprefix("."): value for path, value in walk("", config).items()}


def differences(old: object, new: object) -> dict[str, tuple[object, object]]:
    """Returns the options that differ, by full path: ``{"optimizer.learning_rate": (0.1, 0.2)}``; None where absent."""
    a, b = flatten(old), flatten(new)
    return {path: (a.get(path), b.get(path)) for path in a | b if a.get(path) != b.get(path)}
