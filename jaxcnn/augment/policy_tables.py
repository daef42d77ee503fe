"""The tables that the policies draw from: the operations, their ranges, and AutoAugment's three policies.

Names and ranges are torchvision's (``transforms/v2/_auto_augment.py``) unless a comment says otherwise. There, a
magnitude is one of several bins, spread evenly over an operation's range; here, it is a share of that range, from 0 to
1.
"""

import dataclasses
import types
from collections.abc import Mapping
from typing import Literal

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "solarize_add",
    "autocontrast",
    "equalize",
    "invert",
)


@dataclasses.dataclass(frozen=True)
class Range:
    """The amounts of an operation."""

    start: float = 0.0
    """The amount at the share 0 of the magnitude."""
    stop: float = 0.0
    """The amount at the share 1; between the two it is linear."""
    signed: bool = False
    """Whether the amount is negated with a probability of a half."""
    of_side: bool = False
    """Whether start and stop are shares of the width (of the height for translations along y); else they are pixels."""
    rounded: Literal["no", "nearest", "down", "up"] = "no"
    """How the amount is rounded to a whole number, before the sign."""


Space = Mapping[str, Range]


def _space(**ranges: Range) -> Space:
    return types.MappingProxyType(ranges)


def _enhancements(stop: float) -> dict[str, Range]:
    """Returns the ranges of operations whose amounts are added to the factor 1."""
    return dict.fromkeys(("brightness", "color", "contrast", "sharpness"), Range(stop=stop, signed=True))


def _shears(slope: float) -> dict[str, Range]:
    """Returns the ranges of shears, whose amounts are slopes."""
    return dict.fromkeys(("shear_x", "shear_y"), Range(stop=slope, signed=True))


def _translations(stop: float, *, of_side: bool = True) -> dict[str, Range]:
    return dict.fromkeys(("translate_x", "translate_y"), Range(stop=stop, signed=True, of_side=of_side, rounded="down"))


# The amount of posterize is the number of bits that are kept, and that of solarize the threshold, rounded up, which is
# the same for whole levels. The amounts of operations without a magnitude are not used.
_SOLARIZE = Range(255, 0, rounded="up")
_EQUALIZERS = {"autocontrast": Range(), "equalize": Range()}

AUTO_AUGMENT = _space(
    **_shears(0.3),
    **_translations(150 / 331),
    rotate=Range(stop=30, signed=True),
    **_enhancements(0.9),
    posterize=Range(8, 4, rounded="nearest"),
    solarize=_SOLARIZE,
    **_EQUALIZERS,
    invert=Range(),
)
RAND_AUGMENT = _space(
    identity=Range(), **{operation: amounts for operation, amounts in AUTO_AUGMENT.items() if operation != "invert"}
)
# This is timm's "increasing" set (data/auto_augment.py), in which a larger magnitude always changes more.
RAND_AUGMENT_INCREASING = _space(
    **_EQUALIZERS,
    invert=Range(),
    rotate=Range(stop=30, signed=True),
    posterize=Range(4, 0, rounded="up"),
    solarize=Range(256, 0, rounded="up"),
    solarize_add=Range(stop=110, rounded="down"),
    **_enhancements(0.9),
    **_shears(0.3),
    **dict.fromkeys(("translate_x", "translate_y"), Range(stop=0.45, signed=True, of_side=True)),
)
TRIVIAL_AUGMENT_WIDE = _space(
    identity=Range(),
    **_shears(0.99),
    **_translations(32, of_side=False),
    rotate=Range(stop=135, signed=True),
    **_enhancements(0.99),
    posterize=Range(8, 2, rounded="nearest"),
    solarize=_SOLARIZE,
    **_EQUALIZERS,
)
AUG_MIX_PAPER = _space(
    **_shears(0.3),
    **_translations(1 / 3),
    rotate=Range(stop=30, signed=True),
    posterize=Range(4, 0, rounded="nearest"),
    solarize=_SOLARIZE,
    **_EQUALIZERS,
)
AUG_MIX_ALL = _space(**AUG_MIX_PAPER, **_enhancements(0.9))

