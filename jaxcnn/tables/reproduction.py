"""Published errors measured again: a file for each result, and the table of what was run and what was not."""

import dataclasses
import datetime
import platform
from collections.abc import Mapping
from pathlib import Path

import jax

from jaxcnn.config import DataConfig
from jaxcnn.errors import UserError, nearest
from jaxcnn.evaluation.details import wilson_interval
from jaxcnn.loading import load_published
from jaxcnn.models.registry import get_variant, list_models
from jaxcnn.provenance import versions
from jaxcnn.tables.stored import in_percent, markdown, read_results, write_result
from jaxcnn.weights.published import PublishedWeights, find_published, is_published, published_weights

TOP_K = (1, 5)
_PACKAGES = ("jaxcnn", "jax", "jaxlib", "flax", "numpy", "pillow", "simplejpeg")
"""The packages that decode, scale and compute."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduction:
    """The errors of published weights, measured here as their publisher does, in percent."""

    model: str
    weights: str
    """The weights' name, as `load_pretrained` takes it."""
    protocol: str
    data: str
    images: int
    errors: dict[int, float]
    """The top-k error, by k."""
    date: str
    device: str
    versions: dict[str, str]

    @property
    def entry(self) -> PublishedWeights:
        """What was published of these weights."""
        return find_published(self.model, self.weights)

    @property
    def comparable(self) -> bool:
        """Whether the published errors are of the same number of images as ours."""
        return self.images == self.entry.images

    def difference(self, k: int) -> float | None:
        """Returns our top-k error minus the published, in percentage points; None where none was published."""
        published = published_errors(self.entry).get(k)
        return None if published is None else round(self.errors[k] - published, 3)

    def is_within(self, k: int) -> bool:
        """Returns whether the published top-k error lies in Wilson's 95 % interval of ours."""
        low, high = wilson_interval(self.errors[k], self.images)
        return low <= published_errors(self.entry)[k] <= high


def published_errors(entry: PublishedWeights) -> dict[int, float]:
    """Returns the published top-k errors in percent, by k; empty where nobody published any."""
    accuracies = dict(zip(TOP_K, (entry.top1_accuracy, entry.top5_accuracy), strict=True))
    return {k: round(100 - accuracy, 3) for k, accuracy in accuracies.items() if accuracy is not None}


def _protocol(entry: PublishedWeights) -> str:
    return f"{entry.protocol}, {entry.interpolation}"


def reproduce(model: str, weights: str | None, data: DataConfig, batch_size: int) -> Reproduction:
    """Measures published weights with their own options, crop and normalization.

    Args:
        model: a name of ``jaxcnn.list_models()``.
        weights: as `find_published` takes them; by default the first of the network.
        data: the data set and the split; the crops and the channels are the weights' own.
        batch_size: the number of images that the network takes together.

    Raises:
        UserError: there is no such network or data set, the weights cannot be fetched, or the data set has classes that
            are not ILSVRC's.
    """
    get_variant(model)
    known = published_weights(model)
    if not known:
        raise UserError(f"there are no published weights of {model}, so there is nothing to reproduce")
    if weights is not None and not is_published(weights):
        choices = nearest(weights, [entry.source for entry in known])
        raise UserError(f"{weights!r} does not name published weights of {model}, to compare errors with: {choices}")
    entry = known[0] if weights is None else find_published(model, weights)
    network = load_published(model, entry.source).with_images_of(data)
    split = network.open_split(network.data)
    result = network.predictions(split, batch_size=batch_size).result(TOP_K)
    devices = jax.devices()
    return Reproduction(
        model=model,
        weights=entry.source,
        protocol=_protocol(entry),
        data=split.name,
        images=result.images,
        errors=result.errors,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        device=f"{len(devices)} {devices[0].device_kind}, {platform.machine()}",
        versions=versions(_PACKAGES),
    )


def save(found: Reproduction, folder: Path) -> Path:
    """Writes a result to its own file in place of an older one of the same weights, and returns the path.

    Raises:
        UserError: the file cannot be written.
    """
    return write_result(found, folder / f"{found.model}_{found.weights.replace('/', '_')}.json")


def read(folder: Path) -> dict[tuple[str, str], Reproduction]:
    """Returns the results that `save` wrote to a folder, by network and weights.

    Raises:
        UserError: a file in it is not a result, its weights are not published, or it is of other images or another
            protocol than the published errors.
    """
    results = read_results(folder, Reproduction)
    for path, each in results.items():
        if not each.comparable or each.protocol != _protocol(each.entry):
            raise UserError(
                f"{path} is of {each.images} images, {each.protocol}, and the published errors of {each.entry.images}, "
                f"{_protocol(each.entry)}: measure it again, or remove it"
            )
    return {(each.model, each.weights): each for each in results.values()}


def table(results: Mapping[tuple[str, str], Reproduction]) -> str:
    """Returns all published weights as a Markdown table: their errors, and ours where they were run."""
    rows = [["network", "weights", "protocol", "published", "ours", "difference", "in our interval", "images", "run"]]
    for entry in (entry for name in list_models() for entry in published_weights(name)):
        errors, found = published_errors(entry), results.get((entry.model, entry.source))
        ours = ["not run", "", "", "", ""]
        if found:
            within = " / ".join("yes" if found.is_within(k) else "no" for k in errors)
            differences = " / ".join(f"{found.difference(k):+.3f}" for k in errors)
            ours = [
                in_percent(found.errors, 3),
                differences,
                within,
                str(found.images),
                f"{found.date}, {found.device}",
            ]
        published = in_percent(errors, 3) or "none"
        rows.append([f"`{entry.model}`", f"`{entry.source}`", _protocol(entry), published, *ours])
    return markdown(rows)
