"""What groups of options are made of: frozen dataclasses that are checked, strictly, when they are made."""

import dataclasses
import functools
import inspect
import typing
import weakref
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import pydantic.dataclasses
from pydantic import Field
from pydantic_core import ErrorDetails

from jaxcnn.errors import UserError, nearest
from jaxcnn.paths import absolute

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
GreyLevel = Annotated[int, Field(ge=0, le=255)]


def _in_order(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("must be the smaller bound, then the larger")
    return interval


Interval = Annotated[tuple[PositiveFloat, PositiveFloat], pydantic.AfterValidator(_in_order)]
ShareInterval = Annotated[tuple[Probability, Probability], pydantic.AfterValidator(_in_order)]
SignedInterval = Annotated[tuple[FiniteFloat, FiniteFloat], pydantic.AfterValidator(_in_order)]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


IS_PATH = object()
"""The mark of an option that is a path, which a run keeps as an absolute one: ``Annotated[str | None, IS_PATH]``."""


class ConfigError(UserError):
    """An error for an option that does not exist, or for a value that it cannot take."""


SENTENCE = "sentence"
"""The type of a pydantic error whose message follows the option's path as it is."""


def _inside(group: Any, part: str) -> Any:
    """Returns the type that one part of an error's path leads to: of a field, a union's kind, or a tuple's item."""
    if dataclasses.is_dataclass(group):
        return typing.get_type_hints(group).get(part, group)
    if hasattr(group, "kinds"):  # a `jaxcnn.config.registry.Role`
        return group.kinds().groups.get(part, group)
    members = typing.get_args(group)
    return next((member for member in members if getattr(member, "kind", None) == part), members[0])


def _sentence(cls: type, error: ErrorDetails) -> str:
    """Returns one pydantic error as a sentence that names the option by its full path."""
    path = [str(part) for part in error["loc"]]
    if error["type"] == "unexpected_keyword_argument":
        parent: Any = cls
        for part in path[:-1]:
            parent = _inside(parent, part)
        names = [field.name for field in dataclasses.fields(parent)] if dataclasses.is_dataclass(parent) else []
        return f"{'.'.join(path)} is not an option: {nearest(path[-1], names)}"
    if error["type"] == SENTENCE:
        return f"{'.'.join(path)} {error['msg']}"
    said = error["msg"].replace("Input should be ", "must be ").removeprefix("Value error, ")
    return f"{'.'.join(path) or cls.__name__} {said}, not {error.get('input')!r}"


def as_config_error(cls: type, error: pydantic.ValidationError) -> ConfigError:
    """Returns what pydantic found wrong with a ``cls``, each in a sentence that names the option by its full path."""
    return ConfigError("; ".join(_sentence(cls, item) for item in error.errors()))


_CHECKS = pydantic.ConfigDict(
    extra="forbid",
    strict=True,
    allow_inf_nan=False,  # JSON, in which a run keeps its options, has no such numbers
)
_T = TypeVar("_T")
_GROUPS: weakref.WeakSet[type] = weakref.WeakSet()
_SHARING: weakref.WeakSet[type] = weakref.WeakSet()


@typing.dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def shared_options(cls: type[_T]) -> type[_T]:
    """Marks a class whose options all option groups derived from it have.

    It does not become a dataclass itself, so that a group can declare some of them again, with another default and
    among its own; the others follow its own.
    """
    _SHARING.add(cls)
    return cls


@typing.dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def option_group(cls: type[_T]) -> type[_T]:
    """Makes a class a frozen dataclass whose fields are checked, strictly, when it is made; raises `ConfigError`."""
    _take_over_shared_options(cls)
    checked = pydantic.dataclasses.dataclass(frozen=True, config=_CHECKS)(cls)
    construct = checked.__init__

    @functools.wraps(construct)
    def __init__(self, *args, **kwargs):
        try:
            construct(self, *args, **kwargs)
        except pydantic.ValidationError as error:
            raise as_config_error(cls, error) from None

    checked.__init__ = __init__
    _GROUPS.add(checked)
    return typing.cast("type[_T]", checked)


def with_absolute_paths(group: _T) -> _T:
    """Returns an option group in which the paths, in itself and in the groups within it, are absolute.

    Raises:
        UserError: a path begins in the home folder of an unknown user.
    """

    def walk(value: Any, is_path: bool) -> Any:
        if isinstance(value, str):
            return str(absolute(value)) if is_path else value
        if isinstance(value, tuple):
            return tuple(walk(item, is_path) for item in value)
        return with_absolute_paths(value) if is_option_group(type(value)) else value

    found = {}
    for name, field in typing.cast("Any", group).__pydantic_fields__.items():
        before = getattr(group, name)
        after = walk(before, any(mark is IS_PATH for mark in field.metadata))
        if after != before:
            found[name] = after
    return dataclasses.replace(typing.cast("Any", group), **found) if found else group


def is_option_group(cls: type) -> bool:
    """Returns whether a class was itself, and not only a base of it, made by `option_group`."""
    return cls in _GROUPS


def _take_over_shared_options(cls: type) -> None:
    annotations, inherited = inspect.get_annotations(cls), getattr(cls, "__dataclass_fields__", {})
    for base in cls.__mro__[1:]:
        shared = inspect.get_annotations(base) if base in _SHARING else {}
        for name, annotation in shared.items():
            # Each group itself declares what has no default there, such as a role's ``kind``.
            if name not in annotations and name not in inherited and hasattr(base, name):
                annotations[name] = annotation
    cls.__annotations__ = annotations
