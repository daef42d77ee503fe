"""Networks that have been trained, here or elsewhere: load, evaluate, predict."""

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import numpy as np

from jaxcnn.assembly import make_model, state_maker
from jaxcnn.augment.compose import augmented_shape, normalize
from jaxcnn.config import CenterCrop, ConfigError, DataConfig, Normalization, SingleCrop, TrainConfig, Views
from jaxcnn.data.classes import places_of_classes
from jaxcnn.data.crop import CropError, cut
from jaxcnn.data.decode import DecodeError, decode
from jaxcnn.data.pipeline import Split, open_split
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluate import Result
from jaxcnn.evaluation.metrics import check_top_k
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.evaluation.real import read_valid_labels
from jaxcnn.measurement import check_views, predict_split
from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.recipes import load_config
from jaxcnn.training.checkpoint import CheckpointError, Checkpoints, Restored
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.parallel import DataParallel
from jaxcnn.training.report import read_metrics
from jaxcnn.weights.load import load_pretrained
from jaxcnn.weights.published import (
    find_published,
    imagenet_classes,
    imagenet_wordnet_ids,
    is_published,
    published_weights,
)

_LOG = logging.getLogger(__name__)
SINGLE_CROP = SingleCrop()
"""Of each image, the ``evaluation_crop`` alone."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network, its variables, and what it expects of an image."""

    model: nn.Module
    variables: Any
    num_classes: int
    class_names: tuple[str, ...] | None
    """None where they are not known."""
    data: DataConfig
    """How it was, or by default is, evaluated; its crop and channels make an image fit."""
    normalization: Normalization

    def evaluate(
        self, data: DataConfig, *, batch_size: int, top_k: tuple[int, ...], views: Views = SINGLE_CROP
    ) -> Result:
        """Returns the errors on the evaluation split of a data set.

        Raises:
            UserError: as `open_split` does, or some k says nothing.
        """
        check_top_k(top_k, self.num_classes)
        split = self.open_split(data, views)
        return self.predictions(split, batch_size=batch_size, views=views).result(top_k)

    def open_split(self, data: DataConfig, views: Views = SINGLE_CROP, left_out: Sequence[str] = ()) -> Split:
        """Opens the evaluation split of a data set for `predictions`.

        Args:
            data: which data set; its ``evaluation_crop`` is the view of an image where ``views`` is `SingleCrop`.
            views: of each image.
            left_out: images that are not to be part of it: see `jaxcnn.data.numbering.without`.

        Raises:
            UserError: the data set cannot be had or has classes that the network has not, or the views do not fit the
                network.
        """
        check_views(self.model, self.variables, self.normalization, data, views)
        split = open_split(data, views=views, left_out=left_out)
        order, places = self.classes_of(split)
        if not np.array_equal(places, np.arange(len(order))):
            _LOG.info(
                "%s has %d of the network's %d classes, or another order of them: labels are taken by the names of the "
                "classes",
                *(split.name, len(places), len(order)),
            )
        return split

    def classes_of(self, split: Split) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns the network's classes as a split calls them, and the place among them of each of the split's labels.

        Where the network's are not known, they are the split's.

        Raises:
            UserError: the split has classes that the network has not.
        """
        names = split.class_names
        if self.class_names is not None:
            both = (imagenet_wordnet_ids(), imagenet_classes())
            return places_of_classes(names, both if self.class_names in both else (self.class_names,), split.name)
        if len(names) != self.num_classes:
            raise UserError(
                f"{split.name} has {len(names)} classes, and the network {self.num_classes}: evaluate it on the "
                "classes it was trained for"
            )
        return names, np.arange(len(names), dtype=np.int32)

    @property
    def wordnet_ids(self) -> tuple[str, ...] | None:
        """The WordNet number of each class, where the classes are ILSVRC's or called by such numbers."""
        if self.class_names == imagenet_classes():
            return imagenet_wordnet_ids()
        named = self.class_names is not None and all(re.fullmatch(r"n\d{8}", name) for name in self.class_names)
        return self.class_names if named else None

    def predictions(self, split: Split, *, batch_size: int, views: Views = SINGLE_CROP) -> Predictions:
        """Returns what the network says of each image of a split: see `predict_split`. Labels are the network's.

        Raises:
            UserError: too many images cannot be read.
        """
        predictions = predict_split(
            self.model,
            self.variables,
            self.normalization,
            split,
            views,
            batch_size=batch_size,
            parallel=DataParallel.over_all_devices(),
        )
        return dataclasses.replace(predictions, labels=self.classes_of(split)[1][predictions.labels])

    def valid_labels(self, split: Split, path: Path | None = None) -> list[Sequence[int]] | None:
        """Returns all right labels of each image of a split, of the network's; None where each has its one label.

        Args:
            split: what `open_split` returned.
            path: a file as ImageNet-ReaL's ``real.json``, for ILSVRC's validation images of any data set that knows the
                names of their files; by default what the data set has, as ``tfds:imagenet2012_real`` does.

        Raises:
            UserError: the file cannot be read or is not of these images, or the images are not numbered.
        """
        if path is not None:
            numbers = split.numbers()
            lists = read_valid_labels(path, len(numbers), self.num_classes)
            found = [lists[number - 1] for number in numbers]
        else:
            places, found = self.classes_of(split)[1], split.valid_labels()
            if found is None:
                return None
            found = [places[np.asarray(labels, np.int64)] for labels in found]
        _LOG.info("%d images have no valid label, and are left out", sum(len(labels) == 0 for labels in found))
        return found

    def with_images_of(self, data: DataConfig) -> "Trained":
        """Returns this network with another's data set, cut and normalized as this one's own."""
        own = self.data
        data = dataclasses.replace(
            data, evaluation_crop=own.evaluation_crop, train_crop=own.train_crop, channels=own.channels
        )
        return dataclasses.replace(self, data=data)

    def predict(self, paths: list[Path], top_k: int) -> list[list[tuple[str, float]]]:
        """Returns, for each image file, the k most probable classes, best first, with their probabilities.

        A class is given by its name, or by its number where names are not known.

        Raises:
            UserError: a file is missing or is not an image, or there are fewer than k classes.
        """
        if not 1 <= top_k <= self.num_classes:
            raise UserError(
                f"--top-k {top_k} cannot be had of {self.num_classes} classes: give 1 to {self.num_classes}"
            )
        check_views(self.model, self.variables, self.normalization, self.data, SINGLE_CROP)
        images = np.stack([self._read(path) for path in paths])

        @jax.jit
        def most_probable(variables, images):
            logits = self.model.apply(variables, normalize(images, self.normalization), train=False)
            return jax.lax.top_k(jax.nn.softmax(logits), top_k)

        values, classes = jax.device_get(most_probable(self.variables, images))
        names = self.class_names or tuple(map(str, range(self.num_classes)))
        return [
            [(names[index], float(value)) for index, value in zip(*row, strict=True)]
            for row in zip(classes, values, strict=True)
        ]

    def _read(self, path: Path) -> np.ndarray:
        try:
            return cut(decode(path.read_bytes(), self.data.channels, self.data.max_pixels), self.data.evaluation_crop)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        except (DecodeError, CropError) as error:
            raise UserError(f"{path} cannot be used: {error}") from None


