"""Networks by name."""

import dataclasses
import fnmatch
import typing
from typing import Any

import flax.linen as nn
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
from jaxcnn.models.variant import Variant


class ModelError(UserError):
    """An unknown network, or an option it does not have."""


_VARIANTS: dict[str, Variant] = {}


def register(variant: Variant) -> None:
    """Adds a network to those that `create_model` knows.

    Raises:
        ModelError: the name is taken.
    """
    if variant.name in _VARIANTS:
        raise ModelError(f"there is a model named {variant.name!r} already: register it under another name")
    _VARIANTS[variant.name] = variant


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
    for _variant in _family.VARIANTS:
        register(_variant)


def list_models(pattern: str = "*") -> list[str]:
    """Returns the names that match a shell pattern, sorted.

    >>> list_models("lenet*")
    ['lenet', 'lenet5']
    """
    return sorted(fnmatch.filter(_VARIANTS, pattern))


def get_variant(name: str) -> Variant:
    """Returns what is known of a network.

    Raises:
        ModelError: there is none of that name.
    """
    if name not in _VARIANTS:
        raise ModelError(f"there is no model {name!r}: {nearest(name, _VARIANTS)}")
    return _VARIANTS[name]


def options_of(variant: Variant) -> dict[str, Any]:
    """Returns the options `create_model` takes for a variant, and their types."""
    hints = typing.get_type_hints(variant.module)
    fixed = {"parent", "name", *variant.arguments}
    return {field.name: hints[field.name] for field in dataclasses.fields(variant.module) if field.name not in fixed}


def create_model(name: str, **options: Any) -> nn.Module:
    """Makes a network.

    >>> create_model("resnet18", num_classes=10).num_classes
    10

    Args:
        name: one of `list_models`.
        **options: ``num_classes``, ``dtype`` and what else the family's module has as fields.

    Returns:
        An unbound ``flax.linen.Module``: ``init(key, images, train=False)`` makes its variables, ``apply(variables,
        images, train=...)`` returns float32 logits (batch, num_classes) for images (batch, height, width, channels).

    Raises:
        ModelError: the name or an option is unknown, or an option has the wrong type.
    """
    variant = get_variant(name)
    known = options_of(variant)
    for option, value in options.items():
        if option not in known:
            raise ModelError(f"{name} has no option {option!r}: {nearest(option, known)}")
        try:
            if option == "dtype":
                jnp.dtype(value)
            else:
                pydantic.TypeAdapter(known[option]).validate_python(value, strict=True)
        except (pydantic.ValidationError, TypeError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error
            raise ModelError(f"option {option!r} of {name} cannot be {value!r}: {said}") from None
    return variant.module(**variant.arguments, **{"num_classes": variant.num_classes, **options})
