"""A network's predictions of a whole split: views of its images in, one row of scores an image out."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.assembly import check_image_shape, check_normalization, fetch, split_arrays
from jaxcnn.augment.compose import normalize
from jaxcnn.config import DataConfig, Dense, Normalization, SingleCrop, Views
from jaxcnn.data.pipeline import Split
from jaxcnn.data.stream import Batch
from jaxcnn.data.views import view_count
from jaxcnn.evaluation.predictions import Collector, Predictions, make_prediction_step, run_step
from jaxcnn.training.parallel import DataParallel


def for_views(model: nn.Module, views: Views) -> nn.Module:
    """Returns the network as it is measured on these views: its dense layers at every place, where it is `Dense`."""
    if isinstance(views, Dense) and any(field.name == "fully_convolutional" for field in dataclasses.fields(model)):
        return model.clone(fully_convolutional=True)
    return model


def check_views(model: nn.Module, variables: Any, normalization: Normalization, data: DataConfig, views: Views) -> None:
    """Refuses views that the network cannot take, before anything is read.

    Raises:
        UserError: naming what does not fit.
    """
    check_normalization(normalization, data.channels)
    model, channels = for_views(model, views), data.channels
    match views:
        case SingleCrop():
            size = data.evaluation_crop.size
            check_image_shape(model, variables, (size, size, channels))
        case Dense():
            for short in views.short_sides:
                # Neither may fit by chance, as one shape does that dense layers on the feature maps are made for.
                for shape in ((short, short, channels), (short, 2 * short, channels)):
                    check_image_shape(model, variables, shape, "views.short_sides, data.channels")
        case _:
            check_image_shape(model, variables, (views.size, views.size, channels), "views.size, data.channels")


def predict_split(
    model: nn.Module,
    variables: Any,
    normalization: Normalization,
    split: Split,
    views: Views,
    *,
    batch_size: int,
    parallel: DataParallel,
) -> Predictions:
    """Returns what a network says of each image of a split.

    Args:
        model: the network.
        variables: its own.
        normalization: of its images.
        split: opened for these views.
        views: of each image.
        batch_size: views that the network takes together; at least one image a device is loaded, and the rest in
            turns. It does not change the result.
        parallel: the devices.

    Raises:
        UserError: too many images cannot be read.
    """
    devices, model = parallel.mesh.size, for_views(model, views)
    count = 1 if isinstance(views, SingleCrop) else _views_of_a_batch(views)
    # No more than there are: what pads a batch is computed, too.
    images = -(-max(1, min(batch_size // count, split.size)) // devices) * devices
    average = "scores" if isinstance(views, SingleCrop) else views.average
    variables = jax.device_put(variables, parallel.replicated)
    arrays = split_arrays(split, parallel)

    def logits_of(variables, images):
        return model.apply(variables, normalize(images, normalization), train=False)

    def views_of(batch, arrays):
        images = fetch(batch, arrays)[0]
        if isinstance(views, Dense) and views.flip:
            return jnp.stack([images, images[:, :, ::-1]], axis=1)
        return images[:, None] if images.ndim == 4 else images

    step = make_prediction_step(logits_of, views_of, average, at_once=max(batch_size, images))
    batches = split.whole_batches(images) if isinstance(views, Dense) else _with_index(split, images)
    collector, unreadable = Collector(split.size, average), len(split.bad)
    for batch, scores in run_step(step, variables, batches, arrays, put=parallel.put_batch):
        mask, index = batch["mask"], batch["index"]
        labels = split.labels[index] if split.resident else batch["label"]
        collector.add(index[mask], labels[mask], scores[mask])
    predictions = collector.predictions(times=len(views.short_sides) if isinstance(views, Dense) else 1)
    unknown = int((~predictions.known).sum())
    if not len(split.bad) - unreadable <= unknown <= len(split.bad):
        raise RuntimeError(f"{unknown} of the {split.size} images of {split.name} were not counted")
    return predictions


def _views_of_a_batch(views: Views) -> int:
    if isinstance(views, Dense):
        return 2 if views.flip else 1
    return view_count(views)


def _with_index(split: Split, batch_size: int) -> Iterator[Batch]:
    """The split's evaluation batches, each with its images' places in the split."""
    for number, batch in enumerate(split.evaluation_batches(batch_size)):
        yield {"index": np.arange(number * batch_size, (number + 1) * batch_size, dtype=np.int32)} | batch
