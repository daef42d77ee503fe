"""Networks that have been trained, here or elsewhere: they predict and are evaluated."""

import dataclasses
import functools
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np

from jaxcnn.config import Crop, DataConfig, EvaluationConfig, Normalization, Views
from jaxcnn.data.classes import match_classes
from jaxcnn.data.images import ImageLike, given, split_of_images
from jaxcnn.data.opening import open_split
from jaxcnn.data.pipeline import SINGLE_CROP, Split
from jaxcnn.devices.feed import Feed
from jaxcnn.devices.memory import keep_for_batches_of
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Evaluator
from jaxcnn.evaluation.metrics import telling_top_k
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.evaluation.real import read_valid_labels
from jaxcnn.evaluation.result import Result
from jaxcnn.networks import check_views, folded_variables, make_evaluator
from jaxcnn.types import Option, Variables
from jaxcnn.weights.published import imagenet_classes, imagenet_wordnet_ids

_LOG = logging.getLogger(__name__)
IMAGES_AT_ONCE = 32
"""The most images that `Trained.predict` gives the network together."""
Answer = list[tuple[str, float]]
"""The most probable classes of an image, best first, with their probabilities."""


class Preprocessing(NamedTuple):
    """The steps that an image goes through before the network sees it, in this order."""

    crop: Crop
    """The crop, which gives an image of one size."""
    channels: int
    """The number of channels, 1 for grey or 3 for RGB; images of the other kind are converted."""
    normalization: Normalization
    """The means and deviations by which pixels are normalized."""


