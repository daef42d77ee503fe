"""The options of a folder data set that is made of cut-outs, `jaxcnn.data.categories`; scenes share some of them."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxcnn.config.options import PositiveInt, Probability, ShareInterval, option_group, shared_options


def _shows_something(scale: tuple[float, float]) -> tuple[float, float]:
    if not scale[0]:
        raise ValueError("must be above 0")
    return scale


ScaleInterval = Annotated[ShareInterval, pydantic.AfterValidator(_shows_something)]


@shared_options
class CutOutOptions:
    """The options of every data set that is made of cut-outs."""

    categories: tuple[str, ...] = ()
    """The categories, each by the path of its folder, such as ``animals/birds``. By default those with the most
    cut-outs."""
    count: PositiveInt = 20
    """The number of categories that are chosen where none are named."""
    leave_out: tuple[str, ...] = ()
    """Patterns of categories that are not chosen, as a shell matches: ``seasonal/*``."""
    min_cut_outs: Annotated[int, Field(ge=2)] = 4
    """The fewest cut-outs of a category that is chosen."""
    drawings: bool = False
    """Whether drawings are taken too: cut-outs with many equal neighbouring pixels, and those in a folder that
    ``drawing_folders`` names."""
    drawing_folders: tuple[str, ...] = ("cartoon", "cartoons", "clipart", "drawings")
    """The names of the folders that hold drawings, at any depth."""
    validation_share: Probability = 0.4
    """The share of the cut-outs of each category that validation images show, and training images do not; at least one
    cut-out is in either split."""
    mirror: bool = True
    """Whether half of the cut-outs are mirrored."""
    grounds: Annotated[tuple[str, ...], Field(min_length=1)] = ("photographs", "plain")
    """What things are put on, one of these at random for each image: ``plain`` colours, ``photographs`` (the two that
    come with scikit-learn), ``scikit-image`` (those that come with that package), or a folder of images."""
    format: Literal["jpg", "png"] = "jpg"
    """The format of the files; JPEG is of quality 95."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The seed of everything that is drawn, the division between the splits included."""


@option_group
class CategoriesConfig(CutOutOptions):
    """Which cut-outs a data set is made of, how they are divided between its splits, and how they are placed."""

    images: PositiveInt = 20
    """The number of training images of each category."""
    validation_images: PositiveInt = 20
    """The number of validation images of each category."""
    size: PositiveInt = 224
    """The height and width of the images, in pixels."""
    scale: ScaleInterval = (0.5, 0.9)
    """The smallest and the largest length of a cut-out's longer side, as a share of ``size``; drawn uniformly."""
    placement: Literal["anywhere", "centre"] = "anywhere"
    """Where a cut-out lies; all of it is in the image."""
