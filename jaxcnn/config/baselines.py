"""The options of what came before convolutional networks: dense SIFT, encoded and classified linearly."""

from typing import Annotated, Literal

from pydantic import Field

from jaxcnn.config.data import DataConfig
from jaxcnn.config.features import ProbeConfig
from jaxcnn.config.options import NonNegativeFloat, PositiveFloat, PositiveInt, option_group, shared_options

Share = Annotated[float, Field(gt=0, le=1)]
Pyramid = Annotated[tuple[tuple[PositiveInt, PositiveInt], ...], Field(min_length=1)]


@option_group
class DenseSIFT:
    """SIFT descriptors on a regular grid, at several scales."""

    step: PositiveInt | None = None
    """The distance from one patch to the next, in pixels; by default 2 in images below 64 pixels, else 4."""
    bins: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] | None = None
    """The width of a bin at each scale, in pixels; a patch has 4 by 4 bins. By default 2, 3 and 4 in images below 64
    pixels, else 4, 6, 8 and 10."""
    smoothing: PositiveFloat = 1 / 6
    """The deviation of the Gaussian that an image is smoothed by before it is described, as a share of a bin. It is at
    least half a pixel."""
    square_root: bool = True
    """Whether descriptors are divided by their sum and the square root is taken of them (RootSIFT, CVPR 2012); else
    they are divided by their length."""


@shared_options
class Baseline:
    """The options that all baselines have."""

    # The name of the baseline.
    kind: str

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataConfig = DataConfig(channels=1)
    sift: DenseSIFT = DenseSIFT()
    sample: PositiveInt = 200_000
    """The number of descriptors that the encoding is fitted on."""
    sample_images: PositiveInt = 10_000
    """The number of training images that these descriptors come from, equally many from each; all where there are
    fewer."""
    probe: ProbeConfig = ProbeConfig(scaling="none")
    top_k: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 5)
    """Each k for which a top-k error is counted. Those that are not below the number of classes are left out, because
    their error is always 0."""


@option_group
class SiftFisher(Baseline):
    """Dense SIFT, principal components, a Gaussian mixture, improved Fisher vectors, a linear classifier."""

    pca: PositiveInt = 64
    """The number of principal components that stay of a descriptor."""
    coordinates: bool = False
    """Whether the place of a patch, as shares of the image's width and height, is appended to its descriptor (Sánchez,
    Perronnin and de Campos, 2012), usually instead of a pyramid."""
    components: PositiveInt = 64
    """The number of Gaussians of the mixture."""
    reg_covar: NonNegativeFloat = 1e-4
    """What is added to each variance of the mixture, so that none vanishes."""
    tolerance: PositiveFloat = 1e-3
    """The gain of the mean log-likelihood in a step below which the mixture has converged, in nats."""
    max_steps: PositiveInt = 100
    """The number of steps after which the fit of the mixture ends even so."""
    power: Share = 0.5
    """The power that elements of Fisher vectors are raised to; 1 leaves them as they are."""
    pyramid: Pyramid = ((1, 1), (2, 2))
    """The rows and the columns of cells at each level of the spatial pyramid."""
    kind: Literal["sift-fisher"] = "sift-fisher"


@option_group
class SparseCoding(Baseline):
    """Dense SIFT, sparse codes in a learned dictionary, their maxima over a pyramid, a linear classifier.

    Yang, Yu, Gong and Huang, "Linear spatial pyramid matching using sparse coding for image classification", CVPR 2009.
    """

    atoms: PositiveInt = 512
    """The number of atoms of the dictionary; 1,024 in the paper."""
    penalty: PositiveFloat = 0.15
    """The weight of the sum of a code's absolute values beside half the squared distance."""
    tolerance: PositiveFloat = 1e-3
    """The largest duality gap of a code, as a share of the objective of the code of zeros."""
    max_steps: PositiveInt = 200
    """The number of steps after which a code is taken whatever its gap is."""
    passes: PositiveInt = 3
    """The number of times that the sample is gone through to learn the dictionary."""
    batch: PositiveInt = 512
    """The number of descriptors that the dictionary is moved for at a time."""
    pyramid: Pyramid = ((1, 1), (2, 2), (4, 4))
    """The rows and the columns of cells at each level of the spatial pyramid."""
    kind: Literal["sparse-coding"] = "sparse-coding"