class Measured(NamedTuple):
    """Errors of a network, and how they were measured."""

    errors: Mapping[str, float]
    """The errors in percent, by name: ``{"top1_error": 24.1}``."""
    protocol: str
    """The images, and how they were resized, cropped and averaged."""
    source: str
    """Who measured them."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a network comes from."""

    model: str
    """The name of the network, one of `list_models`."""
    options: Mapping[str, Option]
    """The options of `create_model` on which the variables depend, or what the network computes."""
    source: str
    """The weights: a run and its step, the name of published weights, or that of a file."""
    measured: tuple[Measured, ...] = ()
    """The errors that are known of the network with these weights."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network, its variables, and what it expects of an image. `jaxcnn.load` makes one."""

    model: nn.Module
    variables: Variables
    """The variables that ``model.apply`` takes."""
    num_classes: int
    class_names: tuple[str, ...] | None
    """The name of each class, in the order of the logits; None where they are not known."""
    data: DataConfig
    """The data set that the network is evaluated on by default, with the crop and the channels that it expects."""
    normalization: Normalization
    origin: Origin | None = None
    """Where the network comes from; None where it was not loaded by name."""
    _evaluators: dict[tuple[Views, jax.sharding.Mesh, int], Evaluator] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps that an image goes through before the network sees it."""
        return Preprocessing(self.data.evaluation_crop, self.data.channels, self.normalization)

    def folded(self) -> "Trained":
        """Returns this network with its batch normalization folded into the convolutions before it, which is faster.

        Its answers are the same up to rounding, and it cannot be trained: see `jaxcnn.models.folding.fold_batch_norm`.

        Raises:
            UserError: the images of its data set do not fit the network.
        """
        return dataclasses.replace(self, variables=folded_variables(self.model, self.variables, self.data))

    def predict(self, images: Sequence[ImageLike], top_k: int = 5, *, upright: bool = True) -> list[Answer]:
        """Returns, for each image, the k most probable classes, best first, with their probabilities.

        A class is given by its name, or by its number where names are not known.

        Args:
            images: paths of image files, uint8 arrays of shape (height, width, 1 or 3), or Pillow images.
            top_k: the number of classes to name; all of them where there are fewer.
            upright: whether photographs are turned as their orientation in EXIF says. Data sets are read without that,
                as their benchmarks do, so `evaluate` never turns an image.

        Raises:
            UserError: a file is missing or is not an image, or there are no images.
        """
        answers = []
        for answer in self.predict_each(images, top_k, upright=upright):
            if isinstance(answer, UserError):
                raise answer
            answers.append(answer)
        return answers

    def predict_each(
        self, images: Sequence[ImageLike], top_k: int = 5, *, upright: bool = True
    ) -> Iterator[Answer | UserError]:
        """Yields what `predict` returns, in batches of `IMAGES_AT_ONCE` images, each as soon as it is computed.

        Args:
            images: as for `predict`.
            top_k: as for `predict`.
            upright: as for `predict`.

        Yields:
            The answer for each image, in their order; for a file that cannot be read, the error that says why.

        Raises:
            UserError: there are no images, or one is neither a file, nor pixels.
        """
        if top_k < 1:
            raise UserError(f"the {top_k} most probable classes are none: ask for at least 1")
        check_views(self.model, self.variables, self.normalization, self.data, SINGLE_CROP)
        checked = given(images, upright=upright)
        for start in range(0, len(checked), IMAGES_AT_ONCE):
            split = split_of_images(checked[start : start + IMAGES_AT_ONCE], self.data, upright=upright)
            yield from self._answers(split, min(top_k, self.num_classes), min(IMAGES_AT_ONCE, len(checked)))

    def _answers(self, split: Split, top_k: int, batch_size: int) -> Iterator[Answer | UserError]:
        """Yields the answer for each image, or its error; what is compiled is shared by splits of any size."""
        try:
            predictions = self._predictions(split, batch_size, whole_batches=True)
        except UserError:
            if len(split.unreadable) < split.size:
                raise
            known: Iterator[Answer] = iter(())
        else:
            names = self.class_names or tuple(map(str, range(self.num_classes)))
            known = (
                [(names[index], float(row[index])) for index in best]
                for best, row in zip(predictions.top(top_k), predictions.probabilities(), strict=True)
            )
        errors = {
            index: UserError(f"{path} {reason}")
            for index, (path, reason) in zip(split.unreadable, split.bad, strict=True)
        }
        for index in range(split.size):
            yield errors[index] if index in errors else next(known)

    def evaluate(
        self,
        data: DataConfig | str | None = None,
        *,
        batch_size: int = EvaluationConfig().batch_size,
        top_k: tuple[int, ...] = EvaluationConfig().top_k,
        views: Views = SINGLE_CROP,
    ) -> Result:
        """Returns the errors on the evaluation split of a data set.

        Args:
            data: the data set; by default the network's own. A name alone takes the network's own crop.
            batch_size: the number of views that the network takes together; it does not change the result.
            top_k: each k for which errors are counted; those that are not below the number of classes are left out.
            views: the views of each image.

        Raises:
            UserError: as `open_split` does; or no k is below the number of classes.
        """
        top_k = telling_top_k(top_k, self.num_classes)
        if not isinstance(data, DataConfig):
            data = dataclasses.replace(self.data, name=data) if data else self.data
        return self.predictions(self.open_split(data, views), batch_size=batch_size).result(top_k)

    def open_split(self, data: DataConfig, views: Views = SINGLE_CROP, left_out: Sequence[str] = ()) -> Split:
        """Opens the evaluation split of a data set for `predictions`.

        Args:
            data: the data set; its ``evaluation_crop`` is the view of an image where ``views`` is `SingleCrop`.
            views: the views of each image.
            left_out: the images that are left out of the split: see `jaxcnn.data.numbering.without`.

        Raises:
            UserError: the data set cannot be opened, it has classes that the network does not have, or the views do not
                fit the network.
        """
        check_views(self.model, self.variables, self.normalization, data, views)
        split = open_split(data, views=views, left_out=left_out)
        order, labels = self.classes_of(split)
        if not np.array_equal(labels, np.arange(len(order))):
            _LOG.info(
                "%s has %d of the network's %d classes, or another order of them: labels are taken by the names of the "
                "classes",
                *(split.name, len(labels), len(order)),
            )
        return split

    def classes_of(self, split: Split) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns the names that a split has for the network's classes, and the network's label for each of its labels.

        Where the names of the network's classes are not known, they are taken to be the split's.

        Raises:
            UserError: the split has classes that the network does not have.
        """
        names = split.class_names
        if self.class_names is not None:
            both = (imagenet_wordnet_ids(), imagenet_classes())
            return match_classes(names, both if self.class_names in both else (self.class_names,), split.name)
        if len(names) != self.num_classes:
            raise UserError(
                f"{split.name} has {len(names)} classes, and the network {self.num_classes}: evaluate it on the "
                "classes it was trained for"
            )
        return names, np.arange(len(names), dtype=np.int32)

    @property
    def wordnet_ids(self) -> tuple[str, ...] | None:
        """The WordNet number of each class, where the classes are ILSVRC's or named by such numbers; else None."""
        if self.class_names == imagenet_classes():
            return imagenet_wordnet_ids()
        named = self.class_names is not None and all(re.fullmatch(r"n\d{8}", name) for name in self.class_names)
        return self.class_names if named else None

    def predictions(self, split: Split, *, batch_size: int) -> Predictions:
        """Returns the network's scores of each image of a split, with the network's labels.

        Args:
            split: the split that `open_split` returned.
            batch_size: the number of views that the network takes together; it does not change the result. At least one
                image for each device is loaded, whose views are computed in turns where they are more.

        Raises:
            UserError: too many images cannot be read.
        """
        keep_for_batches_of(batch_size * math.prod(split.image_shape[-3:]))
        predictions = self._predictions(split, batch_size)
        return dataclasses.replace(predictions, labels=self.classes_of(split)[1][predictions.labels])

    def valid_labels(self, split: Split, path: Path | None = None) -> list[Sequence[int]] | None:
        """Returns all right labels of each image of a split, as the network's labels; None where each has only one.

        Args:
            split: the split that `open_split` returned.
            path: a file like ImageNet-ReaL's ``real.json``, for ILSVRC's validation images out of any data set that
                knows the names of their files. By default the data set's own labels are taken, which
                ``tfds:imagenet2012_real``, for example, has.

        Raises:
            UserError: the file cannot be read or is for other images, or the images are not numbered.
        """
        found: list[Sequence[int]]
        if path is not None:
            numbers = split.numbers()
            lists = read_valid_labels(path, len(numbers), self.num_classes)
            found = [lists[number - 1] for number in numbers]
        else:
            labels, several = self.classes_of(split)[1], split.valid_labels()
            if several is None:
                return None
            found = [labels[np.asarray(each, np.int64)].tolist() for each in several]
        _LOG.info("%d images have no valid label and are left out", sum(len(labels) == 0 for labels in found))
        return found

    def with_images_of(self, data: DataConfig) -> "Trained":
        """Returns this network with the data set of another, whose images it crops and normalizes as its own."""
        own = self.data
        data = dataclasses.replace(
            data, evaluation_crop=own.evaluation_crop, train_crop=own.train_crop, channels=own.channels
        )
        return dataclasses.replace(self, data=data)

    @own_settings()
    def _predictions(self, split: Split, views: int, *, whole_batches: bool = False) -> Predictions:
        """Returns the scores of a split; whole batches have one shape, however few images a split has."""
        parallel = DataParallel.over_all_devices()
        feed = Feed.for_evaluation(split, parallel, views, whole_batches=whole_batches)
        feed.check_same()
        key = (split.views, parallel.mesh, max(views, feed.batch_size))
        if key not in self._evaluators:
            self._evaluators[key] = make_evaluator(self.model, self.normalization, parallel, *(key[0], key[2]))
        (predictions,) = self._evaluators[key].predictions(feed, self._placed)
        return predictions

    @functools.cached_property
    def _placed(self) -> Variables:
        """The variables, a copy of which is on every device."""
        return DataParallel.over_all_devices().put_everywhere(jax.tree.map(np.asarray, self.variables))
