"""The options of features and of linear probes on them."""

from typing import Annotated, Literal

from pydantic import Field

from jaxcnn.config.augmentation import Normalization
from jaxcnn.config.data import DataConfig
from jaxcnn.config.options import PositiveFloat, PositiveInt, option_group

Pooling = Literal["none", "average", "max"]
"""What becomes of a map (height, width, channels): it stays, or its mean or its maximum over all positions is taken."""


@option_group
class FeaturesConfig:
    """Everything that features depend on; `jaxcnn.features.extraction.extract` fills in what the network says."""

    network: str
    """The name of the network, or its run folder."""
    weights_sha256: str
    """The SHA-256 of the network's variables, by which others are noticed under the same name."""
    layers: Annotated[tuple[str, ...], Field(min_length=1)]
    """The names of the layers."""
    pooling: Pooling = "average"
    """What becomes of a layer's map."""
    images_at_once: PositiveInt = 32
    """The number of images that a device takes together. The bits of the features may depend on it; they do not depend
    on the number of devices."""
    data: DataConfig = DataConfig()
    """The data set, and how its images are cut: as for evaluation. Options of it that change no bit of the features
    have their defaults."""
    normalization: Normalization = Normalization()


@option_group
class ProbeConfig:
    """A classifier on features: a linear one, or nearest neighbours."""

    kind: Literal["svm", "softmax", "knn"] = "svm"
    """The classifier: linear support vector machines, one against the rest, with the squared hinge loss; a linear layer
    with a softmax; or the nearest neighbours."""
    scaling: Literal["auto", "standard", "l2", "none"] = "auto"
    """The scaling of features: ``standard`` takes the mean of each from it and divides it by its deviation and by the
    root of their number; ``l2`` divides the features of an image by their length. Both make the mean square of an
    image's length about 1. ``auto`` is ``l2`` for nearest neighbours, and ``standard`` else."""
    regularization: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
    """The factors of the loss beside half the squared length of the weights (scikit-learn's C) that cross-validation
    chooses from: the smaller, the more the weights are drawn to 0. Nearest neighbours have none."""
    neighbours: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (5,)
    """The numbers of nearest neighbours that cross-validation chooses from."""
    folds: Annotated[int, Field(ge=2)] = 5
    """The number of parts that cross-validation makes of the images, each of which is left out of one fit."""
    max_iterations: PositiveInt = 1000
    """The most iterations of a fit."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The seed by which images are dealt to the folds."""
