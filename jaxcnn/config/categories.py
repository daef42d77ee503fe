"""The options of a folder data set that is made of cut-outs: `jaxcnn.data.categories`."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxcnn.config.options import PositiveInt, Probability, ShareInterval, option_group


@option_group
class CategoriesConfig:
    """Which cut-outs a data set is made of, how they are divided between its splits, and how they are placed."""

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
    images: PositiveInt = 20
    """The number of training images of each category."""
    validation_images: PositiveInt = 20
    """The number of validation images of each category."""
    validation_share: Probability = 0.4
    """The share of the cut-outs of each category that validation images show, and training images do not; at least one
    cut-out is in either split."""
    size: PositiveInt = 224
    """The height and width of the images, in pixels."""
    grounds: Annotated[tuple[str, ...], Field(min_length=1)] = ("photographs", "plain")
    """What the cut-outs are put on, one of these at random for each image: ``plain`` colours, ``photographs`` (the two
    that come with scikit-learn), or a folder of images."""
    scale: ShareInterval = (0.5, 0.9)
    """The smallest and the largest length of a cut-out's longer side, as a share of ``size``; drawn uniformly."""
    placement: Literal["anywhere", "centre"] = "anywhere"
    """Where a cut-out lies; all of it is in the image."""
    mirror: bool = True
    """Whether half of the cut-outs are mirrored."""
    format: Literal["jpg", "png"] = "jpg"
    """The format of the files; JPEG is of quality 95."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The seed of everything that is drawn, the division between the splits included."""

    @pydantic.field_validator("scale")
    @classmethod
    def _shows_something(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not scale[0]:
            raise ValueError("must be above 0")
        return scale
