"""The options of the data: which images, how they are cut on the host, and how they reach the device."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxcnn.config.augmentation import Augmentation
from jaxcnn.config.options import IS_PATH, Interpolation, Interval, PositiveInt, Probability, option_group


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
class RandomResizedCrop(Augmentation):
    """A box of random area and aspect ratio, scaled to ``size``: GoogLeNet's crops (arXiv:1409.4842, section 6).

    As ``train_crop`` it is cut out of the whole image on the host; as an augmentation, on the device out of what
    ``train_crop`` left.
    """

    size: PositiveInt = 224
    scale: Interval = (0.08, 1.0)
    """The smallest and the largest share of the image's area."""
    ratio: Interval = (3 / 4, 4 / 3)
    """The smallest and the largest width over height; drawn log-uniformly."""
    interpolation: Interpolation = "bilinear"
    kind: Literal["random_resized_crop"] = "random_resized_crop"


@option_group
class ScaleJitter:
    """The short side scaled to a random length, then a random ``size`` by ``size`` window: VGG's training crops.

    The defaults are VGG's multi-scale training (arXiv:1409.1556, section 3.1). ``short_side=(256, 256)`` is training at
    one scale: VGG's, or with ``from_center_square`` AlexNet's (NIPS 2012, sections 2 and 4.1).
    """

    size: PositiveInt = 224
    short_side: tuple[PositiveInt, PositiveInt] = (256, 512)
    """The shortest and the longest length, in pixels; drawn uniformly from the whole numbers between, both included."""
    from_center_square: bool = False
    """Whether the window stays in the centre square of the scaled image; else it is anywhere along the long side."""
    interpolation: Interpolation = "bilinear"
    kind: Literal["scale_jitter"] = "scale_jitter"

    @pydantic.field_validator("short_side")
    @classmethod
    def _holds_the_window(cls, short_side: tuple[int, int], info: pydantic.ValidationInfo) -> tuple[int, int]:
        size = info.data.get("size", 1)  # it is absent if it was refused
        if not size <= short_side[0] <= short_side[1]:
            raise ValueError(f"must be the smaller length, at least size={size}, then the larger")
        return short_side


Crop = Annotated[Resize | Pad | CenterCrop | RandomResizedCrop | ScaleJitter, Field(discriminator="kind")]


@option_group
class DataConfig:
    """Which images, how they are cut on the host, and how they reach the device."""

    name: str = "digits"
    """The data set: ``digits``, ``tfds:NAME[/CONFIG][:VERSION]``, ``folder:PATH``, ``idx:FOLDER``,
    ``synthetic[:CLASSES]``, or ``KIND[:REST]`` of a kind that the recipe adds with
    `jaxcnn.data.sources.register_source`."""
    data_dir: Annotated[str | None, IS_PATH] = None
    """The folder where tfds keeps its prepared data sets; by default ``$TFDS_DATA_DIR`` or
    ``~/tensorflow_datasets``."""
    train_split: str | None = None
    """The split to train on, by default ``train``."""
    evaluation_split: str | None = None
    """The split to measure on, by default ``validation``, ``val``, ``valid`` or the like where the data set has one,
    else ``test``."""
    channels: Literal[1, 3] = 3
    """The number of channels, 1 for grey or 3 for RGB; images of the other kind are converted."""
    batch_size: PositiveInt = 128
    """The number of images in a training step, over all devices."""
    repeats: PositiveInt = 1
    """The number of times that a batch holds each of its images, cut and augmented anew each time: repeated
    augmentation (arXiv:1901.09335). An epoch is as long as ever, and visits only this part of its order. 3 in "ResNet
    strikes back" A1 and A2, 4 in torchvision's newest recipes."""
    train_crop: Crop = Resize(size=32)
    evaluation_crop: Crop = Resize(size=32)
    residence: Literal["auto", "device", "stream"] = "auto"
    """Where the images are: ``device`` decodes all of them once and keeps them there as uint8; ``stream`` decodes them
    as they are needed; ``auto`` takes the first where the crop is not random and both splits fit in
    ``resident_bytes``."""
    resident_bytes: PositiveInt = 1 << 30
    """The most bytes that both splits together may take on the device under ``auto``."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """The number of threads that decode and crop a stream: by default one for each core; with 0 it is done between the
    steps; with ``processes``, twice as many as these. The batches are the same for any number."""
    processes: Annotated[int, Field(ge=0)] = 0
    """The number of processes beside this one that decode and crop a stream's files, so that Python's lock does not
    bound it; with 0 the threads do, which is faster up to about seven cores. The batches are the same either way."""
    max_bad_share: Probability = 0.01
    """The share of files that cannot be read as images above which the run stops."""
    max_pixels: PositiveInt = 1 << 26
    """The most pixels that an image's header may claim; a larger image is never decoded."""
