"""How the kinds of a role are registered: ours, and those that a recipe adds, by the same call.

A *role* is something that a recipe or a command chooses: its `Augmentation`, its `Optimizer`, the `Views` of an
evaluation. A *kind* of it is a class of options, derived from the role's class, whose field ``kind`` names it in JSON::

    @option_group
    class Posterized(Augmentation):
        bits: PositiveInt = 4
        kind: Literal["posterized"] = "posterized"

The config does not know what a kind does. A role's `Kinds` keeps that beside the class of options, in the module that
uses it. The calls are `jaxcnn.augment.register_augmentation`, `jaxcnn.training.optimizer.register_optimizer` and
`jaxcnn.data.views.register_protocol`.
"""

import contextlib
import dataclasses
import json
import pkgutil
import re
import types
import typing
from collections.abc import Generator, Mapping
from typing import Any, Generic, Literal, TypeVar

import pydantic
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from jaxcnn.config.options import SENTENCE, is_option_group, shared_options
from jaxcnn.errors import UserError, nearest


@shared_options
class Role:
    """The base of a role's class. A field annotated with that class takes instances of registered classes alone."""

    # The name of the kind, which stands for the class in JSON.
    kind: str

    registry = ""
    """The role's `Kinds`, as ``module:name``. That module registers ours and is imported when one is first asked for,
    so that options can be made without importing what carries them out."""
    stays = ()
    """The names of the options that stay where the command line chooses another kind, whose other options are its own.
    """

    @classmethod
    def kinds(cls) -> "Kinds[Any, Any]":
        """Returns the kinds of this role, ours and others."""
        return pkgutil.resolve_name(cls.registry)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Lets pydantic check a kind's own fields, and a field of the role by what is registered by then."""
        if dataclasses.is_dataclass(source):
            return handler(source)
        return core_schema.with_info_plain_validator_function(cls._registered)

    @classmethod
    def _registered(cls, value: Any, info: pydantic.ValidationInfo) -> "Role":
        kinds = cls.kinds()
        if isinstance(value, cls):
            if type(value) not in kinds.groups.values():
                raise _refusal(f"is of the {kinds.unregistered(type(value))}")
            return value
        if not isinstance(value, dict):
            raise _refusal(f"must be a registered {kinds.name}, not {value!r}")
        kind = value.get("kind")
        group = kinds.groups.get(kind) if isinstance(kind, str) else None
        if group is None:
            kind_said = f"the kind {kind!r}, which neither jaxcnn nor a recipe registers" if kind else "no kind"
            raise _refusal(f"has {kind_said}: {nearest(str(kind), kinds.groups)}")
        # It is a union of one, so that the path of an error names the kind.
        choice = pydantic.TypeAdapter(group).core_schema
        validator = SchemaValidator(core_schema.tagged_union_schema({kind: choice}, "kind"))
        # JSON has arrays where Python has tuples, so what came as JSON must be checked as JSON.
        return validator.validate_json(json.dumps(value)) if info.mode == "json" else validator.validate_python(value)


def _refusal(sentence: str) -> PydanticCustomError:
    return PydanticCustomError(SENTENCE, "{sentence}", {"sentence": sentence})


RoleT = TypeVar("RoleT", bound=Role)
Implementation = TypeVar("Implementation")


class Kinds(Generic[RoleT, Implementation]):
    """The kinds of one role: for each a class of options, and what carries it out.

    Args:
        role: the class that the classes of options derive from.
        name: the name of the role in messages; kinds are registered by ``register_{name}``.
    """

    def __init__(self, role: type[RoleT], name: str) -> None:
        self.name = name
        self._role = role
        self._implementations: dict[type[RoleT], Implementation] = {}

    @property
    def groups(self) -> Mapping[str, type[RoleT]]:
        """Each registered class of options by its kind, in the order in which they were registered."""
        return types.MappingProxyType({group.kind: group for group in self._implementations})

    def register(self, group: type[RoleT], implementation: Implementation) -> None:
        """Adds a kind.

        Args:
            group: the class of its options: an `option_group` derived from the role's class, whose field ``kind`` is a
                literal.
            implementation: what carries it out.

        Raises:
            UserError: the class is not such a group, or its kind is taken.
        """
        self.check(group)
        self._implementations[group] = implementation

    def check(self, group: type[RoleT]) -> None:
        """Refuses a class that cannot be registered.

        Raises:
            UserError: as `register` does.
        """
        if not (isinstance(group, type) and issubclass(group, self._role) and is_option_group(group)):
            raise self.refusal(group, f"derive it from {self._role.__name__} and decorate it with @option_group")
        if not _names_its_kind(group):
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", group.__name__).lower()
            raise self.refusal(group, f'give it a field kind: Literal["{name}"] = "{name}"')
        taken = self.groups.get(group.kind)
        if taken is not None:
            of, by = (f"{each.__module__}.{each.__qualname__}" for each in (group, taken))
            once = "register a class once, and run a recipe's file once in a process"
            way_out = once if of == by else "give it another"
            raise UserError(f"{self.name} kind {group.kind!r} of {of} is taken by {by}: {way_out}")

    def refusal(self, group: type, way_out: str) -> UserError:
        """Returns the error that says that a class cannot be registered, and what to do with it."""
        article = "an" if self.name[0] in "aeiou" else "a"
        name = getattr(group, "__name__", repr(group))
        return UserError(f"{name} cannot be registered as {article} {self.name}: {way_out}")

    def implementation(self, options: RoleT) -> Implementation:
        """Returns what carries out these options.

        Raises:
            UserError: their class is not registered.
        """
        try:
            return self._implementations[type(options)]
        except KeyError:
            raise UserError(f"{self.name} {self.unregistered(type(options))}") from None

    def unregistered(self, group: type) -> str:
        """Returns what is wrong with a class that is not registered, and the way out."""
        name = group.__name__
        return f"class {name}, which is not registered: call register_{self.name}({name}, ...) first"

    @contextlib.contextmanager
    def temporarily(self) -> Generator[None]:
        """Forgets at the end of a ``with`` block what was registered in it, for tests and notebooks."""
        before = dict(self._implementations)
        try:
            yield
        finally:
            self._implementations = before


def _names_its_kind(group: type) -> bool:
    """Whether the field ``kind`` can have its default alone."""
    field = dict(getattr(group, "__pydantic_fields__", {})).get("kind")
    if field is None:
        return False
    return typing.get_origin(field.annotation) is Literal and typing.get_args(field.annotation) == (field.default,)
