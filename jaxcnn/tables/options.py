"""The options of a family's networks as a table: what each takes, what it is by default, and what it does."""

import ast
import functools
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Sequence

import annotated_types
from jax.typing import DTypeLike
from pydantic.fields import FieldInfo

from jaxcnn.models.network import BatchNormNetwork, Network
from jaxcnn.models.registry import create_model, options_of
from jaxcnn.models.scanned import Repeating
from jaxcnn.models.variant import Variant
from jaxcnn.tables.stored import markdown
from jaxcnn.types import Option, TypeHint

_SHARED = (Network, BatchNormNetwork, Repeating)
"""The classes whose options many families have."""
HEAD = ["option", "values", "by default", "what it is"]
"""The head of a table of options."""


def options_table(variants: Sequence[Variant]) -> str:
    """Returns the options that a family has beside those that many have, in Markdown; empty where there are none.

    Args:
        variants: the networks of the family. An option that some of them do not have is followed by those that do.
    """
    shared = {name for module in _SHARED for name in _own_options(module)}
    of: dict[str, list[Variant]] = {}
    for variant in variants:
        for name in options_of(variant):
            if name not in shared:
                of.setdefault(name, []).append(variant)
    rows = [HEAD]
    for name, having in of.items():
        verb = "has" if len(having) == 1 else "have"
        only = "" if len(having) == len(variants) else f"Only {_names(having, variants)} {verb} it."
        default = _defaults(name, having, variants)
        rows.append(_row(name, having[0].module, options_of(having[0])[name], default, only))
    return markdown(rows) if len(rows) > 1 else ""


def shared_options_table() -> str:
    """Returns the options that networks of several families have, in Markdown."""
    rows = [HEAD]
    for module in _SHARED:
        hints = typing.get_type_hints(module, include_extras=True)
        only = {
            Network: "",
            BatchNormNetwork: "Only networks with batch normalization have it.",
            Repeating: "Only families whose stages repeat equal blocks have it.",
        }[module]
        rows += [_row(name, module, hints[name], _shown(getattr(module, name)), only) for name in _own_options(module)]
    return markdown(rows)


def documentation(module: type) -> dict[str, str]:
    """Returns the docstrings of a class's attributes, those that it inherits among them, as Markdown of one line."""
    found: dict[str, str] = {}
    for each in reversed(module.__mro__):
        if each.__module__.startswith("jaxcnn."):
            found |= _documentation(each.__module__).get(each.__name__, {})
    return found


@functools.cache
def _documentation(module: str) -> dict[str, dict[str, str]]:
    """Returns the docstrings of the attributes of all classes of a module, as `documentation` does, by the class."""
    found: dict[str, dict[str, str]] = {}
    for definition in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(definition, ast.ClassDef):
            of = found.setdefault(definition.name, {})
            for statement, after in itertools.pairwise(definition.body):
                match statement, after:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        of[name] = " ".join(text.split()).replace("``", "`")
    return found


def _own_options(module: type[Network]) -> list[str]:
    """Returns the options that a class adds to those of the classes that it is derived from."""
    return [name for name in inspect.get_annotations(module) if name not in ("parent", "name")]


def _row(name: str, module: type, hint: TypeHint, default: str, only: str) -> list[str]:
    text = f"{documentation(module).get(name, '')} {only}".strip()
    values = _values(hint)
    shown = " or ".join(values) if len(values) < 3 else ", ".join(values)
    return [f"`{name}`", shown, default, text.replace("|", "\\|")]


def _values(hint: TypeHint) -> list[str]:
    """Returns the values that an option takes, each as Markdown; None, which stands for a default, is left out."""
    if hint == DTypeLike:
        return ["a type of floating-point numbers"]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        kind = _values(arguments[0])[0]
        return [f"{kind} {limits}" if (limits := _range(arguments[1:])) else kind]
    if origin is typing.Literal:
        return [f"`{value}`" for value in arguments]
    if origin in (typing.Union, types.UnionType):
        return [value for each in arguments if each is not types.NoneType for value in _values(each)]
    if origin is tuple:
        return [f"several: {_values(arguments[0])[0]}"]
    return {bool: ["`True`", "`False`"], int: ["a whole number"], float: ["a number"], str: ["a name"]}.get(
        hint, [f"`{hint.__name__}`"]
    )


def _range(metadata: Sequence[object]) -> str:
    """Returns the range of a number, as `pydantic` was told it."""
    found = []
    for field in metadata:
        for limit in field.metadata if isinstance(field, FieldInfo) else ():
            match limit:
                case annotated_types.Ge(ge=bound):
                    found.append(f"from {bound}")
                case annotated_types.Gt(gt=bound):
                    found.append(f"above {bound}")
                case annotated_types.Lt(lt=bound):
                    found.append(f"below {bound}")
    return ", ".join(found)


def _defaults(name: str, having: Sequence[Variant], variants: Sequence[Variant]) -> str:
    """Returns the default of an option, or the defaults where the variants that have it have several."""
    of: dict[str, list[Variant]] = {}
    for variant in having:
        of.setdefault(_shown(_default(name, variant)), []).append(variant)
    if len(of) == 1:
        return next(iter(of))
    return "; ".join(f"{value} ({_names(some, variants)})" for value, some in of.items())


def _default(name: str, variant: Variant) -> Option:
    model = create_model(variant.name)
    if (value := getattr(model, name)) is not None:
        return value
    if (own := getattr(model, f"default_{name}", None)) is not None:
        return own
    return getattr(getattr(model, "defaults", None), name, None)


def _shown(value: Option) -> str:
    if value is None:
        return ""
    if isinstance(value, type):
        return f"`{value.__name__}`"
    return f"`{value!r}`" if not isinstance(value, str) else f"`{value}`"


def _names(some: Sequence[Variant], variants: Sequence[Variant]) -> str:
    """Returns the names of some variants of a family; of more than two that follow one another, the first and the last.

    >>> from jaxcnn.models.registry import families
    >>> vgg = families()["vgg"]
    >>> _names([*vgg[:3], vgg[4]], vgg)
    '`vgg11` to `vgg11_lrn`, `vgg13_bn`'
    """
    places = {variant.name: place for place, variant in enumerate(variants)}
    runs: list[list[Variant]] = []
    for variant in some:
        if runs and places[runs[-1][-1].name] + 1 == places[variant.name]:
            runs[-1].append(variant)
        else:
            runs.append([variant])
    found = []
    for run in runs:
        names = [f"`{variant.name}`" for variant in run]
        found += [f"{names[0]} to {names[-1]}"] if len(run) > 2 else names
    return ", ".join(found)
