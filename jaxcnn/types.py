"""Shared names for types that recur and cannot be narrower. All modules may import them."""

from collections.abc import Mapping
from typing import Any, TypeAlias

PyTree: TypeAlias = Any
"""A tree of arrays, as in JAX, whose structure depends on a network, an optimizer or a caller's function."""

Variables: TypeAlias = Mapping[str, PyTree]
"""A network's variables as Flax has them: ``{"params": ..., "batch_stats": ...}``."""

Option: TypeAlias = Any
"""The value of an option of a network or a layer, whose type is that of the field of the same name."""

TypeHint: TypeAlias = Any
"""A type as it stands in an annotation: a class, a literal, a union, and so on."""

Json: TypeAlias = Any
"""A value that was read from JSON, or is to be written as JSON, and is not checked yet."""

JsonObject: TypeAlias = dict[str, Json]
"""An object of JSON."""
