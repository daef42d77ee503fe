"""How the command line chooses among kinds, and how tyro, which parses it, reads paths and a recipe's own kinds."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from jaxcnn.config.options import ConfigError, is_option_group
from jaxcnn.config.registry import Role
from jaxcnn.errors import nearest
from jaxcnn.paths import expanded

Group = TypeVar("Group")

PATHS = ConstructorRegistry()
"""The context in which every command parses its arguments: a path in them is `jaxcnn.paths.expanded`."""


@PATHS.primitive_rule
def _path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: expanded(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


ROLES = ConstructorRegistry()
"""What `tyro.cli` takes as ``registry``, so that ``--help`` describes each augmentation of a recipe."""


@ROLES.struct_rule
def _kinds_in_a_tuple(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Reads a ``tuple[Augmentation, ...]`` by the classes of its defaults, whose descriptions tyro would leave out."""
    arguments = typing.get_args(info.type)
    if typing.get_origin(info.type) is not tuple or len(arguments) != 2 or arguments[1] is not ...:
        return None
    if not (isinstance(arguments[0], type) and issubclass(arguments[0], Role)):
        return None
    fields = [StructFieldSpec(str(index), type(item), item) for index, item in enumerate(info.default)]
    return StructConstructorSpec(instantiate=tuple, fields=tuple(fields))


def with_chosen_kinds(config: Group, arguments: Sequence[str]) -> Group:
    """Returns a config in which what the command line names by ``--PATH.kind KIND`` is of that kind.

    Such are ``--optimizer.kind adamw`` and ``--data.train-crop.kind center_crop``. The new kind has its own options,
    with its own defaults, which further arguments change. Of an optimizer the schedule stays, of a crop every option
    that both kinds have.

    Args:
        config: the options of a recipe, or of another command.
        arguments: the command line; everything else in it is left to the parser.

    Raises:
        ConfigError: there is no such kind.
    """
    chosen = {}
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        name, equals, value = argument.partition("=")
        if name.startswith("--") and name.endswith(".kind"):
            chosen[name.removeprefix("--").removesuffix(".kind").replace("-", "_")] = value if equals else following
    return _of_kinds(config, chosen, "")


def _of_kinds(group: Any, chosen: Mapping[str, str], path: str) -> Any:
    """Returns a group of options, with the groups in it replaced that are to be of another kind."""
    hints, changes = typing.get_type_hints(type(group), include_extras=True), {}
    for field in dataclasses.fields(group):
        value, inner = getattr(group, field.name), f"{path}{field.name}"
        if not is_option_group(type(value)):
            continue
        kinds = _kinds(hints[field.name])
        if kinds and (kind := chosen.get(inner, value.kind)) != value.kind:
            if kind not in kinds:
                raise ConfigError(f"{inner}.kind {kind!r} does not exist: {nearest(kind, kinds)}")
            value = _of_kind(kinds[kind], value)
        changes[field.name] = _of_kinds(value, chosen, f"{inner}.")
    return dataclasses.replace(group, **changes)


def _kinds(annotation: Any) -> Mapping[str, type]:
    """Returns the classes that a field may hold, by their kinds; none where it may hold one class alone."""
    if isinstance(annotation, type) and issubclass(annotation, Role):
        return annotation.kinds().groups
    members = [part for part in typing.get_args(annotation) if typing.get_args(part)]  # of Annotated[A | B, ...]
    return {kind.kind: kind for union in members for kind in typing.get_args(union) if hasattr(kind, "kind")}


def _of_kind(kind: Any, before: Any) -> Any:
    names = {field.name for field in dataclasses.fields(kind)} & {field.name for field in dataclasses.fields(before)}
    if isinstance(before, Role):
        names &= set(before.stays)
    return kind(**{name: getattr(before, name) for name in names - {"kind"}})
