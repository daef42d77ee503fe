"""The options of a study of transfer: how much a trained network helps where there are few images."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from jaxcnn.config.data import DataConfig
from jaxcnn.config.options import PositiveFloat, PositiveInt, option_group

PLACEHOLDER = "{split}"
"""The part of a data set's name that stands for the number of a split."""
Method = Literal["scratch", "finetuned", "svm", "softmax", "knn"]
"""A way to a classifier: the network trained from random weights; the same trained from pretrained ones; or support
vector machines, a softmax or nearest neighbours on features of the pretrained network."""


@option_group
class StudyConfig:
    """Everything that the results of a study depend on, and which of them are asked for."""

    network: str
    """The name of the network: one of ``jaxcnn.list_models()``."""
    weights: str | None = None
    """Its pretrained weights, which must be named: published ones, a file or a run folder."""
    data: DataConfig = DataConfig()
    """The data set. ``{split}`` in its name stands for the number of the split, counted from 0, where each split has a
    data set of its own, as ``jaxcnn data make-categories`` makes them with one seed after another."""
    keep_splits: bool = False
    """Whether a data set's own splits are kept: training images are then drawn from its training split, and all images
    of its evaluation split are measured. Else both are drawn from together. Data sets with ``{split}`` in their name
    are always kept."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("scratch", "finetuned", "svm", "softmax", "knn")
    """The methods that are compared."""
    images_per_class: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 5, 10)
    """The numbers of training images of each class; fewer ones are a part of more."""
    splits: PositiveInt = 5
    """The number of times that training and test images are drawn."""
    tested_per_class: PositiveInt = 10
    """The number of test images of each class in each split, where the data set's own splits are not kept."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The seed of the draws and of the initial weights; split i has the seed ``seed + i``."""
    batch_size: PositiveInt = 32
    """The number of images in a training step."""
    steps: PositiveInt = 200
    """The number of training steps of a fine-tuning, however many images there are."""
    scratch_steps: PositiveInt = 600
    """The number of training steps from random weights."""
    learning_rate: PositiveFloat | None = None
    """The learning rate of a fine-tuning; by default that of ``jaxcnn finetune``."""
    scratch_rate: PositiveFloat | None = None
    """The learning rate from random weights; by default five times that of a fine-tuning."""
    image_size: PositiveInt | None = None
    """The height and width, in pixels, of the images that are trained on and measured; by default those that the
    weights expect. Features are always of that size."""

    @property
    def keeps_splits(self) -> bool:
        """Whether the data set's own splits are kept."""
        return self.keep_splits or PLACEHOLDER in self.data.name

    def data_of(self, split: int) -> DataConfig:
        """Returns the data set of a split.

        Args:
            split: the number of the split, counted from 0.
        """
        return dataclasses.replace(self.data, name=self.data.name.replace(PLACEHOLDER, str(split)))


ASKED_FOR = frozenset({"methods", "images_per_class", "splits"})
"""The options that say which results are asked for, and change none."""
