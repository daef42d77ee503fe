"""What travels with an exported network: its classes, what it expects of an image, its errors, and where it is from."""

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

from jaxcnn import strict_json
from jaxcnn.config import ConfigError, Crop, Normalization, option_group
from jaxcnn.config.stored import group_from_json, to_json
from jaxcnn.errors import UserError
from jaxcnn.provenance import versions
from jaxcnn.text import escaped
from jaxcnn.trained import Measured, Trained
from jaxcnn.types import Json, JsonObject, Option

PACKAGES = ("jaxcnn", "jax", "jaxlib", "flax", "numpy")


@option_group
class Expects:
    """What a network expects of an image before its own first step, and how its pixels are normalized."""

    crop: Crop
    channels: Literal[1, 3]
    """The number of channels, 1 for grey or 3 for RGB."""
    normalization: Normalization


class About(NamedTuple):
    """What `read` finds in a file."""

    class_names: tuple[str, ...] | None
    num_classes: int
    expects: Expects
    pixels: bool
    """Whether the program takes uint8 pixels and gives probabilities; else it takes normalized images and gives
    logits."""
    model: str | None
    """The name of the network."""
    options: Mapping[str, Option]
    """The options of the network: see `Origin`."""
    errors: tuple[Measured, ...]
    """The errors that are known of it."""


def about(network: Trained, pixels: bool = False) -> JsonObject:
    """Returns the facts about a network, as JSON has them.

    Args:
        network: the network.
        pixels: whether the file is a program that normalizes the pixels itself, and gives probabilities.
    """
    expects = Expects(network.data.evaluation_crop, _channels(network), network.normalization)
    origin = network.origin
    return {
        "made_by": f"jaxcnn {importlib.metadata.version('jaxcnn')}",
        "model": origin and origin.model,
        "options": _plain(origin.options) if origin else {},
        "source": origin and origin.source,
        "errors": [each._asdict() for each in origin.measured] if origin else [],
        "num_classes": network.num_classes,
        "class_names": network.class_names and list(network.class_names),
        "expects": json.loads(to_json(expects)),
        "takes": "uint8 pixels of the crop" if pixels else "float32 pixels of the crop, normalized",
        "gives": "probabilities" if pixels else "logits",
        "layout": "(batch, height, width, channels)",
        "versions": versions(PACKAGES),
    }


def text(facts: JsonObject) -> str:
    """Returns the facts as a text of JSON."""
    return strict_json.dumps(facts, indent=1)


def read(stored: str, file: str) -> About:
    """Reads what `about` returned.

    Args:
        stored: the text of JSON.
        file: the name of the file, for the message.

    Raises:
        UserError: it is something else.
    """
    try:
        facts: Json = json.loads(stored)
        expects = group_from_json(Expects, strict_json.dumps(facts["expects"]))
        names, num_classes = facts["class_names"], facts["num_classes"]
        listed = isinstance(names, list) and all(isinstance(name, str) and name.isprintable() for name in names)
        if type(num_classes) is not int or (names is not None and not (listed and len(names) == num_classes)):
            raise ValueError("its classes are not listed")
        return About(
            class_names=None if names is None else tuple(names),
            num_classes=num_classes,
            expects=expects,
            pixels=facts["gives"] == "probabilities",
            model=facts["model"],
            options=dict(facts["options"]),
            errors=tuple(Measured(dict(each["errors"]), each["protocol"], each["source"]) for each in facts["errors"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
        raise UserError(
            f"{escaped(file)} does not say of its network what `jaxcnn export` says ({escaped(str(error))[:200]}): "
            "export it again"
        ) from None


def _channels(network: Trained) -> Literal[1, 3]:
    return 1 if network.data.channels == 1 else 3


def _plain(options: Mapping[str, Option]) -> JsonObject:
    plain = bool | int | float | str | None
    return {name: value if isinstance(value, plain) else repr(value) for name, value in options.items()}
