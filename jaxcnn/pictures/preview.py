"""A page of training images as the network gets them: as the host cuts them, and after each augmentation."""

import dataclasses
import functools
import html
from pathlib import Path

import jax
import numpy as np

from jaxcnn.assembly import augmentation_keys, split_seed
from jaxcnn.augment.compose import augment, check_order, mixes
from jaxcnn.config import Augmentation, Crop, Normalization, TrainConfig
from jaxcnn.data.opening import open_data
from jaxcnn.data.pipeline import Data
from jaxcnn.devices.feed import Feed, images_and_labels
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.networks import check_normalization
from jaxcnn.pictures.embedded import data_uri

_SHOWN_SIDE = 128
"""The width, in CSS pixels, at which smaller images are shown."""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 4px 8px; text-align: center; vertical-align: top; }}
th small, td small {{ display: block; font-weight: normal; color: #666; max-width: {width}px; margin: auto; }}
img {{ width: {width}px; image-rendering: {rendering}; display: block; margin: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{facts}</p>
<table>
{rows}
</table>
</body>
</html>
"""


@dataclasses.dataclass(frozen=True)
class Column:
    """The same images after one of the steps from the file to the network."""

    title: str
    fields: str
    """The options of that step."""
    images: np.ndarray
    """The pixels, uint8 of shape ``(images, height, width, 1 or 3)``."""
    captions: tuple[str, ...]
    """The text below each image: its label, its mixture of labels, or its statistics."""


def preview(config: TrainConfig, images: int = 8, opened: Data | None = None) -> list[Column]:
    """Returns the first images of a run's first epoch, bit for bit as the first steps get them.

    The columns are the host's crop, one for each of ``config.augmentations``, and the network's input. Normalized
    images are shown denormalized, and values outside the range of pixels are clipped.

    Args:
        config: the recipe.
        images: the number of images.
        opened: its data set, where that is open already.

    Raises:
        UserError: an option of the config is impossible, or there are fewer training images, or, where batches are
            mixed, fewer images in a batch.
    """
    check_order(config.augmentations)
    check_normalization(config.normalization, config.data.channels)
    data = opened or open_data(config.data)
    # Each image's augmentations depend on itself alone, but mixing takes the whole batch.
    batch_size = config.data.batch_size if mixes(config.augmentations) else images
    most = min(batch_size, data.train.size) if mixes(config.augmentations) else data.train.size
    if not 1 <= images <= most:
        raise UserError(f"images must be from 1 to {most}, not {images}")
    one_device = DataParallel.over(jax.devices()[:1])
    batch = next(Feed(data.train, one_device, batch_size, config.seed).training(0, 1))
    pixels, labels = images_and_labels(batch)
    num_classes = config.model.num_classes or len(data.class_names)
    keys = augmentation_keys(split_seed(config.seed)[1], batch)

    def classes(targets: np.ndarray) -> tuple[str, ...]:
        return tuple(_mixture(target, data.class_names) for target in targets)

    one_hot = np.eye(num_classes, dtype=np.float32)[np.asarray(labels[:images])]
    columns = [Column("the host's crop", _crop(config.data.train_crop), np.asarray(pixels[:images]), classes(one_hot))]
    for count in range(len(config.augmentations) + 1):
        steps = config.augmentations[:count]
        # One compilation each, and each the same program as the run's up to there.
        apply = jax.jit(
            functools.partial(augment, augmentations=steps, normalization=config.normalization, num_classes=num_classes)
        )
        found, targets = jax.device_get(apply(keys, pixels, labels))
        found = found[:images]
        if steps:
            captions = classes(targets[:images] if mixes(steps) else one_hot)
            columns.append(
                Column(steps[-1].kind, _fields(steps[-1]), denormalize(found, config.normalization), captions)
            )
    captions = tuple(
        f"mean {image.mean():.2f}, deviation {image.std():.2f}, from {image.min():.2f} to {image.max():.2f}"
        for image in found
    )
    shown = denormalize(found, config.normalization)
    columns.append(Column("the network's input", _fields(config.normalization), shown, captions))
    return columns


def write_preview(config: TrainConfig, file: Path, images: int = 8) -> None:
    """Writes `preview` as one HTML page that holds the images.

    Raises:
        UserError: as `preview` does, or the page cannot be written.
    """
    columns = preview(config, images)
    header = "".join(
        f"<th>{html.escape(column.title)}<small>{html.escape(column.fields)}</small></th>" for column in columns
    )
    rows = [f"<tr>{header}</tr>"]
    for index in range(images):
        cells = "".join(
            f'<td><img alt="" src="{data_uri(column.images[index], exact=True)}"><small>'
            f"{html.escape(column.captions[index])}</small></td>"
            for column in columns
        )
        rows.append(f"<tr>{cells}</tr>")
    side = columns[0].images.shape[1]
    facts = f"{config.data.name}, seed {config.seed}: the first {images} training images of the first epoch."
    page = _PAGE.format(
        title=html.escape(config.name),
        facts=html.escape(facts),
        rows="\n".join(rows),
        width=max(side, _SHOWN_SIDE),
        rendering="pixelated" if side < _SHOWN_SIDE else "auto",
    )
    try:
        file.write_text(page)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from None


def denormalize(images: np.ndarray, normalization: Normalization) -> np.ndarray:
    """Returns the uint8 pixels of normalized images; values outside the range of pixels are clipped."""
    pixels = 255 * (images * np.array(normalization.std) + np.array(normalization.mean))
    return np.rint(pixels.clip(0, 255)).astype(np.uint8)


def _fields(options: Augmentation | Crop | Normalization) -> str:
    fields = [(field.name, getattr(options, field.name)) for field in dataclasses.fields(options)]
    return ", ".join(f"{name} {value}" for name, value in fields if name != "kind")


def _crop(crop: Crop) -> str:
    return f"{crop.kind}: {_fields(crop)}"


def _mixture(target: np.ndarray, class_names: tuple[str, ...]) -> str:
    """Returns ``cat``, or ``cat 0.70 + dog 0.30``; a class that the data set does not have is named by its number."""
    names = [*class_names, *map(str, range(len(class_names), len(target)))]
    shares = [(float(target[label]), names[label]) for label in np.argsort(-target, kind="stable") if target[label] > 0]
    if len(shares) == 1:
        return shares[0][1]
    return " + ".join(f"{name} {share:.2f}" for share, name in shares[:3])
