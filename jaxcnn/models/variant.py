"""What is known of one network besides its code."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

Layer = Any
"""A module class with some of its arguments bound."""


@dataclasses.dataclass(frozen=True)
class Published:
    """Errors somebody else measured, in percent, and how. Never ours."""

    top1_error: float | None
    top5_error: float | None
    protocol: str
    source: str


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of a family's table: a name, a module and the arguments that make it this variant."""

    name: str
    family: str
    module: type[nn.Module]
    arguments: Mapping[str, Any]
    """What the variant fixes; everything else the module takes is an option of `create_model`."""
    input_size: int = 224
    channels: int = 3
    num_classes: int = 1000
    published: tuple[Published, ...] = ()
