"""JSON that every reader takes: Python's own writer puts ``NaN`` and ``Infinity`` into it, which JSON does not have."""

import json
import math

from jaxcnn.types import Json


def dumps(value: Json, indent: int | None = None) -> str:
    """Returns a value as JSON, in which numbers that are not finite are ``null``.

    Args:
        value: what `json.dumps` takes.
        indent: the number of spaces by which each level is indented; by default everything is on one line.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Json) -> Json:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
