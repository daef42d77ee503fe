"""Which images, how they are cut on the host, and how they reach the device."""

from typing import Annotated, Literal

from pydantic import Field

from jaxcnn.config.options import Interpolation, Interval, PositiveInt, Probability, option_group


@option_group
class Resize:
    """The whole image, scaled to ``size`` by ``size`` pixels (the aspect ratio is not kept)."""

    size: PositiveInt = 224
    interpolation: Interpolation = "bilinear"
    kind: Literal["resize"] = "resize"


@option_group
class Pad:
    """The image in the middle of a black ``size`` by ``size`` canvas, unscaled: LeNet-5's 28 in 32 (1998, II-B)."""

    size: PositiveInt = 32
    kind: Literal["pad"] = "pad"


@option_group
class CenterCrop:
    """The short side scaled to ``resize`` pixels, then the ``size`` by ``size`` centre: ILSVRC's single-crop test."""

    size: PositiveInt = 224
    resize: PositiveInt = 256
    interpolation: Interpolation = "bilinear"
    kind: Literal["center_crop"] = "center_crop"


@option_group
class RandomResizedCrop:
    """A box of random area and aspect ratio, scaled to ``size``: GoogLeNet's crops (arXiv:1409.4842, section 6).

    As ``train_crop`` it is cut out of the whole image on the host; as an augmentation, on the device out of what
    ``train_crop`` left.
    """

    size: PositiveInt = 224
    scale: Interval = (0.08, 1.0)
    """Smallest and largest share of the image's area."""
    ratio: Interval = (3 / 4, 4 / 3)
    """Smallest and largest width over height; drawn log-uniformly."""
    interpolation: Interpolation = "bilinear"
    kind: Literal["random_resized_crop"] = "random_resized_crop"


Crop = Annotated[Resize | Pad | CenterCrop | RandomResizedCrop, Field(discriminator="kind")]


@option_group
class DataConfig:
    """Which images, how they are cut on the host, and how they reach the device."""

    name: str = "digits"
    """``digits``, ``tfds:NAME[/CONFIG][:VERSION]``, ``folder:PATH`` or ``synthetic[:CLASSES]``."""
    data_dir: str | None = None
    """Where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``."""
    train_split: str | None = None
    """By default ``train``."""
    evaluation_split: str | None = None
    """By default ``validation`` where the data set has one, else ``test``."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for RGB; images of the other kind are converted."""
    batch_size: PositiveInt = 128
    """Images a training step, over all devices."""
    train_crop: Crop = Resize(size=32)
    evaluation_crop: Crop = Resize(size=32)
    residence: Literal["auto", "device", "stream"] = "auto"
    """``device`` decodes once and keeps all images there as uint8; ``stream`` decodes as it goes; ``auto`` takes the
    first where the crop is not random and both splits fit in ``resident_bytes``."""
    resident_bytes: PositiveInt = 1 << 30
    workers: PositiveInt = 2
    """Threads that decode and crop a stream."""
    max_bad_share: Probability = 0.01
    """The run stops when more than this share of the files cannot be read as images."""
    max_pixels: PositiveInt = 1 << 26
    """An image whose header claims more is never decoded."""
