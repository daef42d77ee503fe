"""Dense SIFT: descriptors on a regular grid of an image, at several scales, computed by OpenCV.

OpenCV is an extra, and is imported where a descriptor is computed. Its own threads would split the key points of one
image; we keep them off, because the images of a batch are described by threads of ours, which is faster by far for
small images. The descriptors are the same bits for any number of either.
"""

import math

import numpy as np

from jaxcnn.config.baselines import DenseSIFT
from jaxcnn.errors import UserError
from jaxcnn.opencv import import_opencv

EXTRA = ("dense SIFT", "classical")
"""What needs OpenCV, and the extra that installs it."""
LENGTH = 128
"""The length of a descriptor: 4 by 4 bins of 8 directions."""
_BINS_FOR_SMALL, _BINS_FOR_LARGE, _LARGE = (2.0, 3.0, 4.0), (4.0, 6.0, 8.0, 10.0), 64
_STEP_FOR_SMALL, _STEP_FOR_LARGE = 2, 4
_BIN_OF_SIZE = 1.5
"""The width of OpenCV's bins over the size of its key point."""


def with_bins(options: DenseSIFT, size: int) -> DenseSIFT:
    """Returns the options with the step and the bins that they leave to the images' size.

    Args:
        options: the options.
        size: the height and width of the images, in pixels.

    Raises:
        UserError: the smallest patch is larger than the images.
    """
    small = size < _LARGE
    bins = options.bins or (_BINS_FOR_SMALL if small else _BINS_FOR_LARGE)
    step = options.step or (_STEP_FOR_SMALL if small else _STEP_FOR_LARGE)
    if max(bins) * 4 > size:
        raise UserError(
            f"a patch of 4 x 4 bins of {max(bins):g} pixels does not fit into images of {size} x {size} pixels: make "
            f"sift.bins at most {size / 4:g}, or data.evaluation_crop larger"
        )
    return DenseSIFT(step=step, bins=bins, smoothing=options.smoothing, square_root=options.square_root)


class Grid:
    """The key points of dense SIFT in images of one size, and their descriptors.

    Args:
        options: the options, after `with_bins`.
        size: the height and width of the images, in pixels.

    Raises:
        UserError: OpenCV is not installed.
    """

    def __init__(self, options: DenseSIFT, size: int) -> None:
        self._cv2 = import_opencv(*EXTRA)
        assert options.bins is not None  # `with_bins` has set them
        assert options.step is not None
        self._scales, centres = [], []
        for width in options.bins:
            along = _centres(width, options.step, size)
            y, x = (axis.ravel() for axis in np.meshgrid(along, along, indexing="ij"))
            # With the default angle of -1 OpenCV turns each patch by one degree. Octave 0 is the unscaled image.
            points = [
                self._cv2.KeyPoint(float(column), float(row), width / _BIN_OF_SIZE, 0.0)
                for row, column in zip(y, x, strict=True)
            ]
            self._scales.append((points, width * options.smoothing))
            centres.append(np.stack([x, y], axis=1))
        self.positions = ((np.concatenate(centres) + 0.5) / size).astype(np.float32)
        """The centres of the patches, float32 (points, 2): x and y as shares of the image's width and height."""

    def __len__(self) -> int:
        return len(self.positions)

    def describe(self, image: np.ndarray) -> np.ndarray:
        """Returns the descriptors of an image, uint8 (points, 128); those of flat patches are zeros.

        They are Lowe's (2004), as OpenCV computes them: histograms of gradients, normalized to length 512, after a
        first normalization and a cut at a fifth. It may be called from many threads.

        Args:
            image: grey, uint8 (height, width) or (height, width, 1).
        """
        image = image.reshape(image.shape[:2])
        found = []
        for points, sigma in self._scales:
            # Only the first image of OpenCV's pyramid is looked at, so it is made as short as can be.
            sift = self._cv2.SIFT_create(nOctaveLayers=1, sigma=sigma)
            found.append(sift.compute(image, points)[1])
        return np.concatenate(found).astype(np.uint8)


def _centres(width: float, step: int, size: int) -> np.ndarray:
    """Returns where the patches of 4 bins of this width have their middle pixel along a side, int64.

    They lie within the image, and what the steps leave over is split between its two ends.
    """
    first, last = math.ceil(2 * width - 0.5), math.floor(size - 0.5 - 2 * width)
    return np.arange(first + (last - first) % step // 2, last + 1, step)
