"""The options of a data set for detection that is made: `jaxcnn.data.scenes`."""

from typing import Annotated

import pydantic
from pydantic import Field

from jaxcnn.config.categories import CutOutOptions, ScaleInterval
from jaxcnn.config.options import PositiveInt, Probability, option_group


def _a_range(numbers: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= numbers[0] <= numbers[1]:
        raise ValueError("must be the fewest, of at least 1, then the most")
    return numbers


@option_group
class ScenesConfig(CutOutOptions):
    """What scenes are made of, and how many objects lie where in them."""

    count: PositiveInt = 10
    """The number of categories of cut-outs that are chosen where none are named."""
    grounds: Annotated[tuple[str, ...], Field(min_length=1)] = ("photographs",)
    """What things are put on, one of these at random for each scene: ``photographs`` (the two that come with
    scikit-learn), ``scikit-image`` (those that come with that package), ``plain`` colours, or a folder of images. Of
    each image, training scenes show one part and validation scenes the other."""
    images: PositiveInt = 60
    """The number of training scenes."""
    validation_images: PositiveInt = 40
    """The number of validation scenes."""
    size: Annotated[int, Field(ge=16)] = 320
    """The length of a scene's longer side, in pixels."""
    aspect: ScaleInterval = (0.75, 1.0)
    """The smallest and the largest length of a scene's shorter side, as a share of ``size``; drawn uniformly. Half of
    the scenes stand upright."""
    objects: Annotated[tuple[int, int], pydantic.AfterValidator(_a_range)] = (2, 6)
    """The fewest and the most objects of a scene; drawn uniformly. One that finds no place is left out."""
    empty: Probability = 0.0
    """The share of the scenes that have no objects."""
    scale: ScaleInterval = (0.2, 0.45)
    """The smallest and the largest length of an object's longer side, as a share of the scene's shorter side; drawn
    uniformly."""
    max_overlap: Probability = 0.1
    """The largest share of the smaller of two objects' boxes that lies in the other's."""