def load_run(
    folder: Path, checkpoint: Literal["latest", "best"] = "latest", weights_of: Literal["raw", "ema"] = "raw"
) -> Trained:
    """Loads what a run has trained.

    Args:
        folder: the run's.
        checkpoint: the newest, or the one at which these weights had their lowest top-1 error.
        weights_of: ``ema`` takes the moving average of parameters and batch statistics.

    Raises:
        UserError: the folder is not a run's, holds no whole checkpoint, or keeps no moving average.
    """
    config = load_config(folder)
    if weights_of == "ema" and config.ema.decay is None:
        raise ConfigError(f"{folder} keeps no moving average: take its raw weights, or train it with --ema.decay")
    metric = "ema_top1_error" if weights_of == "ema" else "top1_error"
    restored = _restore(folder, config, checkpoint, metric)
    starts = [line for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "start"]
    names = tuple(starts[-1]["class_names"]) if starts else None
    return Trained(
        model=make_model(config.model, config.model.num_classes),
        variables=restored.state.ema if weights_of == "ema" else restored.state.variables,
        num_classes=config.model.num_classes,
        class_names=names,
        data=config.data,
        normalization=config.normalization,
    )


def restore_state(folder: Path, checkpoint: Literal["latest", "best"] = "latest") -> Restored:
    """Returns a run's whole training state, with its step and metrics.

    Raises:
        UserError: the folder is not a run's, or holds no whole checkpoint.
    """
    return _restore(folder, load_config(folder), checkpoint, "top1_error")


