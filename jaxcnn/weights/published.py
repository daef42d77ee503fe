"""Weights that others published: where they are, which network they are of, and which images they expect.

The table is ``published.json`` beside this file; its first entry says where its facts are from. The accuracies that are
published of these weights are there and nowhere else.
"""

import dataclasses
import functools
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeGuard

from jaxcnn.errors import nearest
from jaxcnn.models.network import Network
from jaxcnn.models.registry import create_model, get_variant, options_of
from jaxcnn.models.variant import Published
from jaxcnn.types import JsonObject, Option
from jaxcnn.weights import cache
from jaxcnn.weights.errors import WeightsError

PUBLISHERS = ("torchvision", "timm", "lite0", "lite1", "lite2")
"""The publishers whose weights are known by name; the last three are Python packages of one network each."""

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
"""The options that do not change what a trained network computes for an image of its size, apart from rounding and the
number of classes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """One file of weights."""

    source: str
    """The name that `load_pretrained` takes: ``torchvision/IMAGENET1K_V2``."""
    model: str
    sha256: str | None
    """The beginning of the file's SHA-256, in hexadecimal; None where its publisher does not say it beforehand: see
    `jaxcnn.weights.cache`."""
    options: Mapping[str, Option]
    """The options with which `create_model` makes the network that these weights are of."""
    crop: int
    """The height and width of the centre that the network sees, in pixels."""
    resize: int | None
    """The image's shorter side before the crop, in pixels; None where the whole image is scaled to the crop's height
    and width, whatever its shape."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """The numbers that normalize each channel: ``(pixel / 255 - mean) / std``."""
    top1_accuracy: float | None
    top5_accuracy: float | None
    """The accuracies in percent, as published. They are not ours."""
    release: str
    """What published the accuracies: ``torchvision 0.28``."""
    label: str
    """The name of the weights in tables, beside their release."""
    images: int = 50_000
    """The number of ILSVRC-2012's validation images that the accuracies are of."""
    architecture: str | None = None
    """The publisher's own name of the network; None for publishers whose names are ours. With a dot and the name of
    the weights it is what timm calls them, ``tf_efficientnet_b0.ns_jft_in1k``: see `names`."""
    url: str | None = None
    package: str | None = None
    """The Python package that the file comes with, where it has no address."""
    file: str | None = None
    """The path of the file in that package."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that stand for these weights: `source`, and for timm's the one that timm gives them too."""
        if self.architecture is None:
            return (self.source,)
        publisher, _, name = self.source.partition("/")
        if self.architecture.startswith("tf_"):
            name = name.removeprefix("tf_")
        return self.source, f"{publisher}/{self.architecture}.{name}"

    @property
    def protocol(self) -> str:
        """The part of an image that the network sees: ``centre crop 224 of 256``."""
        if self.resize is None:
            return f"the whole image as {self.crop}x{self.crop}"
        return f"centre crop {self.crop} of {self.resize}"

    def path(self) -> Path:
        """Returns where the file is, and fetches it if it is not yet there; see `jaxcnn.weights.cache`.

        Raises:
            WeightsError: it cannot be fetched, or is another file.
        """
        if self.url is not None:
            # Files of one name, as the Hub's are, go by the names of the weights.
            name = self.url.rpartition("/")[2] if self.sha256 else f"{self.names[-1].replace('/', '-')}.safetensors"
            return cache.cached(self.url, self.sha256, name)
        if self.package is None or self.file is None or self.sha256 is None:
            raise WeightsError(f"the weights {self.source!r} have no address and no package: give a file")
        found = importlib.util.find_spec(self.package)
        install = f"install {self.package.replace('_', '-')}, which is in the extra 'pretrained'"
        if found is None or found.origin is None:
            raise WeightsError(f"the weights {self.source!r} come with a Python package that is not there: {install}")
        path = Path(found.origin).parent / self.file
        cache.check(path, self.sha256, f"{install}, anew")
        return path

    def check(self, model: Network) -> None:
        """Refuses a network with options that would make these weights compute something else.

        Args:
            model: made by ``create_model(self.model, ...)``.

        Raises:
            WeightsError: an option that changes what the trained network computes is not as it was in training.
        """
        default = create_model(self.model)
        for option in sorted(options_of(get_variant(self.model)).keys() - _FREE):
            wanted, given = self.options.get(option, _value(default, option)), _value(model, option)
            if given != wanted:
                raise WeightsError(
                    f"the weights {self.source!r} of {self.model} are of a network with {option}={wanted!r}, and yours "
                    f"has {given!r}: give {option}={wanted!r} to create_model and to load_pretrained"
                )

    @property
    def published(self) -> Published:
        """The published errors, and how they were measured."""
        options = "".join(f"; {option}={value!r}" for option, value in self.options.items())
        return Published(
            None if self.top1_accuracy is None else round(100 - self.top1_accuracy, 3),
            None if self.top5_accuracy is None else round(100 - self.top5_accuracy, 3),
            f"{self.protocol}, ILSVRC-2012 validation",
            f"{self.release}, {self.label}{options}",
        )


