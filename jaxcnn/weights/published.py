"""Weights others published: where they are, what network they are of, and what images they expect.

The table is ``published.json`` beside this file; its first entry says where its facts are from.
"""

import dataclasses
import functools
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcnn.errors import nearest
from jaxcnn.models.registry import create_model, get_variant, options_of
from jaxcnn.weights import cache
from jaxcnn.weights.errors import WeightsError

PUBLISHERS = ("torchvision", "timm", "lite0")

_FREE = frozenset(
    {
        "auxiliary_dropout_rate",
        "auxiliary_heads",
        "batch_norm_axis",
        "batch_norm_groups",
        "batch_norm_momentum",
        "drop_path_rate",
        "dropout_rate",
        "dtype",
        "fully_convolutional",
        "lowering",
        "num_classes",
        "remat",
        "zero_init_residual",
    }
)
"""Options that leave alone what a trained network computes of an image of its size, but for rounding and the number of
classes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """One file of weights."""

    source: str
    """As `load_pretrained` takes it: ``torchvision/IMAGENET1K_V2``."""
    model: str
    sha256: str
    """How the file's SHA-256 begins."""
    options: Mapping[str, Any]
    """What `create_model` must be given for the network these weights are of."""
    crop: int
    """Pixels a side of the centre that the network sees."""
    resize: int
    """Pixels of the short side before the crop."""
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Images are ``(pixel / 255 - mean) / std``."""
    top1_accuracy: float | None
    top5_accuracy: float | None
    """In percent, as published, and not ours."""
    images: int = 50_000
    """Of ILSVRC-2012's validation set, that these accuracies are of."""
    url: str | None = None
    package: str | None = None
    """The Python package the file comes with, where there is no address."""
    file: str | None = None
    """Its path in that package."""

    def path(self) -> Path:
        """Returns where the file is, fetching it if need be; see `jaxcnn.weights.cache`.

        Raises:
            WeightsError: it cannot be had, or is another file.
        """
        if self.url is not None:
            return cache.cached(self.url, self.sha256)
        found = importlib.util.find_spec(self.package)
        install = f"install {self.package.replace('_', '-')}, which is in the extra 'pretrained'"
        if found is None or found.origin is None:
            raise WeightsError(f"the weights {self.source!r} come with a Python package that is not there: {install}")
        path = Path(found.origin).parent / self.file
        cache.check(path, self.sha256, f"{install}, anew")
        return path

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuses options that would make another network of these weights.

        Args:
            options: as given to `create_model`.

        Raises:
            WeightsError: an option that changes what the trained network computes is not as it was in training.
        """
        for option in sorted(options_of(get_variant(self.model)).keys() - _FREE):
            default = _value(self.model, {}, option)
            wanted, given = self.options.get(option, default), _value(self.model, options, option)
            if given != wanted:
                raise WeightsError(
                    f"the weights {self.source!r} of {self.model} are of a network with {option}={wanted!r}, and yours "
                    f"has {given!r}: give {option}={wanted!r} to create_model and to load_pretrained"
                )


def _value(name: str, options: Mapping[str, Any], option: str) -> Any:
    """What an option comes to: as given, or as the variant has it where it is None."""
    value = getattr(create_model(name, **options), option)
    return getattr(get_variant(name).arguments.get("defaults"), option, None) if value is None else value


@functools.cache
def _table() -> dict[str, dict[str, tuple[PublishedWeights, ...]]]:
    """By publisher and network; the first of a network is its default."""
    stored = json.loads(Path(__file__).with_name("published.json").read_text())

    def entry(publisher: str, model: str, fields: dict[str, Any]) -> PublishedWeights:
        source = f"{publisher}/{fields.pop('name')}"
        channels = {"mean": tuple(fields.pop("mean")), "std": tuple(fields.pop("std"))}
        return PublishedWeights(source=source, model=model, **fields, **channels)

    return {
        publisher: {model: tuple(entry(publisher, model, each) for each in rows) for model, rows in models.items()}
        for publisher, models in stored.items()
        if publisher in PUBLISHERS
    }


def published_weights(model: str) -> list[PublishedWeights]:
    """Returns all published weights of a network, each publisher's default first."""
    return [entry for models in _table().values() for entry in models.get(model, ())]


def is_published(source: Any) -> bool:
    """Returns whether a source is the name of published weights, and not a file or a mapping.

    >>> is_published("torchvision"), is_published("timm/tf_in1k"), is_published("resnet50.pth")
    (True, True, False)
    """
    return isinstance(source, str) and source.partition("/")[0] in PUBLISHERS


def find_published(model: str, source: str) -> PublishedWeights:
    """Returns the weights that a name stands for.

    Args:
        model: one of ``jaxcnn.list_models()``.
        source: ``torchvision``, ``timm`` or ``lite0``, for the publisher's default, or with a name after a slash.

    Raises:
        WeightsError: there are none of that name.
        ModelError: there is no such network.
    """
    get_variant(model)
    publisher, _, name = source.partition("/")
    entries = _table()[publisher].get(model, ())
    for entry in entries:
        if not name or entry.source == source:
            return entry
    known = [entry.source for entry in published_weights(model)]
    if not known:
        raise WeightsError(f"there are no published weights of {model}: give a file")
    raise WeightsError(f"there are no weights {source!r} of {model}: {nearest(source, known)} (or a file, as ./PATH)")


@functools.cache
def _imagenet() -> list[list[str]]:
    """WordNet number and name of each class."""
    lines = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(" ", 1) for line in lines]


def imagenet_classes() -> tuple[str, ...]:
    """Returns the names of ILSVRC-2012's thousand classes, in the order of the published networks' logits.

    They are torchvision's (``_IMAGENET_CATEGORIES`` in ``models/_meta.py``).
    """
    return tuple(name for _, name in _imagenet())


def imagenet_wordnet_ids() -> tuple[str, ...]:
    """Returns the WordNet numbers of the same classes, ``n01440764`` first: the order is theirs.

    They are tensorflow-datasets' (``datasets/imagenet2012/labels.txt``).
    """
    return tuple(number for number, _ in _imagenet())