def _restore(folder: Path, config: TrainConfig, checkpoint: Literal["latest", "best"], metric: str) -> Restored:
    model = make_model(config.model, config.model.num_classes)
    _, optimizer = make_optimizer(config.optimizer, 1.0, 1 << 30)  # only the layout of its state is needed
    size = config.data.train_crop.size
    shape = augmented_shape((size, size, config.data.channels), config.augmentations)
    target = jax.eval_shape(state_maker(config, model, optimizer, jax.random.key(0), shape))
    with Checkpoints(folder / "checkpoints") as checkpoints:
        restored = checkpoints.restore(target, checkpoint, metric=metric)
    if restored is None:
        raise CheckpointError(f"{folder} holds no checkpoint yet: train it with `jaxcnn train {folder}`")
    return restored


def load_published(name: str, weights: str | None) -> Trained:
    """Loads somebody's weights into a network of `list_models`.

    Args:
        name: the network.
        weights: as the ``source`` of `load_pretrained`. Published weights bring their options of the network, their
            crop and their normalization; a file is taken to be of the network that the first of the published weights
            are of, and gets ILSVRC's usual preprocessing.

    Raises:
        UserError: the name is no model's, or the weights are not given or not the network's.
    """
    variant = get_variant(name)
    if weights is None:
        known = "".join(f"{entry.source}, " for entry in published_weights(name))
        raise ConfigError(
            f"{name} is a model and not a run folder: say with --weights whose weights it has, {known}or a file"
        )
    if is_published(weights):
        published = find_published(name, weights)
        options = published.options
        crop = CenterCrop(size=published.crop, resize=published.resize, interpolation=published.interpolation)
        normalization = Normalization(mean=published.mean, std=published.std)
    else:
        options = next((entry.options for entry in published_weights(name)), {})
        crop = CenterCrop(size=variant.input_size, resize=round(variant.input_size / 0.875))
        normalization = Normalization()
    return Trained(
        model=create_model(name, **options),
        variables=load_pretrained(name, weights, **options),
        num_classes=variant.num_classes,
        class_names=imagenet_classes() if variant.num_classes == len(imagenet_classes()) else None,
        data=DataConfig(train_crop=crop, evaluation_crop=crop, channels=variant.channels),
        normalization=normalization,
    )


def load(
    name: str,
    weights: str | None = None,
    checkpoint: Literal["latest", "best"] = "latest",
    weights_of: Literal["raw", "ema"] = "raw",
) -> Trained:
    """Loads a run folder, or a named model with somebody's weights; see `load_run` and `load_published`.

    Raises:
        UserError: as they do, or a model is asked for what only a run has.
    """
    (network,) = load_several([name], [weights] if weights else (), checkpoint, weights_of)
    return network


def load_several(
    names: Sequence[str],
    weights: Sequence[str] = (),
    checkpoint: Literal["latest", "best"] = "latest",
    weights_of: Literal["raw", "ema"] = "raw",
) -> list[Trained]:
    """Loads run folders and models, with weights given once for all models or once for each of them in their order.

    Raises:
        UserError: as `load` does, or the weights are of another number.
    """
    models = [name for name in names if not Path(name).is_dir()]
    if len(models) == len(names) and (checkpoint, weights_of) != ("latest", "raw"):
        raise UserError(
            f"--checkpoint and --weights-of choose from what a run has kept, and there is no run folder {names[0]}"
        )
    if len(weights) > 1 and len(weights) != len(models):
        raise UserError(
            f"--weights is given {len(weights)} times, and there are {len(models)} models: give it once for each, or "
            "once for all"
        )
    sources = iter(weights if len(weights) > 1 else [weights[0] if weights else None] * len(models))
    return [
        load_run(Path(name), checkpoint, weights_of) if Path(name).is_dir() else load_published(name, next(sources))
        for name in names
    ]
