"""Networks by name."""

import dataclasses
import fnmatch
import inspect
import math
import typing

import jax.numpy as jnp
import pydantic

from jaxcnn.errors import UserError, nearest
from jaxcnn.models import (
    alexnet,
    bn_inception,
    convnext,
    densenet,
    efficientnet,
    googlenet,
    inception,
    lenet,
    nasnet,
    regnet,
    resnet,
    vgg,
)
from jaxcnn.models.network import Network
from jaxcnn.models.variant import Variant
from jaxcnn.types import Option, TypeHint


class ModelError(UserError):
    """An error for a network that is unknown or cannot be registered, or for an option that it does not have."""


_VARIANTS: dict[str, Variant] = {}


def register(*variants: Variant) -> None:
    """Adds a family, or some of its variants, to the networks that `create_model` knows.

    This one call brings all that there is to a family: its modules, its weight rules and its published errors. The
    families of this package are registered by it too. Either all the variants are added or, after an error, none.

    Raises:
        ModelError: a name is taken; or a variant's module is no `Network`, or does not have a field that the variant
            fixes, or has another field without a default.
    """
    added: dict[str, Variant] = {}
    for variant in variants:
        if variant.name in _VARIANTS or variant.name in added:
            raise ModelError(f"there is a model named {variant.name!r} already: register it under another name")
        _check(variant)
        added[variant.name] = variant
    _VARIANTS.update(added)


def _check(variant: Variant) -> None:
    """Refuses a variant of which `create_model` or `load_pretrained` could make nothing."""
    name, module = variant.name, variant.module
    if not (inspect.isclass(module) and issubclass(module, Network)):
        raise ModelError(
            f"the module of model {name!r} is {module!r}, which is no network: derive a class from "
            "jaxcnn.models.network.Network"
        )
    fields = _fields(variant)
    for argument in variant.arguments:
        if argument not in fields:
            raise ModelError(
                f"model {name!r} fixes {argument!r}, which {module.__name__} does not have: {nearest(argument, fields)}"
            )
    for field in fields.values():
        fixed = field.name in variant.arguments
        if not fixed and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ModelError(
                f"model {name!r} does not fix {field.name!r}, for which {module.__name__} has no default: put it into "
                "the arguments of the variant"
            )


def _fields(variant: Variant) -> dict[str, dataclasses.Field]:
    """Returns the fields of a variant's module, by name, without the two that Flax adds to every module."""
    assert dataclasses.is_dataclass(variant.module)  # Flax makes every module one
    fields = dataclasses.fields(variant.module)
    return {field.name: field for field in fields if field.name not in ("parent", "name")}


for _family in (
    lenet,
    alexnet,
    vgg,
    googlenet,
    bn_inception,
    inception,
    resnet,
    densenet,
    nasnet,
    efficientnet,
    regnet,
    convnext,
):
    register(*_family.VARIANTS)


_OWN_TYPES = pydantic.ConfigDict(arbitrary_types_allowed=True)
"""Lets options have types of which pydantic knows nothing, such as JAX's symbolic sizes in a lowering."""


def list_models(pattern: str = "*") -> list[str]:
    """Returns the names that match a shell pattern, sorted.

    Examples:
        >>> list_models("lenet*")
        ['lenet', 'lenet5']
    """
    return sorted(fnmatch.filter(_VARIANTS, pattern))


def families() -> dict[str, list[Variant]]:
    """Returns the networks of each family, in the order in which they were registered."""
    found: dict[str, list[Variant]] = {}
    for variant in _VARIANTS.values():
        found.setdefault(variant.family, []).append(variant)
    return found


def get_variant(name: str) -> Variant:
    """Returns what is known of a network.

    Raises:
        ModelError: there is none of that name.
    """
    if name not in _VARIANTS:
        raise ModelError(f"there is no model {name!r}: {nearest(name, _VARIANTS)}")
    return _VARIANTS[name]


def options_of(variant: Variant) -> dict[str, TypeHint]:
    """Returns the options that `create_model` takes for a variant, and their types, with the ranges of numbers."""
    hints = typing.get_type_hints(variant.module, include_extras=True)
    return {name: hints[name] for name in _fields(variant) if name not in variant.arguments}


def create_model(name: str, **options: Option) -> Network:
    """Makes a network.

    Examples:
        >>> create_model("resnet18", num_classes=10).num_classes
        10

    Args:
        name: one of `list_models`.
        **options: ``num_classes``, ``dtype``, and the other fields that the family's module has and the variant leaves
            open.

    Returns:
        An unbound ``flax.linen.Module``: ``init(key, images, train=False)`` makes its variables, ``apply(variables,
        images, train=...)`` returns float32 logits (batch, num_classes) for images (batch, height, width, channels).

    Raises:
        ModelError: the name or an option is unknown, or an option has the wrong type or is out of its range.
    """
    variant = get_variant(name)
    known = options_of(variant)
    for option, value in options.items():
        if option not in known:
            raise ModelError(f"{name} has no option {option!r}: {nearest(option, known)}")
        try:
            if option == "dtype":
                _check_floating(value)
            elif isinstance(value, float) and not math.isfinite(value):
                raise TypeError("it must be a finite number")
            else:
                pydantic.TypeAdapter(known[option], config=_OWN_TYPES).validate_python(value, strict=True)
        except (pydantic.ValidationError, TypeError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else str(error)
            reason = reason.replace("Input should be", "it must be")
            raise ModelError(f"option {option!r} of {name} cannot be {value!r}: {reason}") from None
    return variant.module(**variant.arguments, **{"num_classes": variant.num_classes, **options})


def _check_floating(dtype: Option) -> None:
    """Raises TypeError for a data type that a network cannot be computed in."""
    if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
        raise TypeError("it must be a type of floating-point numbers, such as 'bfloat16'")