# arXiv:1805.09501, appendix, as torchvision has it: 25 pairs of (operation, probability, magnitude of 0 to 9).
AUTO_AUGMENT_POLICIES: Mapping[str, tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...]] = (
    types.MappingProxyType(
        {
            "imagenet": (
                (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
                (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
                (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
                (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
                (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
                (("equalize", 0.4, 0), ("rotate", 0.8, 8)),
                (("solarize", 0.6, 3), ("equalize", 0.6, 0)),
                (("posterize", 0.8, 5), ("equalize", 1.0, 0)),
                (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
                (("equalize", 0.6, 0), ("posterize", 0.4, 6)),
                (("rotate", 0.8, 8), ("color", 0.4, 0)),
                (("rotate", 0.4, 9), ("equalize", 0.6, 0)),
                (("equalize", 0.0, 0), ("equalize", 0.8, 0)),
                (("invert", 0.6, 0), ("equalize", 1.0, 0)),
                (("color", 0.6, 4), ("contrast", 1.0, 8)),
                (("rotate", 0.8, 8), ("color", 1.0, 2)),
                (("color", 0.8, 8), ("solarize", 0.8, 7)),
                (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
                (("shear_x", 0.6, 5), ("equalize", 1.0, 0)),
                (("color", 0.4, 0), ("equalize", 0.6, 0)),
                (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
                (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
                (("invert", 0.6, 0), ("equalize", 1.0, 0)),
                (("color", 0.6, 4), ("contrast", 1.0, 8)),
                (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
            ),
            "cifar10": (
                (("invert", 0.1, 0), ("contrast", 0.2, 6)),
                (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
                (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
                (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
                (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
                (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
                (("color", 0.4, 3), ("brightness", 0.6, 7)),
                (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
                (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
                (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
                (("color", 0.7, 7), ("translate_x", 0.5, 8)),
                (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
                (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
                (("brightness", 0.9, 6), ("color", 0.2, 8)),
                (("solarize", 0.5, 2), ("invert", 0.0, 0)),
                (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
                (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
                (("color", 0.9, 9), ("equalize", 0.6, 0)),
                (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
                (("brightness", 0.1, 3), ("color", 0.7, 0)),
                (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
                (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
                (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
                (("equalize", 0.8, 0), ("invert", 0.1, 0)),
                (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
            ),
            "svhn": (
                (("shear_x", 0.9, 4), ("invert", 0.2, 0)),
                (("shear_y", 0.9, 8), ("invert", 0.7, 0)),
                (("equalize", 0.6, 0), ("solarize", 0.6, 6)),
                (("invert", 0.9, 0), ("equalize", 0.6, 0)),
                (("equalize", 0.6, 0), ("rotate", 0.9, 3)),
                (("shear_x", 0.9, 4), ("autocontrast", 0.8, 0)),
                (("shear_y", 0.9, 8), ("invert", 0.4, 0)),
                (("shear_y", 0.9, 5), ("solarize", 0.2, 6)),
                (("invert", 0.9, 0), ("autocontrast", 0.8, 0)),
                (("equalize", 0.6, 0), ("rotate", 0.9, 3)),
                (("shear_x", 0.9, 4), ("solarize", 0.3, 3)),
                (("shear_y", 0.8, 8), ("invert", 0.7, 0)),
                (("equalize", 0.9, 0), ("translate_y", 0.6, 6)),
                (("invert", 0.9, 0), ("equalize", 0.6, 0)),
                (("contrast", 0.3, 3), ("rotate", 0.8, 4)),
                (("invert", 0.8, 0), ("translate_y", 0.0, 2)),
                (("shear_y", 0.7, 6), ("solarize", 0.4, 8)),
                (("invert", 0.6, 0), ("rotate", 0.8, 4)),
                (("shear_y", 0.3, 7), ("translate_x", 0.9, 3)),
                (("shear_x", 0.1, 6), ("invert", 0.6, 0)),
                (("solarize", 0.7, 2), ("translate_y", 0.6, 7)),
                (("shear_y", 0.8, 4), ("invert", 0.8, 0)),
                (("shear_x", 0.7, 9), ("translate_y", 0.8, 3)),
                (("shear_y", 0.8, 5), ("autocontrast", 0.7, 0)),
                (("shear_x", 0.7, 2), ("invert", 0.1, 0)),
            ),
        }
    )
)