def _value(model: Network, option: str) -> Option:
    """Returns the value of an option: the one that was given, or the variant's own where that is None."""
    value = getattr(model, option)
    return getattr(getattr(model, "defaults", None), option, None) if value is None else value


@functools.cache
def all_published() -> dict[str, dict[str, tuple[PublishedWeights, ...]]]:
    """Returns all published weights, by publisher and network; the first of a network is its default."""
    stored = json.loads(Path(__file__).with_name("published.json").read_text())
    releases = stored["_releases"]

    def entry(publisher: str, model: str, fields: JsonObject) -> PublishedWeights:
        name = fields.pop("name")
        fields |= {"mean": tuple(fields["mean"]), "std": tuple(fields["std"]), "label": fields.get("label", name)}
        return PublishedWeights(source=f"{publisher}/{name}", model=model, release=releases[publisher], **fields)

    return {
        publisher: {model: tuple(entry(publisher, model, each) for each in rows) for model, rows in models.items()}
        for publisher, models in stored.items()
        if publisher in PUBLISHERS
    }


def published_weights(model: str) -> list[PublishedWeights]:
    """Returns all published weights of a network, each publisher's default first."""
    return [entry for models in all_published().values() for entry in models.get(model, ())]


def published_errors(model: str) -> tuple[Published, ...]:
    """Returns the errors that others published of a network: those of its weights, and those in its `Variant`.

    One set of weights is chosen. Where torchvision has any it is ``IMAGENET1K_V1``, whose training is nearest to the
    papers', and its errors come first. Elsewhere it is ``tf_in1k``, the authors' weights as timm evaluates them, whose
    errors come after the authors' own.

    Raises:
        ModelError: there is no such network.
    """
    known = {entry.source: entry.published for entry in published_weights(model)}
    papers = get_variant(model).published
    if "torchvision/IMAGENET1K_V1" in known:
        return known["torchvision/IMAGENET1K_V1"], *papers
    return (*papers, known["timm/tf_in1k"]) if "timm/tf_in1k" in known else papers


def is_published(source: object) -> TypeGuard[str]:
    """Returns whether a source is the name of published weights, and not a file or a mapping.

    Examples:
        >>> is_published("torchvision"), is_published("timm/tf_in1k"), is_published("resnet50.pth")
        (True, True, False)
    """
    return isinstance(source, str) and source.partition("/")[0] in PUBLISHERS


def find_published(model: str, source: str) -> PublishedWeights:
    """Returns the weights that a name stands for.

    Args:
        model: one of ``jaxcnn.list_models()``.
        source: a publisher's name, as ``torchvision``, for its default, or with a slash and a name after it; see
            `PublishedWeights.names`.

    Raises:
        WeightsError: there are none of that name.
        ModelError: there is no such network.
    """
    get_variant(model)
    publisher, _, name = source.partition("/")
    entries = all_published()[publisher].get(model, ())
    for entry in entries:
        if not name or source in entry.names:
            return entry
    known = [entry.source for entry in published_weights(model)]
    if not known:
        raise WeightsError(f"there are no published weights of {model}: give a file")
    raise WeightsError(f"there are no weights {source!r} of {model}: {nearest(source, known)} (or a file, as ./PATH)")


def published_file(model: str, path: Path) -> PublishedWeights | None:
    """Returns the published weights of a network that a file holds, or None: a file is known by its SHA-256.

    Raises:
        ModelError: there is no such network.
    """
    get_variant(model)
    entries = [entry for entry in published_weights(model) if entry.sha256 is not None]
    if not entries or not path.is_file():
        return None
    found = cache.sha256_of(path)
    return next((entry for entry in entries if entry.sha256 and found.startswith(entry.sha256)), None)


@functools.cache
def _imagenet() -> list[list[str]]:
    """Returns the WordNet number and the name of each class."""
    lines = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(" ", 1) for line in lines]


def imagenet_classes() -> tuple[str, ...]:
    """Returns the names of ILSVRC-2012's thousand classes, in the order of the published networks' logits.

    They are torchvision's (``_IMAGENET_CATEGORIES`` in ``models/_meta.py``).
    """
    return tuple(name for _, name in _imagenet())


def imagenet_wordnet_ids() -> tuple[str, ...]:
    """Returns the WordNet numbers of the same classes, in the order of the numbers: ``n01440764`` is the first.

    They are tensorflow-datasets' (``datasets/imagenet2012/labels.txt``).
    """
    return tuple(number for number, _ in _imagenet())
