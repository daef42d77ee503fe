"""The options of proposals: regions of an image that may hold an object."""

from typing import Literal

from jaxcnn.config.options import PositiveFloat, PositiveInt, option_group


@option_group
class ProposalsConfig:
    """Selective search (Uijlings et al., IJCV 2013), as OpenCV has it."""

    mode: Literal["fast", "quality"] = "fast"
    """The set of colour spaces, similarities and thresholds: ``quality`` finds about four times as many boxes, in three
    times the time."""
    base_k: PositiveInt = 150
    """The smallest threshold of the segmentation that the search begins with, where images have levels from 0 to 255:
    the smaller, the more and the smaller its segments. OpenCV has 150 and the paper 50 or 100."""
    inc_k: PositiveInt = 150
    """The difference between one threshold and the next."""
    sigma: PositiveFloat = 0.8
    """The deviation of the Gaussian by which an image is smoothed before it is segmented, in pixels."""
    min_size: PositiveInt = 20
    """The smallest width and the smallest height of a box, in pixels of the image as it is searched."""
    max_side: PositiveInt = 500
    """The longest side of an image as it is searched, in pixels; larger images are scaled down to it, and their boxes
    back. R-CNN's code searches images that are 500 pixels wide."""
